/** One series over time: lines, and the band between the least and the most. */

import type { TranslationBundle } from '@jupyterlab/translation';

import { surfaceOf, type ISurface } from '../gpus/spark';
import { h } from '../widgets/dom';
import { marks, numberText, titleOf, topOf, type ILimits } from './axis';
import { DASHES, faded, type IColours } from './colours';
import { bucketAt, newestOf, type ICurves, type ILine } from './curves';
import { LEFT, Plot, RIGHT, type IPlotEvents } from './plot';
import { ticks } from './time';
import type { IWindow, SeriesName } from './view';

const TOP = 8;
const BOTTOM = 20;
const TICK_WIDTH = 76;
/** Of more lines than these, the band of each would lie over the others. */
const MOST_BANDS = 1;
/** Of more lines than these, their least and most are too much to read. */
const MOST_RANGES = 2;
const BAND_SHARE = 0.18;

interface ILegendPart {
  key: string;
  node: HTMLElement;
  value: HTMLElement;
}

/** Draws itself when it is told to; the mark of a moment and its numbers are no drawing. */
export class Chart {
  constructor(series: SeriesName, trans: TranslationBundle, events: IPlotEvents) {
    this.series = series;
    this._trans = trans;
    this._name = titleOf(series, trans);
    this.plot = new Plot(this._name, events);
    this.node.setAttribute('aria-label', this._name);
    this.node.append(
      h(
        'div',
        { class: 'aiinfra-GpusPage-chartHead' },
        h('span', { class: 'aiinfra-GpusPage-chartName' }, this._name),
        this._legend
      ),
      this.plot.node
    );
  }

  readonly series: SeriesName;
  readonly plot: Plot;
  readonly node = h('div', { class: 'aiinfra-GpusPage-chart', role: 'group' });

  /** How often the canvas was drawn. */
  get drawn(): number {
    return this._drawn;
  }

  draw(curves: ICurves, shown: IWindow, limits: ILimits, colours: IColours): void {
    this._curves = curves;
    this.plot.window = shown;
    const surface = surfaceOf(this.plot.canvas, ...this.plot.size);
    this._drawLegend(colours);
    this._drawNumbers();
    this.plot.mark(this._at);
    if (surface === null) {
      return;
    }
    this._drawn += 1;
    const top = topOf(this.series, curves, limits);
    this._drawAxes(surface, shown, top, colours);
    const lines = curves.lines[this.series];
    surface.context.save();
    surface.context.beginPath();
    surface.context.rect(LEFT, 0, surface.width - LEFT - RIGHT, surface.height - BOTTOM + 1);
    surface.context.clip();
    if (lines.length <= MOST_BANDS) {
      lines.forEach((line, number) => this._drawBand(surface, line, number, top, colours));
    }
    lines.forEach((line, number) => this._drawLine(surface, line, number, top, colours));
    surface.context.restore();
    this._describe(lines, shown);
  }

  /** Mark a moment in the chart, and say what was so then; without one, what is so now. */
  point(at: number | null): void {
    this._at = at;
    this.plot.mark(at);
    this._drawNumbers();
  }

  dispose(): void {
    this.plot.dispose();
  }

  private _drawAxes(
    { context, width, height }: ISurface,
    shown: IWindow,
    top: number,
    colours: IColours
  ): void {
    const base = height - BOTTOM;
    context.font = `11px ${fontOf(this.node)}`;
    context.textBaseline = 'middle';
    context.textAlign = 'right';
    context.lineWidth = 1;
    for (const mark of marks(this.series, top)) {
      const y = Math.round(yOf(mark, top, height)) + 0.5;
      context.strokeStyle = colours.grid;
      context.beginPath();
      context.moveTo(LEFT, y);
      context.lineTo(width - RIGHT, y);
      context.stroke();
      context.fillStyle = colours.quiet;
      const text = mark === 0 ? '0' : numberText(this.series, mark, this._trans);
      context.fillText(text, LEFT - 6, y);
    }
    context.textAlign = 'center';
    context.textBaseline = 'top';
    const most = Math.max(2, Math.floor((width - LEFT - RIGHT) / TICK_WIDTH));
    for (const { at, text } of ticks(shown.start, shown.end, most)) {
      const x = Math.round(this.plot.xOf(at)) + 0.5;
      context.strokeStyle = colours.grid;
      context.beginPath();
      context.moveTo(x, base);
      context.lineTo(x, base + 3);
      context.stroke();
      context.fillStyle = colours.quiet;
      const half = context.measureText(text).width / 2;
      context.fillText(text, Math.min(Math.max(x, half), width - half), base + 6);
    }
  }

  private _drawBand(
    { context, height }: ISurface,
    line: ILine,
    number: number,
    top: number,
    colours: IColours
  ): void {
    context.fillStyle = faded(colours.lines[number % colours.lines.length] ?? '', BAND_SHARE);
    for (const [from, to] of stretches(line.mean)) {
      context.beginPath();
      for (let place = from; place <= to; place += 1) {
        context.lineTo(this._x(place), yOf(line.most[place] ?? 0, top, height));
      }
      if (from === to) {
        // A bucket by itself is as wide as it is long.
        context.lineTo(this._x(to + 1), yOf(line.most[to] ?? 0, top, height));
        context.lineTo(this._x(to + 1), yOf(line.least[to] ?? 0, top, height));
      }
      for (let place = to; place >= from; place -= 1) {
        context.lineTo(this._x(place), yOf(line.least[place] ?? 0, top, height));
      }
      context.closePath();
      context.fill();
    }
  }

  private _drawLine(
    { context, height }: ISurface,
    line: ILine,
    number: number,
    top: number,
    colours: IColours
  ): void {
    context.strokeStyle = colours.lines[number % colours.lines.length] ?? '';
    context.lineWidth = 1.5;
    context.lineJoin = 'round';
    context.setLineDash(DASHES[number % DASHES.length] ?? []);
    context.beginPath();
    for (const [from, to] of stretches(line.mean)) {
      for (let place = from; place <= to; place += 1) {
        const y = yOf(line.mean[place] ?? 0, top, height);
        if (place === from) {
          context.moveTo(this._x(place) - (from === to ? 1.5 : 0), y);
        }
        context.lineTo(this._x(place) + (from === to ? 1.5 : 0), y);
      }
    }
    context.stroke();
    context.setLineDash([]);
  }

  /** Where the middle of a bucket is. */
  private _x(place: number): number {
    const { t0 = 0, width = 1 } = this._curves ?? {};
    return this.plot.xOf(t0 + (place + 0.5) * width);
  }

  private _drawLegend(colours: IColours): void {
    const lines = this._curves?.lines[this.series] ?? [];
    const said = JSON.stringify([lines.map(({ key, label }) => [key, label]), colours.lines]);
    if (said === this._said) {
      return;
    }
    this._said = said;
    this._parts = lines.map(({ key, label }, number) => {
      const value = h('span', { class: 'aiinfra-GpusPage-value' });
      const swatch = h('span', { class: 'aiinfra-GpusPage-swatch', 'aria-hidden': 'true' });
      swatch.style.borderTopColor = colours.lines[number % colours.lines.length] ?? '';
      swatch.style.borderTopStyle = ['solid', 'dashed', 'dotted', 'dashed'][number % 4] ?? 'solid';
      const name = lines.length === 1 ? '' : label;
      const node = h('span', { class: 'aiinfra-GpusPage-line' }, swatch, name, value);
      return { key, node, value };
    });
    this._legend.replaceChildren(...this._parts.map(({ node }) => node));
  }

  private _drawNumbers(): void {
    const curves = this._curves;
    if (curves === null) {
      return;
    }
    const lines = curves.lines[this.series];
    this._parts.forEach(({ key, value }, number) => {
      const line = lines[number];
      const text = line?.key === key ? this._valueText(line, curves, lines.length) : '';
      if (value.textContent !== text) {
        value.textContent = text;
      }
    });
  }

  private _valueText(line: ILine, curves: ICurves, count: number): string {
    const place = this._at === null ? newestOf(line) : bucketAt(curves, this._at);
    const mean = line.mean[place] ?? NaN;
    const [least, most] = [line.least[place] ?? NaN, line.most[place] ?? NaN];
    const trans = this._trans;
    const said = numberText(this.series, mean, trans);
    if (count > MOST_RANGES || Number.isNaN(mean) || most - least < 1e-3 * Math.max(1, most)) {
      return said;
    }
    const [low, high] = [least, most].map(value => numberText(this.series, value, trans));
    return trans.__('%1 (%2 to %3)', said, low ?? '', high ?? '');
  }

  /** What who does not see it is told of it. */
  private _describe(lines: readonly ILine[], { start, end }: IWindow): void {
    const trans = this._trans;
    const key = JSON.stringify([lines.map(({ label }) => label), Math.round(end - start)]);
    const now = performance.now();
    // A label that changes each second would be read out each second.
    if (key === this._described && now - this._describedAt < 30_000) {
      return;
    }
    [this._described, this._describedAt] = [key, now];
    const said = lines.map(line => {
      const { mean, least, most } = summaryOf(line);
      const [middle, low, high] = [mean, least, most].map(value =>
        numberText(this.series, value, trans)
      );
      return trans.__(
        '%1: mean %2, from %3 to %4',
        line.label,
        middle ?? '',
        low ?? '',
        high ?? ''
      );
    });
    const text = said.length > 0 ? said.join('; ') : trans.__('nothing recorded');
    this.plot.canvas.setAttribute('aria-label', `${this._name}. ${text}`);
  }

  private _trans: TranslationBundle;
  private _name: string;
  private _legend = h('span', { class: 'aiinfra-GpusPage-legend' });
  private _parts: ILegendPart[] = [];
  private _said = '';
  private _described = '';
  private _describedAt = 0;
  private _curves: ICurves | null = null;
  private _at: number | null = null;
  private _drawn = 0;
}

/** The mean, the least and the most of a line over all that is known of it. */
export function summaryOf(line: ILine): { mean: number; least: number; most: number } {
  let [sum, known, least, most] = [0, 0, NaN, NaN];
  line.mean.forEach((value, place) => {
    if (!Number.isNaN(value)) {
      sum += value;
      known += 1;
      const [low, high] = [line.least[place] ?? value, line.most[place] ?? value];
      least = low < least || Number.isNaN(least) ? low : least;
      most = high > most || Number.isNaN(most) ? high : most;
    }
  });
  return { mean: known > 0 ? sum / known : NaN, least, most };
}

function yOf(value: number, top: number, height: number): number {
  return height - BOTTOM - (Math.min(value, top) / top) * (height - BOTTOM - TOP);
}

/** Where numbers stand without a gap between. */
function stretches(values: Float32Array): [number, number][] {
  const found: [number, number][] = [];
  let from = -1;
  for (let place = 0; place <= values.length; place += 1) {
    const isKnown = place < values.length && !Number.isNaN(values[place]);
    if (isKnown && from < 0) {
      from = place;
    } else if (!isKnown && from >= 0) {
      found.push([from, place - 1]);
      from = -1;
    }
  }
  return found;
}

function fontOf(node: HTMLElement): string {
  return getComputedStyle(node).fontFamily || 'sans-serif';
}
