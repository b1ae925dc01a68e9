/** A line a version over the last minutes. A drawing, so that it follows the theme by itself. */

import type { TranslationBundle } from '@jupyterlab/translation';

import { marksOf } from '../costpage/bars';
import { s } from '../costpage/svg';
import { h } from '../widgets/dom';
import { colourOf, swatch } from './parts';

const HEIGHT = 150;
const LEFT = 60;
const RIGHT = 8;
const TOP = 8;
const BOTTOM = 20;
/** Before the page has a place. */
const FIRST_WIDTH = 420;
const TIMES = 3;
/** A step of the arrow keys, in seconds. */
const STEP = 2;

const CLOCK = new Intl.DateTimeFormat(undefined, {
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit'
});

export interface ILine {
  /** The version. */
  number: number;
  points: readonly { at: number; value: number | null }[];
}

export interface IChartOptions {
  title: string;
  textOf: (value: number | null) => string;
  /** A round number of the axis. */
  markOf: (value: number) => string;
  trans: TranslationBundle;
  /** The moment that is pointed at; all charts of a page mark the same. */
  onPoint: (at: number | null) => void;
}

export class LineChart {
  constructor(options: IChartOptions) {
    this._options = options;
    const { title, trans } = options;
    this._plot.setAttribute(
      'aria-label',
      trans.__('%1 of the last minutes. Left and right arrow keys go through the time.', title)
    );
    this._plot.append(this._svg);
    this._plot.addEventListener('pointermove', this._onMove);
    this._plot.addEventListener('pointerleave', () => options.onPoint(null));
    this._plot.addEventListener('blur', () => options.onPoint(null));
    this._plot.addEventListener('keydown', this._onKey);
    this.node.append(h('figcaption', {}, h('h3', {}, title), this._legend), this._plot);
    this._sizes = new ResizeObserver(() => this._draw());
    this._sizes.observe(this._plot);
  }

  readonly node = h('figure', { class: 'aiinfra-EndpointPage-chart' });

  update(lines: readonly ILine[], start: number, end: number): void {
    [this._lines, this._start, this._end] = [lines, start, end];
    this._draw();
  }

  /** Mark a moment, or none. */
  mark(at: number | null): void {
    this._at = at;
    this._drawMark();
    this._drawLegend();
  }

  dispose(): void {
    this._sizes.disconnect();
  }

  private _draw(): void {
    const width = this._plot.clientWidth || FIRST_WIDTH;
    this._width = width;
    const values = this._lines.flatMap(({ points }) => points.map(({ value }) => value ?? 0));
    const marks = marksOf(Math.max(0, ...values.filter(Number.isFinite)));
    this._top = marks.at(-1) ?? 1;
    const parts: SVGElement[] = marks.map(mark => this._gridLine(mark));
    for (let place = 0; place <= TIMES; place += 1) {
      const at = this._start + ((this._end - this._start) * place) / TIMES;
      const anchor = place === 0 ? 'start' : place === TIMES ? 'end' : 'middle';
      const text = CLOCK.format(new Date(at * 1000));
      parts.push(s('text', { x: this._x(at), y: HEIGHT - 5, 'text-anchor': anchor }, text));
    }
    for (const { number, points } of this._lines) {
      const line = { class: 'aiinfra-EndpointPage-line', 'data-colour': colourOf(number) };
      parts.push(s('path', { ...line, d: this._path(points) }));
    }
    this._svg.setAttribute('width', String(width));
    this._svg.setAttribute('height', String(HEIGHT));
    this._svg.replaceChildren(...parts, this._mark);
    this._drawMark();
    this._drawLegend();
    this._svg.setAttribute('aria-label', this._summary());
  }

  private _gridLine(mark: number): SVGElement {
    const at = Math.round(this._y(mark)) + 0.5;
    const text = this._options.markOf(mark);
    return s(
      'g',
      {},
      s('path', { class: 'aiinfra-EndpointPage-grid', d: `M${LEFT} ${at}H${this._width - RIGHT}` }),
      s('text', { x: LEFT - 6, y: at + 4, 'text-anchor': 'end' }, text)
    );
  }

  /** Where nothing is known there is no line; one that is alone is a dot. */
  private _path(points: ILine['points']): string {
    let path = '';
    let isDown = false;
    points.forEach(({ at, value }, place) => {
      if (value === null || at < this._start) {
        isDown = false;
        return;
      }
      const here = `${this._x(at).toFixed(1)} ${this._y(Math.min(value, this._top)).toFixed(1)}`;
      const next = points[place + 1]?.value ?? null;
      path += isDown ? `L${here}` : `M${here}${next === null ? 'h0.01' : ''}`;
      isDown = true;
    });
    return path;
  }

  private _x(at: number): number {
    const share = (at - this._start) / Math.max(1, this._end - this._start);
    return LEFT + share * (this._width - LEFT - RIGHT);
  }

  private _y(value: number): number {
    return HEIGHT - BOTTOM - (value / this._top) * (HEIGHT - BOTTOM - TOP);
  }

  private _drawMark(): void {
    const isIn = this._at !== null && this._at >= this._start && this._at <= this._end;
    const x = isIn ? this._x(this._at ?? 0).toFixed(1) : '0';
    this._mark.setAttribute('d', isIn ? `M${x} ${TOP}V${HEIGHT - BOTTOM}` : '');
  }

  /** What each version has now, or had at the moment that is marked. */
  private _drawLegend(): void {
    const { textOf } = this._options;
    const entries = this._lines.map(line =>
      h(
        'span',
        {},
        swatch(line.number),
        `v${line.number} `,
        h('b', {}, textOf(this._valueOf(line)))
      )
    );
    if (this._at !== null) {
      entries.unshift(h('span', {}, CLOCK.format(new Date(this._at * 1000))));
    }
    this._legend.replaceChildren(...entries);
    // Read out where somebody goes through it with keys, not with each news.
    this._legend.setAttribute('aria-live', this._at === null ? 'off' : 'polite');
  }

  private _valueOf({ points }: ILine): number | null {
    const at = this._at;
    if (at === null) {
      return points.at(-1)?.value ?? null;
    }
    const near = points.filter(point => Math.abs(point.at - at) <= STEP);
    near.sort((one, other) => Math.abs(one.at - at) - Math.abs(other.at - at));
    return near[0]?.value ?? null;
  }

  private _summary(): string {
    const { title, textOf } = this._options;
    const said = this._lines.map(
      line => `v${line.number} ${textOf(line.points.at(-1)?.value ?? null)}`
    );
    return `${title}: ${said.join(', ')}`;
  }

  private _onMove = (event: PointerEvent): void => {
    const { left } = this._plot.getBoundingClientRect();
    const room = Math.max(1, this._width - LEFT - RIGHT);
    const share = Math.min(1, Math.max(0, (event.clientX - left - LEFT) / room));
    this._options.onPoint(this._start + share * (this._end - this._start));
  };

  private _onKey = (event: KeyboardEvent): void => {
    const at = this._at ?? this._end;
    const steps: Record<string, number> = {
      ArrowLeft: Math.max(this._start, at - STEP),
      ArrowRight: Math.min(this._end, at + STEP),
      Home: this._start,
      End: this._end
    };
    const next = steps[event.key];
    if (next !== undefined) {
      event.preventDefault();
      event.stopPropagation();
      this._options.onPoint(next);
    } else if (event.key === 'Escape') {
      this._options.onPoint(null);
    }
  };

  private _options: IChartOptions;
  private _lines: readonly ILine[] = [];
  private _start = 0;
  private _end = 1;
  private _width = FIRST_WIDTH;
  private _top = 1;
  private _at: number | null = null;
  private _legend = h('span', { class: 'aiinfra-EndpointPage-legend' });
  private _svg = s('svg', { role: 'img' });
  private _mark = s('path', { class: 'aiinfra-EndpointPage-mark' });
  private _plot = h('div', { class: 'aiinfra-EndpointPage-plot', tabindex: '0', role: 'group' });
  private _sizes: ResizeObserver;
}
