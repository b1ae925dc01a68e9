/** A log of any length: only the rows in sight are in the page. */

import type { TranslationBundle } from '@jupyterlab/translation';
import { Signal, type ISignal } from '@lumino/signaling';

import { h } from '../widgets/dom';
import { BarGrip } from './bargrip';
import type { LogModel } from './logmodel';
import { RowList } from './rowlist';
import { columnsOf, type IHighlight, type RowView } from './rowview';
import { inSight, ScrollMap } from './scrollmap';

/** As in `jobpage.css`. */
export const ROW_PIXELS = 18;
/** Columns the view makes room for at most; a longer line can be wrapped. */
const MOST_COLUMNS = 100_000;
/** How far from the end a reader still counts as being there. */
const NEAR_END_PIXELS = 4;

/** Where a reader stands in a log. */
export interface IPlace {
  row: number;
  /** Pixels of that row that are above the view. */
  offset: number;
  /** Whether the view stays at the end while rows come. */
  following: boolean;
}

/**
 * Draws the rows in sight, at most once a frame, whatever the model says in between.
 *
 * The place is a row and the pixels of it that are out of sight. Where all rows are equally high
 * and the log is not too long, the browser scrolls, and the place follows; else the place is what
 * moves, and the scroll bar only shows it.
 */
export class VirtualLog {
  constructor(trans: TranslationBundle) {
    this.region = h('div', {
      class: 'aiinfra-log aiinfra-VirtualLog-region',
      role: 'log',
      // Nobody can listen to a flood; what matters is said by the status below.
      'aria-live': 'off',
      tabindex: '0'
    });
    const jump = { class: 'aiinfra-jump', type: 'button' };
    this._jump = h('button', jump, trans.__('Jump to the end'), ' ↓');
    this._jump.hidden = true;
    this._jump.addEventListener('click', () => {
      this.follow();
      this.region.focus();
    });
    this._sizer.append(this._window);
    this._window.append(this._list.node);
    this.region.append(this._sizer);
    this.node = h('div', { class: 'aiinfra-VirtualLog' }, this.region, this._jump);
    this.region.addEventListener('scroll', this._onScroll);
    // Not passive: where the browser cannot scroll as far as the log goes, it must not try.
    this.region.addEventListener('wheel', this._onWheel, { passive: false });
    this._grip = new BarGrip(this.region);
    this.region.addEventListener('keydown', this._onKey);
    this._resized = new ResizeObserver(() => this.update());
    this._resized.observe(this.region);
  }

  readonly node: HTMLElement;
  /** What scrolls and has the focus. */
  readonly region: HTMLElement;

  /** The view began or ceased to follow the end. */
  get followingChanged(): ISignal<VirtualLog, boolean> {
    return this._followingChanged;
  }

  get place(): IPlace {
    return { row: this._row, offset: this._offset, following: this._following };
  }

  /** The rows in sight, the last one excluded. */
  get inSight(): { first: number; end: number } {
    return { first: this._row, end: this._endInSight };
  }

  get wrap(): boolean {
    return this._wrap;
  }

  /** Whether long lines are broken instead of running out of sight. */
  set wrap(wrap: boolean) {
    this._wrap = wrap;
    this._average = ROW_PIXELS;
    this._offset = 0;
    this.node.classList.toggle('aiinfra-mod-wrap', wrap);
    this.region.scrollLeft = 0;
    this.update();
  }

  /** Show a log from a place on. */
  show(model: LogModel | null, place: IPlace): void {
    this._model?.changed.disconnect(this._onChange);
    this._model = model;
    this._generation = model?.generation ?? 0;
    model?.changed.connect(this._onChange);
    this._row = place.row;
    this._offset = place.offset;
    this._pending = 0;
    this._columns = 0;
    this._average = ROW_PIXELS;
    this._setFollowing(place.following);
    this.region.scrollLeft = 0;
    this.update();
  }

  /** Go to the end, and stay there while rows come. */
  follow(): void {
    this._setFollowing(true);
    this.update();
  }

  /** Leave the end where it is. */
  hold(): void {
    this._setFollowing(false);
    this.update();
  }

  /** Mark what is looked for in the rows in sight. */
  highlight(highlight: IHighlight | null): void {
    this._highlight = highlight;
    this.update();
  }

  /** Bring a row into sight; where it is already, nothing moves. */
  reveal(row: number): void {
    this._setFollowing(false);
    this._revealed = row;
    if (row < this._row || row >= this._endInSight - 1) {
      this._row = Math.max(0, row - Math.floor(this._rowsInView() / 3));
      this._offset = 0;
    }
    this.update();
  }

  /** Draw in the next frame. */
  update(): void {
    this._frame ??= requestAnimationFrame(() => {
      this._frame = undefined;
      this._draw();
    });
  }

  dispose(): void {
    if (this._frame !== undefined) {
      cancelAnimationFrame(this._frame);
    }
    this._resized.disconnect();
    this._grip.dispose();
    this._model?.changed.disconnect(this._onChange);
    Signal.clearData(this);
  }

  private _draw(): void {
    const view = this.region.clientHeight;
    if (view === 0) {
      return; // hidden; drawn when it has a size again
    }
    if (this._model && this._model.generation !== this._generation) {
      this._generation = this._model.generation;
      this._row = this._offset = 0;
    }
    const total = this._model?.totalRows ?? 0;
    if (this._wrap) {
      this._drawWrapped(total, view);
    } else {
      this._drawEven(total, view);
    }
    this._pending = 0;
    this._showBar();
    const ahead = this._rowsInView();
    this._model?.need(this._row - ahead, this._endInSight + ahead);
    this._jump.hidden = this._following || total === 0 || this._atEnd();
    this._showMatch();
  }

  /** All rows are equally high: what is in sight is a matter of arithmetic. */
  private _drawEven(total: number, view: number): void {
    this._map = new ScrollMap(total * ROW_PIXELS, view);
    const { end } = this._map;
    const wanted = this._row * ROW_PIXELS + this._offset + this._pending;
    const position = this._following ? end : this._map.clamp(wanted);
    this._position = position;
    this._row = Math.floor(position / ROW_PIXELS);
    this._offset = position - this._row * ROW_PIXELS;
    this._endInSight = Math.min(total, Math.ceil((position + view) / ROW_PIXELS));
    this._fill(this._row, this._endInSight);
    this._list.node.style.transform = `translateY(${-this._offset}px)`;
  }

  /** Rows are as high as they turn out: draw more than enough, measure, and place them. */
  private _drawWrapped(total: number, view: number): void {
    const up = Math.ceil(Math.max(0, -this._pending) / ROW_PIXELS) + 1;
    const down = Math.ceil((view + this._offset + Math.max(0, this._pending)) / ROW_PIXELS) + 1;
    const back = Math.ceil(view / ROW_PIXELS) + 1;
    const anchor = Math.max(0, this._following ? total - 1 : Math.min(this._row, total - 1));
    const last = this._following ? total : Math.min(total, anchor + down);
    // Near the end the rows before are needed to fill the view.
    const from = Math.max(0, last === total ? Math.min(anchor - up, total - back) : anchor - up);
    this._fill(from, last);
    const heights = this._list.rows.map(
      ({ node }) => node.getBoundingClientRect().height || ROW_PIXELS
    );
    const whole = heights.reduce((sum, height) => sum + height, 0);
    const above = heights.slice(0, anchor - from).reduce((sum, height) => sum + height, 0);
    const lowest = last === total ? Math.max(0, whole - view) : Infinity;
    const top = this._following ? lowest : above + this._offset + this._pending;
    const shown = Math.min(Math.max(0, top), lowest);
    const sight = inSight(heights, shown, view);
    this._row = from + sight.first;
    this._offset = sight.offset;
    this._endInSight = from + sight.end;
    this._list.node.style.transform = `translateY(${-shown}px)`;
    this._remember(total, heights, whole);
    this._map = new ScrollMap(total * this._average, view);
    const part = this._offset / (heights[this._row - from] ?? ROW_PIXELS);
    const atEnd = last === total && top >= lowest;
    this._position = atEnd ? this._map.end : (this._row + part) * this._average;
  }

  /** Guess how high the log is from the rows that were measured, and do not guess again too soon. */
  private _remember(total: number, heights: number[], whole: number): void {
    const mean = whole / Math.max(1, heights.length);
    const exact = heights.length === total;
    if (exact || Math.abs(mean - this._average) > this._average / 2) {
      this._average = Math.max(ROW_PIXELS, mean);
    }
  }

  /** Have exactly these rows in the page, as they are now. */
  private _fill(first: number, end: number): void {
    this._list.fill(first, end);
    this._list.rows.forEach((row, at) => this._drawRow(row, first + at));
  }

  private _drawRow(view: RowView, index: number): void {
    const row = this._model?.row(index);
    view.draw(index, row, this._highlight);
    if (row && !this._wrap) {
      this._columns = Math.max(this._columns, Math.min(columnsOf(row), MOST_COLUMNS));
    }
  }

  private _showBar(): void {
    const style = this._sizer.style;
    const height = `${this._map.sizer}px`;
    const width = this._wrap ? '' : `${this._columns}ch`;
    const digits = String(this._model?.totalLines ?? 0).length;
    if (style.height !== height) {
      style.height = height;
    }
    if (style.minWidth !== width) {
      style.minWidth = width;
    }
    this._window.style.height = `${this._map.view}px`;
    this._list.node.style.setProperty('--aiinfra-gutter', `${Math.max(3, digits)}ch`);
    const bar = this._map.toBar(this._position);
    if (Math.abs(bar - this._bar) >= 1) {
      this.region.scrollTop = bar;
      // The browser may have rounded it, or not have gone that far.
      this._bar = this.region.scrollTop;
    }
  }

  /** Scroll sideways to the match that was jumped to. */
  private _showMatch(): void {
    const row = this._revealed;
    if (row === null || !this._model?.row(row)) {
      return;
    }
    this._revealed = null;
    const found = this._list.at(row)?.node.querySelector('mark');
    if (found && !this._wrap) {
      const box = this.region.getBoundingClientRect();
      const { left, right } = found.getBoundingClientRect();
      if (left < box.left + box.width / 8 || right > box.right - 20) {
        this.region.scrollLeft += left - box.left - box.width / 3;
      }
    }
  }

  /** Move by pixels, with the browser's own scrolling out of it. */
  private _moveBy(pixels: number): void {
    if (pixels < 0) {
      this._setFollowing(false);
    }
    this._pending += pixels;
    this.update();
    if (pixels > 0) {
      this._followAtEnd();
    }
  }

  /** A reader who goes down to the end wants to stay there. */
  private _followAtEnd(): void {
    if (this._position + this._pending >= this._map.end - NEAR_END_PIXELS && !this._wrap) {
      this._setFollowing(true);
    } else if (this._wrap && this._atEnd()) {
      this._setFollowing(true);
    }
  }

  private _atEnd(): boolean {
    return this._position >= this._map.end - NEAR_END_PIXELS;
  }

  private _rowsInView(): number {
    return Math.max(1, Math.floor(this._map.view / ROW_PIXELS));
  }

  /** Whether the place moves, and the scroll bar only shows it. */
  private get _anchored(): boolean {
    return this._wrap || this._map.scaled;
  }

  private _onChange = (): void => this.update();

  private _onScroll = (): void => {
    const bar = this.region.scrollTop;
    const moved = bar - this._bar;
    if (Math.abs(moved) < 1) {
      return; // our own doing, or sideways
    }
    if (this.region.clientHeight !== this._map.view) {
      this.update(); // not scrolled by anybody: the view has another size now
      return;
    }
    this._bar = bar;
    if (this._anchored && !this._grip.held && Math.abs(moved) < this._map.view) {
      // A finger: as far as it moved, not as far as the bar would go.
      this._moveBy(moved);
      return;
    }
    const position = this._map.fromBar(bar);
    const height = this._wrap ? this._average : ROW_PIXELS;
    this._pending = 0;
    this._row = Math.floor(position / height);
    this._offset = this._wrap ? 0 : position - this._row * height;
    this._position = position;
    this._setFollowing(this._atEnd());
    this.update();
  };

  private _onWheel = (event: WheelEvent): void => {
    const sideways = event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY);
    if (event.ctrlKey || sideways || event.deltaY === 0) {
      return;
    }
    if (this._anchored) {
      event.preventDefault();
      const unit = [1, ROW_PIXELS, this._map.view][event.deltaMode] ?? 1;
      this._moveBy(event.deltaY * unit);
    } else if (event.deltaY < 0) {
      this._setFollowing(false);
    }
  };

  private _onKey = (event: KeyboardEvent): void => {
    if (event.altKey || event.shiftKey) {
      return;
    }
    const command = event.ctrlKey || event.metaKey;
    if (command && event.key.toLowerCase() === 'a') {
      getSelection()?.selectAllChildren(this._list.node);
    } else if (command && event.key !== 'Home' && event.key !== 'End') {
      return;
    } else if (event.key === 'End') {
      this.follow();
    } else if (event.key === 'Home') {
      this._setFollowing(false);
      this._row = this._offset = this._pending = 0;
      this.update();
    } else {
      const page = Math.max(1, this._rowsInView() - 1) * ROW_PIXELS;
      const keys = { ArrowUp: -ROW_PIXELS, ArrowDown: ROW_PIXELS, PageUp: -page, PageDown: page };
      const pixels = keys[event.key as keyof typeof keys];
      if (pixels === undefined) {
        return;
      }
      this._moveBy(pixels);
    }
    event.preventDefault();
    event.stopPropagation();
  };

  private _setFollowing(following: boolean): void {
    if (following !== this._following) {
      this._following = following;
      this._followingChanged.emit(following);
    }
  }

  private _model: LogModel | null = null;
  private _generation = 0;
  private _row = 0;
  private _offset = 0;
  /** Pixels the reader has moved since the last frame. */
  private _pending = 0;
  private _following = true;
  private _wrap = false;
  /** Of the top of the view, in pixels of a log whose rows have the average height. */
  private _position = 0;
  private _endInSight = 0;
  private _average = ROW_PIXELS;
  private _columns = 0;
  private _map = new ScrollMap(0, 0);
  /** Where the scroll bar was when last looked at. */
  private _bar = 0;
  private _grip: BarGrip;
  private _highlight: IHighlight | null = null;
  private _revealed: number | null = null;
  private _list = new RowList();
  private _window = h('div', { class: 'aiinfra-VirtualLog-window' });
  private _sizer = h('div', { class: 'aiinfra-VirtualLog-sizer' });
  private _jump: HTMLButtonElement;
  private _frame: number | undefined;
  private _resized: ResizeObserver;
  private _followingChanged = new Signal<VirtualLog, boolean>(this);
}
