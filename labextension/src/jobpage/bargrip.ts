/** Whether a scroll bar is held: it is then moved over the whole log, and not by pixels. */

export class BarGrip {
  constructor(element: HTMLElement) {
    this._element = element;
    element.addEventListener('pointerdown', this._onDown);
  }

  get held(): boolean {
    return this._held;
  }

  dispose(): void {
    this._element.removeEventListener('pointerdown', this._onDown);
    this._onUp();
  }

  private _onDown = (event: PointerEvent): void => {
    if (event.target === this._element && event.offsetX >= this._element.clientWidth) {
      this._held = true;
      window.addEventListener('pointerup', this._onUp);
      window.addEventListener('pointercancel', this._onUp);
    }
  };

  private _onUp = (): void => {
    this._held = false;
    window.removeEventListener('pointerup', this._onUp);
    window.removeEventListener('pointercancel', this._onUp);
  };

  private _element: HTMLElement;
  private _held = false;
}
