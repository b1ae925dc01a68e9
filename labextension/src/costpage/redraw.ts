/** Parts of the page that are made anew where what they show is another. */

/**
 * A node whose children are made anew only when `key` is another than before. Who had the focus in
 * it has it again: it is found by its `data-focus`.
 */
export class Redrawn {
  constructor(readonly node: HTMLElement) {}

  draw(key: string, make: () => readonly (Node | string)[]): void {
    if (key === this._key) {
      return;
    }
    this._key = key;
    const { activeElement } = document;
    const had = activeElement instanceof HTMLElement && this.node.contains(activeElement);
    const name = had ? activeElement.dataset['focus'] : undefined;
    this.node.replaceChildren(...make());
    if (name !== undefined) {
      const marked = [...this.node.querySelectorAll<HTMLElement>('[data-focus]')];
      marked.find(({ dataset }) => dataset['focus'] === name)?.focus();
    }
  }

  private _key: string | null = null;
}
