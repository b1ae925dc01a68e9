/** One GPU as a compact row; see `strip.ts`. */

import { h } from '../widgets/dom';
import type { Trail } from './history';
import { drawSpark, surfaceOf } from './spark';
import {
  holderText,
  indexText,
  memoryText,
  modelText,
  ofText,
  placeText,
  processText,
  ranksText,
  stateText,
  troubleOf,
  valueText,
  type IJobNames,
  type ITrans
} from './text';
import type { Board, GpuRow } from './wire';

export interface IRowOptions {
  trans: ITrans;
  job: string | undefined;
  names: IJobNames | undefined;
  onJob: ((id: string) => void) | undefined;
  /** Whether memory and power have a curve too. */
  curves: boolean;
}

/** Text is written where it has changed, and nowhere else. */
export class StripRow {
  constructor(number: number, options: IRowOptions) {
    this._number = number;
    this._options = options;
    const { trans, curves } = options;
    const cell = (name: string, label: string, ...parts: Node[]): HTMLElement =>
      h(
        'span',
        { class: `aiinfra-Gpus-${name}` },
        h('span', { class: 'aiinfra-Gpus-hidden' }, `${label} `),
        ...parts
      );
    this.node.append(
      h('span', { class: 'aiinfra-Gpus-label' }, this._label, this._model),
      this._curves.util.node,
      cell('util', trans.__('utilization'), this._util),
      cell(
        'memory',
        trans.__('memory'),
        curves ? this._curves.memory.node : this._bar,
        this._memory
      ),
      cell('power', trans.__('power'), ...(curves ? [this._curves.power.node] : []), this._power),
      cell('temperature', trans.__('temperature'), this._temperature),
      this._used
    );
    const { util, memory, power } = this._curves;
    this._drawn = curves ? [util, memory, power] : [util];
    // Asking a canvas for its size on each drawing would lay the whole page out anew.
    this._sizes = new ResizeObserver(() => this._drawn.forEach(curve => curve.measure()));
    this._drawn.forEach(curve => this._sizes.observe(curve.canvas));
  }

  readonly node = h('li', { class: 'aiinfra-Gpus-row' });

  dispose(): void {
    this._sizes.disconnect();
  }

  update(board: Board): void {
    const gpu = board.gpus[this._number];
    if (gpu === undefined) {
      return;
    }
    const { trans } = this._options;
    const node = board.nodes[gpu.node];
    const read = (series: string): number | null => board.value(this._number, series);
    const memory = read('memory');
    const total = gpu.memory_total_bytes;
    write(this._util, valueText(read('utilization'), '%', trans));
    write(this._memory, memoryText(memory, total, trans));
    write(this._power, ofText(read('power'), gpu.power_limit_watts, 'W', trans));
    write(this._temperature, valueText(read('temperature'), '°C', trans));
    const share = memory !== null && total ? Math.min(1, memory / total) : 0;
    // As the browser gives it back, or it would be written each time.
    const width = `${Math.round(share * 1000) / 10}%`;
    if (this._fill.style.width !== width) {
      this._fill.style.width = width;
    }
    if (gpu !== this._gpu || node?.state !== this._state) {
      [this._gpu, this._state] = [gpu, node?.state];
      this._describe(board, gpu);
    }
  }

  drawCurve(
    board: Board,
    trail: Trail,
    seconds: number,
    colours: { line: string; area: string }
  ): void {
    const gpu = board.gpus[this._number];
    if (gpu) {
      this._drawn.forEach(curve => curve.draw(board, gpu, trail, { seconds, ...colours }));
    }
  }

  /** Whatever is no number. */
  private _describe(board: Board, gpu: GpuRow): void {
    const { trans, job } = this._options;
    const node = board.nodes[gpu.node];
    const state = node ? stateText(node, trans) : '';
    this.node.classList.toggle('aiinfra-mod-slice', gpu.parent !== null && job === undefined);
    this.node.classList.toggle('aiinfra-mod-lost', gpu.lost);
    this.node.classList.toggle('aiinfra-mod-old', state !== '');
    const mine = gpu.holders.find(each => each.job === job);
    if (job === undefined) {
      write(
        this._label,
        gpu.parent === null ? `GPU ${indexText(gpu, trans)}` : indexText(gpu, trans)
      );
      write(this._model, modelText(gpu));
    } else {
      write(this._label, ranksText(mine?.ranks ?? [], trans) || trans.__('no rank yet'));
      write(this._model, placeText(board, gpu, trans));
    }
    this.node.title = `${gpu.name}\n${gpu.uuid}`;
    const trouble = troubleOf(gpu, trans).map(text =>
      gpu.lost ? chip(text, '✕', 'lost') : chip(text, '⚠', 'warning')
    );
    // By rank there is no head of the node that says so.
    const away = state && job !== undefined ? [chip(state, '⚠', node?.state ?? '')] : [];
    this._used.replaceChildren(...trouble, ...away, ...this._users(gpu));
  }

  private _users(gpu: GpuRow): HTMLElement[] {
    const { trans, job, names, onJob } = this._options;
    const holders = gpu.holders
      .filter(holder => holder.job !== job)
      .map(holder => {
        const text = holderText(holder, trans, names);
        if (onJob === undefined) {
          return h('span', { class: 'aiinfra-Gpus-job', title: holder.job }, text);
        }
        const button = h('button', { type: 'button', class: 'aiinfra-Gpus-job' }, text);
        button.title = trans.__('Open job %1', holder.job);
        button.addEventListener('click', () => onJob(holder.job));
        return button;
      });
    const others = (gpu.processes ?? [])
      .filter(process => process.job === null)
      .map(process => h('span', { class: 'aiinfra-Gpus-process' }, processText(process, trans)));
    return [...holders, ...others];
  }

  private _number: number;
  private _options: IRowOptions;
  private _gpu: GpuRow | null = null;
  private _state: string | undefined;
  private _sizes: ResizeObserver;
  private _label = h('span', { class: 'aiinfra-Gpus-title' });
  private _model = h('span', { class: 'aiinfra-Gpus-model' });
  private _curves = {
    util: new Curve('utilization', () => 100),
    memory: new Curve('memory', gpu => gpu.memory_total_bytes),
    power: new Curve('power', gpu => gpu.power_limit_watts)
  };
  private _drawn: Curve[];
  private _util = h('span');
  private _fill = h('span', { class: 'aiinfra-Gpus-fill' });
  private _bar = h('span', { class: 'aiinfra-Gpus-bar', 'aria-hidden': 'true' }, this._fill);
  private _memory = h('span', { class: 'aiinfra-Gpus-amount' });
  private _power = h('span');
  private _temperature = h('span');
  private _used = h('span', { class: 'aiinfra-Gpus-users' });
}

/** The last minute of one series. */
class Curve {
  /**
   * `most` says what the height stands for. Where that is not told it is what it was, and where it
   * never was the most there is.
   */
  constructor(series: string, most: (gpu: GpuRow) => number | null) {
    this._series = series;
    this._most = most;
  }

  readonly canvas = h('canvas');
  readonly node = h('span', { class: 'aiinfra-Gpus-curve', 'aria-hidden': 'true' }, this.canvas);

  /** Ask for the size anew when it is drawn next. */
  measure(): void {
    this._size = null;
  }

  draw(
    board: Board,
    gpu: GpuRow,
    trail: Trail,
    { seconds, ...colours }: { seconds: number; line: string; area: string }
  ): void {
    this._size ??= [this.canvas.clientWidth, this.canvas.clientHeight];
    const surface = surfaceOf(this.canvas, ...this._size);
    const node = board.nodes[gpu.node]?.name;
    if (surface && node !== undefined) {
      const { values } = trail.window(node, gpu.uuid, this._series, seconds);
      this._top = this._most(gpu) ?? this._top;
      const most = this._top ?? Math.max(1, ...values.map(value => value ?? 0));
      drawSpark(surface, values, { most, ...colours });
    }
  }

  private _series: string;
  private _most: (gpu: GpuRow) => number | null;
  private _top: number | null = null;
  private _size: [number, number] | null = null;
}

function write(node: HTMLElement, text: string): void {
  if (node.textContent !== text) {
    node.textContent = text;
  }
}

/** A word with a sign before it: never by colour alone. */
export function chip(text: string, sign: string, kind: string): HTMLElement {
  return h(
    'span',
    { class: 'aiinfra-Gpus-chip', 'data-kind': kind },
    h('span', { 'aria-hidden': 'true' }, `${sign} `),
    text
  );
}
