/** What charts over the same time have in common: the place of a moment, its mark, what is dragged. */

import { h } from '../widgets/dom';
import type { IWindow } from './view';

/** Room for the numbers of the axis, and beyond the last moment. */
export const LEFT = 52;
export const RIGHT = 10;
const SHORTEST_DRAG = 4;

export interface IPlotEvents {
  /** The pointer is over this moment, and so far down; `null` when it has left. */
  onPoint(at: number | null, y: number): void;
  /** A stretch of time was dragged over. */
  onDrag(from: number, to: number): void;
  onDoubleClick(): void;
}

/** A canvas, and above it the mark of a moment: moving that draws nothing anew. */
export class Plot {
  constructor(label: string, events: IPlotEvents) {
    this._events = events;
    this.canvas.setAttribute('aria-label', label);
    const { node } = this;
    node.addEventListener('pointermove', this._onMove);
    node.addEventListener('pointerleave', this._onLeave);
    node.addEventListener('pointerdown', this._onDown);
    node.addEventListener('pointerup', this._onUp);
    node.addEventListener('pointercancel', this._onCancel);
    node.addEventListener('dblclick', () => events.onDoubleClick());
    this._sizes = new ResizeObserver(() => {
      this._size = null;
      this.onResize();
    });
    this._sizes.observe(node);
  }

  readonly canvas = h('canvas', { role: 'img' });
  private _mark = h('div', { class: 'aiinfra-GpusPage-mark', hidden: '' });
  private _drag = h('div', { class: 'aiinfra-GpusPage-drag', hidden: '' });
  readonly node = h('div', { class: 'aiinfra-GpusPage-plot' }, this.canvas, this._drag, this._mark);
  onResize: () => void = () => undefined;

  /** In CSS pixels; asked for once a change of it. */
  get size(): [width: number, height: number] {
    this._size ??= [this.node.clientWidth, this.node.clientHeight];
    return this._size;
  }

  get window(): IWindow {
    return this._window;
  }

  /** What the width stands for. */
  set window(window: IWindow) {
    this._window = window;
  }

  /** Its size was changed by who draws it, and is to be asked for anew. */
  resized(): void {
    this._size = null;
  }

  dispose(): void {
    this._sizes.disconnect();
  }

  xOf(at: number): number {
    const { start, end } = this._window;
    const width = this.size[0] - LEFT - RIGHT;
    return LEFT + ((at - start) / Math.max(1e-9, end - start)) * width;
  }

  timeAt(x: number): number {
    const { start, end } = this._window;
    const width = Math.max(1, this.size[0] - LEFT - RIGHT);
    const share = Math.min(1, Math.max(0, (x - LEFT) / width));
    return start + share * (end - start);
  }

  /** Mark a moment, or none. */
  mark(at: number | null): void {
    const x = at === null ? -1 : this.xOf(at);
    const isIn = at !== null && x >= LEFT - 1 && x <= this.size[0] - RIGHT + 1;
    if (this._mark.hidden === isIn) {
      this._mark.hidden = !isIn;
    }
    if (isIn) {
      this._mark.style.transform = `translateX(${x}px)`;
    }
  }

  private _place(event: PointerEvent): [x: number, y: number] {
    const box = this.node.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  private _onMove = (event: PointerEvent): void => {
    const [x, y] = this._place(event);
    this._events.onPoint(this.timeAt(x), y);
    if (this._from === null) {
      return;
    }
    const [left, right] = [Math.min(x, this._from), Math.max(x, this._from)];
    this._drag.hidden = right - left < SHORTEST_DRAG;
    const begin = Math.max(LEFT, left);
    this._drag.style.left = `${begin}px`;
    this._drag.style.width = `${Math.max(0, Math.min(this.size[0] - RIGHT, right) - begin)}px`;
  };

  private _onLeave = (): void => this._events.onPoint(null, 0);

  private _onDown = (event: PointerEvent): void => {
    if (event.button === 0 && event.pointerType !== 'touch') {
      this._from = this._place(event)[0];
      this.node.setPointerCapture(event.pointerId);
    }
  };

  private _onUp = (event: PointerEvent): void => {
    const from = this._from;
    this._onCancel();
    const [x] = this._place(event);
    if (from !== null && Math.abs(x - from) >= SHORTEST_DRAG) {
      this._events.onDrag(this.timeAt(from), this.timeAt(x));
    }
  };

  private _onCancel = (): void => {
    this._from = null;
    this._drag.hidden = true;
  };

  private _events: IPlotEvents;
  private _window: IWindow = { start: 0, end: 1 };
  private _size: [number, number] | null = null;
  private _from: number | null = null;
  private _sizes: ResizeObserver;
}
