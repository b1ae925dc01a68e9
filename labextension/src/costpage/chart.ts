/** A bar a day: what was used, what was idle, and what no job was given. */

import type { TranslationBundle } from '@jupyterlab/translation';

import type { CostReport } from '../api/types';
import { h } from '../widgets/dom';
import {
  barsOf,
  GPU_HOURS,
  marksOf,
  measureOf,
  measuresOf,
  PARTS,
  sumOf,
  type IBar,
  type Part
} from './bars';
import { markText, measureText, partText, valueText } from './bartext';
import { s } from './svg';

const HEIGHT = 190;
const LEFT = 64;
const RIGHT = 8;
const TOP = 10;
const BOTTOM = 22;
const WIDEST_BAR = 56;
const BAR_SHARE = 0.7;
const LABEL_WIDTH = 52;
const HATCH = 'aiinfra-cost-hatch';
/** Before the page has a place. */
const FIRST_WIDTH = 720;

const OF_DAY = new Intl.DateTimeFormat(undefined, {
  month: 'short',
  day: 'numeric',
  timeZone: 'UTC'
});
const LONG = new Intl.DateTimeFormat(undefined, {
  weekday: 'short',
  month: 'short',
  day: 'numeric',
  timeZone: 'UTC'
});

export interface IChartOptions {
  trans: TranslationBundle;
  onMeasure: (measure: string) => void;
  /** A day was chosen. */
  onDay: (day: string) => void;
}

export interface IDrawn {
  report: CostReport;
  days: readonly string[];
  /** The days that the bill is of; the others stand beside them. */
  first: string;
  last: string;
  measure: string | null;
}

export class DaysChart {
  constructor(options: IChartOptions) {
    this._options = options;
    const { trans } = options;
    this._choice.setAttribute('aria-label', trans.__('What bars stand for'));
    this._choice.addEventListener('change', () => options.onMeasure(this._choice.value));
    this._toggle.textContent = trans.__('Show as table');
    this._toggle.addEventListener('click', () => this._showTable(!this._isTable));
    this._plot.setAttribute(
      'aria-label',
      trans.__(
        'Cost by day. Left and right arrow keys go from day to day, Enter shows the bill of one; “Show as table” has all of them in words.'
      )
    );
    this._plot.append(this._svg);
    this._plot.addEventListener('pointermove', this._onMove);
    this._plot.addEventListener('pointerleave', () => this._point(-1));
    this._plot.addEventListener('click', this._onClick);
    this._plot.addEventListener('keydown', this._onKey);
    this._plot.addEventListener('blur', () => this._point(-1));
    this.node.append(
      h(
        'div',
        { class: 'aiinfra-CostPage-head' },
        h('h2', {}, trans.__('Day by day')),
        this._choice,
        this._legend,
        this._toggle
      ),
      this._plot,
      this._table,
      h('p', { class: 'aiinfra-CostPage-quiet' }, trans.__('Days of UTC.'))
    );
    this._sizes = new ResizeObserver(() => this._draw());
    this._sizes.observe(this._plot);
  }

  readonly node = h('section', { class: 'aiinfra-CostPage-days' });

  update(drawn: IDrawn): void {
    this._drawn = drawn;
    const { report, days, measure } = drawn;
    this._measure = measureOf(report, measure);
    this._bars = barsOf(report, this._measure, days);
    this._at = Math.min(this._at, this._bars.length - 1);
    this._drawChoice(measuresOf(report));
    this._draw();
    if (this._isTable) {
      this._drawTable();
    }
  }

  dispose(): void {
    this._sizes.disconnect();
  }

  private _drawChoice(measures: readonly string[]): void {
    const { trans } = this._options;
    const key = measures.join();
    if (key !== this._choiceKey) {
      this._choiceKey = key;
      this._choice.replaceChildren(
        ...measures.map(each => h('option', { value: each }, measureText(each, trans)))
      );
    }
    this._choice.value = this._measure;
    this._choice.hidden = measures.length < 2;
  }

  private _draw(): void {
    if (this._drawn === null) {
      return;
    }
    const width = this._plot.clientWidth || FIRST_WIDTH;
    const marks = marksOf(Math.max(0, ...this._bars.map(({ whole }) => whole)));
    const top = marks.at(-1) ?? 1;
    const y = (value: number): number => HEIGHT - BOTTOM - (value / top) * (HEIGHT - BOTTOM - TOP);
    const parts: SVGElement[] = [patternOf(), this._mark];
    for (const mark of marks) {
      const at = Math.round(y(mark)) + 0.5;
      parts.push(
        s('path', { class: 'aiinfra-CostPage-grid', d: `M${LEFT} ${at}H${width - RIGHT}` }),
        s('text', { x: LEFT - 8, y: at + 4, 'text-anchor': 'end' }, markText(mark, this._measure))
      );
    }
    const step = (width - LEFT - RIGHT) / Math.max(1, this._bars.length);
    const every = Math.ceil(LABEL_WIDTH / step);
    this._bars.forEach((bar, place) => {
      const middle = LEFT + (place + 0.5) * step;
      parts.push(this._drawBar(bar, middle, Math.min(WIDEST_BAR, step * BAR_SHARE), y));
      if ((this._bars.length - 1 - place) % every === 0) {
        const text = OF_DAY.format(dateOf(bar.day));
        parts.push(s('text', { x: middle, y: HEIGHT - 6, 'text-anchor': 'middle' }, text));
      }
    });
    this._step = step;
    this._svg.setAttribute('width', String(width));
    this._svg.replaceChildren(...parts);
    this._svg.setAttribute('aria-label', this._summary());
    this._drawMark();
    this._drawLegend();
  }

  private _drawBar(
    bar: IBar,
    middle: number,
    width: number,
    y: (value: number) => number
  ): SVGElement {
    const { first = '', last = '' } = this._drawn ?? {};
    const isBeside = bar.day < first || bar.day > last;
    const group = s('g', {
      class: `aiinfra-CostPage-bar${isBeside ? ' aiinfra-mod-beside' : ''}`,
      'data-day': bar.day
    });
    let below = 0;
    for (const part of PARTS) {
      const value = bar.parts[part];
      if (value > 0) {
        const [from, to] = [y(below), y(below + value)];
        const shape = { x: middle - width / 2, y: to, width, height: Math.max(0.5, from - to) };
        const rect = s('rect', { ...shape, class: `aiinfra-CostPage-part aiinfra-mod-${part}` });
        if (part === 'nobody') {
          rect.setAttribute('fill', `url(#${HATCH})`);
        }
        group.append(rect);
        below += value;
      }
    }
    return group;
  }

  /** What of the day that is pointed at, or of all days. */
  private _drawLegend(): void {
    const { trans } = this._options;
    const bar = this._bars[this._at];
    const sum = sumOf(this._bars);
    const parts = bar?.parts ?? sum;
    const nodes = PARTS.filter(part => sum[part] > 0).map(part =>
      h(
        'span',
        { class: 'aiinfra-CostPage-key' },
        h('span', { class: `aiinfra-CostPage-swatch aiinfra-mod-${part}`, 'aria-hidden': 'true' }),
        this._partText(part),
        h('span', { class: 'aiinfra-CostPage-value' }, this._valueText(parts[part]))
      )
    );
    const whole = bar?.whole ?? this._bars.reduce((all, each) => all + each.whole, 0);
    const what = bar === undefined ? trans.__('all days') : LONG.format(dateOf(bar.day));
    this._legend.replaceChildren(
      h(
        'span',
        { class: 'aiinfra-CostPage-key' },
        h('span', { class: 'aiinfra-CostPage-when' }, what),
        h('span', { class: 'aiinfra-CostPage-value' }, this._valueText(whole))
      ),
      ...nodes
    );
  }

  private _drawMark(): void {
    const isIn = this._at >= 0;
    this._mark.toggleAttribute('hidden', !isIn);
    this._mark.setAttribute('x', String(LEFT + Math.max(0, this._at) * this._step));
    this._mark.setAttribute('y', String(TOP));
    this._mark.setAttribute('width', String(isIn ? this._step : 0));
    this._mark.setAttribute('height', String(HEIGHT - BOTTOM - TOP));
  }

  private _showTable(isTable: boolean): void {
    this._isTable = isTable;
    this._toggle.setAttribute('aria-pressed', String(isTable));
    this._plot.hidden = isTable;
    this._table.hidden = !isTable;
    if (isTable) {
      this._drawTable();
    } else {
      this._draw();
    }
  }

  private _drawTable(): void {
    const { trans } = this._options;
    const sum = sumOf(this._bars);
    const shown = PARTS.filter(part => sum[part] > 0);
    const cells = (name: string, parts: IBar['parts'], whole: number): HTMLElement =>
      h(
        'tr',
        {},
        h('th', { scope: 'row' }, name),
        ...shown.map(part => h('td', {}, this._valueText(parts[part]))),
        h('td', {}, this._valueText(whole))
      );
    const names = [trans.__('day'), ...shown.map(part => this._partText(part)), trans.__('all')];
    const whole = this._bars.reduce((all, each) => all + each.whole, 0);
    this._table.replaceChildren(
      h(
        'table',
        { class: 'aiinfra-CostPage-table' },
        h('caption', {}, measureText(this._measure, trans)),
        h('thead', {}, h('tr', {}, ...names.map(name => h('th', { scope: 'col' }, name)))),
        h('tbody', {}, ...this._bars.map(({ day, ...bar }) => cells(day, bar.parts, bar.whole))),
        h('tfoot', {}, cells(trans.__('all'), sum, whole))
      )
    );
  }

  private _onMove = (event: PointerEvent): void => this._point(this._placeOf(event));

  private _onClick = (event: MouseEvent): void => this._choose(this._placeOf(event));

  private _onKey = (event: KeyboardEvent): void => {
    if (event.ctrlKey || event.metaKey || event.altKey) {
      return;
    }
    const end = this._bars.length - 1;
    switch (event.key) {
      case 'ArrowLeft':
        this._point(this._at < 0 ? end : Math.max(0, this._at - 1));
        break;
      case 'ArrowRight':
        this._point(this._at < 0 ? 0 : Math.min(end, this._at + 1));
        break;
      case 'Home':
        this._point(0);
        break;
      case 'End':
        this._point(end);
        break;
      case 'Enter':
        this._choose(this._at);
        break;
      case 'Escape':
        this._point(-1);
        break;
      default:
        return;
    }
    event.preventDefault();
    event.stopPropagation();
  };

  private _placeOf({ clientX }: MouseEvent): number {
    const x = clientX - this._plot.getBoundingClientRect().left - LEFT;
    const place = Math.floor(x / this._step);
    return place >= 0 && place < this._bars.length ? place : -1;
  }

  private _point(place: number): void {
    if (place !== this._at) {
      this._at = place;
      this._drawMark();
      this._drawLegend();
    }
  }

  private _choose(place: number): void {
    const bar = this._bars[place];
    if (bar !== undefined) {
      this._options.onDay(bar.day);
    }
  }

  private _summary(): string {
    const { trans } = this._options;
    const sum = sumOf(this._bars);
    const said = PARTS.filter(part => sum[part] > 0).map(
      part => `${this._partText(part)} ${this._valueText(sum[part])}`
    );
    const text = said.join(', ') || trans.__('nothing');
    const first = this._bars[0]?.day ?? '';
    return trans.__('%1 to %2: %3', first, this._bars.at(-1)?.day ?? '', text);
  }

  private _valueText(value: number): string {
    return valueText(value, this._measure, this._options.trans);
  }

  private _partText(part: Part): string {
    return partText(part, this._measure, this._options.trans);
  }

  private _options: IChartOptions;
  private _choice = h('select', { hidden: '' });
  private _choiceKey = '';
  private _legend = h('span', { class: 'aiinfra-CostPage-legend', 'aria-live': 'polite' });
  private _toggle = h('button', {
    type: 'button',
    class: 'aiinfra-CostPage-button',
    'aria-pressed': 'false'
  });
  private _plot = h('div', { class: 'aiinfra-CostPage-plot', tabindex: '0', role: 'group' });
  private _table = h('div', { class: 'aiinfra-CostPage-tables', tabindex: '0', hidden: '' });
  private _svg = s('svg', { role: 'img', height: HEIGHT });
  private _mark = s('rect', { class: 'aiinfra-CostPage-mark' });
  private _sizes: ResizeObserver;
  private _drawn: IDrawn | null = null;
  private _measure = GPU_HOURS;
  private _bars: IBar[] = [];
  private _step = 1;
  private _at = -1;
  private _isTable = false;
}

function dateOf(day: string): Date {
  return new Date(`${day}T00:00:00Z`);
}

/** Lines across: told from the others also where colours are not. */
function patternOf(): SVGElement {
  const size = { width: 6, height: 6, patternUnits: 'userSpaceOnUse' };
  return s(
    'defs',
    {},
    s(
      'pattern',
      { id: HATCH, ...size, patternTransform: 'rotate(45)' },
      s('rect', { class: 'aiinfra-CostPage-hatchGround', width: 6, height: 6 }),
      s('rect', { class: 'aiinfra-CostPage-hatchLine', width: 2, height: 6 })
    )
  );
}
