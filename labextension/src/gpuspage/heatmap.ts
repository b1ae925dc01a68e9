/** Many GPUs over time, each a row of colours. */

import type { TranslationBundle } from '@jupyterlab/translation';

import { surfaceOf } from '../gpus/spark';
import { h } from '../widgets/dom';
import { numberText, topOf, type ILimits } from './axis';
import type { IColours } from './colours';
import { bucketAt, type ICurves, type IHeatRow } from './curves';
import { LEFT, Plot, RIGHT, type IPlotEvents } from './plot';
import { momentText } from './time';
import type { IWindow, SeriesName } from './view';

/** By how many rows there are at most: how high each is. */
const HEIGHTS: readonly [rows: number, height: number][] = [
  [16, 16],
  [64, 10],
  [160, 6],
  [320, 4],
  [Infinity, 3]
];
const BETWEEN = 1;
const LABEL_HEIGHT = 12;

/** One pixel a bucket and GPU is made, and then stretched by the browser: quick with any number. */
export class HeatMap {
  constructor(trans: TranslationBundle, events: IPlotEvents) {
    this._trans = trans;
    this.plot = new Plot(trans.__('Each GPU over time'), {
      ...events,
      onPoint: (at, y) => {
        this._y = at === null ? null : y;
        events.onPoint(at, y);
      }
    });
  }

  readonly plot: Plot;

  get node(): HTMLElement {
    return this.plot.node;
  }

  get drawn(): number {
    return this._drawn;
  }

  draw(
    curves: ICurves,
    series: SeriesName,
    shown: IWindow,
    limits: ILimits,
    colours: IColours
  ): void {
    this._curves = curves;
    this._series = series;
    const { rows, count } = curves;
    this.plot.window = shown;
    this._layOut(rows);
    const surface = surfaceOf(this.plot.canvas, ...this.plot.size);
    if (surface === null || rows.length === 0) {
      return;
    }
    this._drawn += 1;
    const top = topOf(series, curves, limits);
    const image = this._imageOf(rows, count, top, colours.heat);
    const { context, width } = surface;
    const [left, right] = [
      this.plot.xOf(curves.t0),
      this.plot.xOf(curves.t0 + count * curves.width)
    ];
    context.save();
    context.beginPath();
    context.rect(LEFT, 0, width - LEFT - RIGHT, surface.height);
    context.clip();
    context.imageSmoothingEnabled = false;
    for (const { from, to, y } of this._groups) {
      const high = (to - from) * this._rowHeight;
      context.drawImage(image, 0, from, count, to - from, left, y, right - left, high);
    }
    context.restore();
    this._drawLabels(context, colours);
    const text = this._trans.__('%1 rows of colours, one for each GPU', rows.length);
    if (this.plot.canvas.getAttribute('aria-label') !== text) {
      this.plot.canvas.setAttribute('aria-label', text);
    }
  }

  /** What was so with the GPU under the pointer; empty where there is none. */
  textAt(at: number | null, now: number): string {
    const curves = this._curves;
    if (at === null || this._y === null || curves === null) {
      return '';
    }
    const y = this._y;
    const group = this._groups.find(each => {
      const height = (each.to - each.from) * this._rowHeight;
      return y >= each.y && y < each.y + height;
    });
    const row = group && curves.rows[group.from + Math.floor((y - group.y) / this._rowHeight)];
    const place = bucketAt(curves, at);
    if (row === undefined || place < 0) {
      return '';
    }
    const value = numberText(this._series, row.values[place] ?? NaN, this._trans);
    // Where there are several pools, nodes stand below `pool/node`.
    const pool = row.group.slice(0, row.group.indexOf('/') + 1);
    return `${pool}${row.label}: ${value} (${momentText(at, curves.width, now)})`;
  }

  dispose(): void {
    this.plot.dispose();
  }

  private _layOut(rows: readonly IHeatRow[]): void {
    const key = rows.map(({ group }) => group).join('\n');
    if (key === this._key) {
      return;
    }
    this._key = key;
    this._rowHeight = HEIGHTS.find(([most]) => rows.length <= most)?.[1] ?? 3;
    this._groups = [];
    let y = 0;
    rows.forEach((row, place) => {
      const last = this._groups.at(-1);
      if (last?.label === row.group) {
        last.to = place + 1;
      } else {
        y += last ? (last.to - last.from) * this._rowHeight + BETWEEN : 0;
        this._groups.push({ label: row.group, from: place, to: place + 1, y });
      }
    });
    const last = this._groups.at(-1);
    const height = last ? last.y + (last.to - last.from) * this._rowHeight : 0;
    this.node.style.height = `${height}px`;
    this.plot.resized();
  }

  private _imageOf(
    rows: readonly IHeatRow[],
    count: number,
    top: number,
    heat: Uint32Array
  ): HTMLCanvasElement {
    const image = this._image;
    if (image.width !== count || image.height !== rows.length || this._pixels === null) {
      [image.width, image.height] = [count, rows.length];
      this._pixels = new ImageData(count, rows.length);
    }
    const cells = new Uint32Array(this._pixels.data.buffer);
    rows.forEach(({ values }, row) => {
      const from = row * count;
      for (let place = 0; place < count; place += 1) {
        const value = values[place] as number;
        // Of what is not known, there is nothing to be seen.
        cells[from + place] = Number.isNaN(value)
          ? 0
          : (heat[Math.min(255, Math.max(0, Math.round((value / top) * 255)))] as number);
      }
    });
    image.getContext('2d')?.putImageData(this._pixels, 0, 0);
    return image;
  }

  private _drawLabels(context: CanvasRenderingContext2D, colours: IColours): void {
    context.font = `10px ${getComputedStyle(this.node).fontFamily || 'sans-serif'}`;
    context.textAlign = 'right';
    context.textBaseline = 'middle';
    context.fillStyle = colours.quiet;
    let free = 0;
    for (const { label, from, to, y } of this._groups) {
      const middle = y + ((to - from) * this._rowHeight) / 2;
      if (middle - LABEL_HEIGHT / 2 >= free) {
        const text = shortened(context, label.slice(label.indexOf('/') + 1), LEFT - 8);
        context.fillText(text, LEFT - 6, middle);
        free = middle + LABEL_HEIGHT / 2;
      }
    }
  }

  private _trans: TranslationBundle;
  private _curves: ICurves | null = null;
  private _series: SeriesName = 'utilization';
  private _key = '';
  private _groups: { label: string; from: number; to: number; y: number }[] = [];
  private _rowHeight = 3;
  private _image = h('canvas');
  private _pixels: ImageData | null = null;
  private _y: number | null = null;
  private _drawn = 0;
}

/** The end of a name tells nodes of a cluster apart. */
function shortened(context: CanvasRenderingContext2D, text: string, width: number): string {
  let shown = text;
  while (shown.length > 1 && context.measureText(shown).width > width) {
    shown = `…${shown.slice(shown.startsWith('…') ? 2 : 1)}`;
  }
  return shown;
}
