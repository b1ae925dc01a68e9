/**
 * What the server says of GPUs, and what it comes to. Pure: the widget of a cell uses it too.
 *
 * Numbers come in whole steps of their series, and then as changes of what they were
 * (`jupyter_aiinfra/telemetry/deltas.py`); `null` is unknown, and stays so.
 */

import type { GpusDelta, GpusFrame } from '../api/types';

export type NodeRow = GpusFrame['nodes'][number];
export type GpuRow = GpusFrame['gpus'][number];
export type Holder = GpuRow['holders'][number];
export type Process = NonNullable<GpuRow['processes']>[number];
export type Series = GpusFrame['gpu_series'][number];
export type GpuScope = GpusFrame['scope'];

/** What no number of steps is. */
export const UNKNOWN = -(2 ** 15);

/** All GPUs of a scope in one look. */
export interface ISummary {
  total: number;
  /** In use: a job holds it, a process runs on it, or it computes. */
  busy: number;
  /** `null` in an overview, which does not tell. */
  lost: number | null;
  /** The mean of those that tell theirs. */
  utilization: number | null;
  /** In bytes; `memoryTotal` is that of the GPUs whose use is known. */
  memoryUsed: number | null;
  memoryTotal: number | null;
  /** In watts; `powerLimit` is that of the GPUs whose draw is known. */
  power: number | null;
  powerLimit: number | null;
}

/** What one scope's frames say now: rows as they are on the wire, and their numbers. */
export class Board {
  constructor(frame: GpusFrame) {
    this.key = frame.key;
    this.scope = frame.scope;
    this.nodeSeries = frame.node_series;
    this.gpuSeries = frame.gpu_series;
    this._seq = frame.seq;
    this._at = frame.at;
    this._nodes = frame.nodes;
    this._gpus = frame.gpus;
    this._nodeSteps = stepsOf(frame.node_values);
    this._gpuSteps = stepsOf(frame.gpu_values);
  }

  readonly key: number;
  readonly scope: GpuScope;
  readonly nodeSeries: readonly Series[];
  readonly gpuSeries: readonly Series[];

  get seq(): number {
    return this._seq;
  }

  /** When this was read, in seconds since the epoch. */
  get at(): number {
    return this._at;
  }

  get nodes(): readonly NodeRow[] {
    return this._nodes;
  }

  /** Each with its slices behind it; those of a node stand together. */
  get gpus(): readonly GpuRow[] {
    return this._gpus;
  }

  /** Grows when anything but a number has changed: a holder, a process, the state of a node. */
  get revision(): number {
    return this._revision;
  }

  /**
   * Take in what has changed. `false` where it does not fit what is known here (another key, or
   * something in between was missed) or cannot be read: then nothing is changed, and the next
   * whole frame makes a new board.
   */
  apply(delta: GpusDelta): boolean {
    if (delta.key !== this.key || delta.since !== this._seq) {
      return false;
    }
    const nodeSteps = applyChanges(this._nodeSteps, delta.n);
    const gpuSteps = applyChanges(this._gpuSteps, delta.g);
    const nodes = replaced(this._nodes, delta.nodes);
    const gpus = replaced(this._gpus, delta.gpus);
    if (nodeSteps === null || gpuSteps === null || nodes === null || gpus === null) {
      return false;
    }
    if (nodes !== this._nodes || gpus !== this._gpus) {
      this._revision += 1;
    }
    [this._nodeSteps, this._gpuSteps] = [nodeSteps, gpuSteps];
    [this._nodes, this._gpus] = [nodes, gpus];
    [this._seq, this._at] = [delta.seq, delta.at];
    return true;
  }

  /** What a GPU is at, in the unit of the series; `null` is unknown. */
  value(gpu: number, series: string): number | null {
    return valueOf(this._gpuSteps, this._gpus.length, gpu, this.gpuSeries, series);
  }

  nodeValue(node: number, series: string): number | null {
    return valueOf(this._nodeSteps, this._nodes.length, node, this.nodeSeries, series);
  }

  /** Steps, or `UNKNOWN`; for what draws or keeps many. */
  gpuSteps(gpu: number, series: number): number {
    return this._gpuSteps[series * this._gpus.length + gpu] ?? UNKNOWN;
  }

  nodeSteps(node: number, series: number): number {
    return this._nodeSteps[series * this._nodes.length + node] ?? UNKNOWN;
  }

  /** Of all, or of those that `wants`. A slice is a part of its GPU and counts with it. */
  summary(wants: (gpu: GpuRow) => boolean = () => true): ISummary {
    return this.scope.detail === 'nodes' ? this._overview() : this._sum(wants);
  }

  private _sum(wants: (gpu: GpuRow) => boolean): ISummary {
    const usedSlices = new Set<string>();
    this._gpus.forEach((gpu, number) => {
      if (gpu.parent !== null && this._isBusy(gpu, number)) {
        usedSlices.add(`${gpu.node} ${gpu.parent}`);
      }
    });
    const sums = new Sums();
    let total = 0;
    let busy = 0;
    let lost = 0;
    this._gpus.forEach((gpu, number) => {
      if (gpu.parent !== null || !wants(gpu)) {
        return;
      }
      total += 1;
      busy += this._isBusy(gpu, number) || usedSlices.has(`${gpu.node} ${gpu.uuid}`) ? 1 : 0;
      lost += gpu.lost ? 1 : 0;
      sums.add('utilization', this.value(number, 'utilization'), 1);
      sums.add('memory', this.value(number, 'memory'), gpu.memory_total_bytes);
      sums.add('power', this.value(number, 'power'), gpu.power_limit_watts);
    });
    return { total, busy, lost, ...sums.summary() };
  }

  private _isBusy(gpu: GpuRow, number: number): boolean {
    const works = (this.value(number, 'utilization') ?? 0) > 0;
    return works || gpu.holders.length > 0 || (gpu.processes?.length ?? 0) > 0;
  }

  private _overview(): ISummary {
    const sums = new Sums();
    let total = 0;
    let busy = 0;
    this._nodes.forEach((node, number) => {
      const count = node.gpus ?? 0;
      const mean = this.nodeValue(number, 'utilization');
      total += count;
      busy += this.nodeValue(number, 'busy') ?? 0;
      sums.add('utilization', mean === null ? null : mean * count, count);
      sums.add('memory', this.nodeValue(number, 'memory'), null);
      sums.add('power', this.nodeValue(number, 'power'), null);
    });
    return { total, busy, lost: null, ...sums.summary() };
  }

  private _seq: number;
  private _at: number;
  private _nodes: readonly NodeRow[];
  private _gpus: readonly GpuRow[];
  private _nodeSteps: Int16Array;
  private _gpuSteps: Int16Array;
  private _revision = 0;
}

/** Sums of what is known, each beside the sum of what it is a part of. */
class Sums {
  add(name: 'utilization' | 'memory' | 'power', value: number | null, of: number | null): void {
    if (value === null) {
      return;
    }
    const [sum, all] = this._sums[name] ?? [0, null];
    this._sums[name] = [sum + value, of === null ? all : (all ?? 0) + of];
  }

  summary(): Omit<ISummary, 'total' | 'busy' | 'lost'> {
    const [utilization, count] = this._sums.utilization ?? [0, null];
    const [memoryUsed, memoryTotal] = this._sums.memory ?? [null, null];
    const [power, powerLimit] = this._sums.power ?? [null, null];
    return {
      utilization: count ? utilization / count : null,
      memoryUsed,
      memoryTotal,
      power,
      powerLimit
    };
  }

  private _sums: Partial<Record<'utilization' | 'memory' | 'power', [number, number | null]>> = {};
}

/** `changes()` read back; `null` where the text is damaged or is about more numbers. */
export function applyChanges(old: Int16Array, text: string): Int16Array | null {
  const made = old.slice();
  let at = 0;
  let place = 0;
  while (place < text.length) {
    const code = text.charCodeAt(place);
    if (isDigit(code)) {
      let run = 0;
      for (; isDigit(text.charCodeAt(place)); place += 1) {
        run = run * 10 + text.charCodeAt(place) - ZERO;
      }
      at += run;
      continue;
    }
    if (at >= made.length) {
      return null;
    }
    const before = made[at] === UNKNOWN ? 0 : (made[at] ?? 0);
    const sign = text.charAt(place);
    if (sign === '?') {
      made[at] = UNKNOWN;
    } else if (sign === '+' || sign === '-' || sign === '!') {
      const end = text.indexOf(';', place);
      const digits = text.slice(place + 1, end);
      if (end < 0 || !/^\d+$/.test(digits)) {
        return null;
      }
      const number = Number(digits);
      made[at] = sign === '!' ? number : sign === '+' ? before + number : before - number;
      place = end;
    } else if (code >= SMALL_A && code < SMALL_A + LETTERS) {
      made[at] = before + code - SMALL_A + 1;
    } else if (code >= LARGE_A && code < LARGE_A + LETTERS) {
      made[at] = before - (code - LARGE_A + 1);
    } else if (sign !== '.') {
      return null;
    }
    at += 1;
    place += 1;
  }
  return at > made.length ? null : made;
}

const ZERO = 48;
const SMALL_A = 97;
const LARGE_A = 65;
const LETTERS = 26;

function isDigit(code: number): boolean {
  return code >= ZERO && code < ZERO + 10;
}

/** Whole numbers of steps, of which the server tells 32,000 at most. */
function stepsOf(values: readonly (number | null)[]): Int16Array {
  return Int16Array.from(values, value => value ?? UNKNOWN);
}

function replaced<T>(rows: readonly T[], changed: Record<string, T>): readonly T[] | null {
  const numbers = Object.keys(changed);
  if (numbers.length === 0) {
    return rows;
  }
  const made = [...rows];
  for (const number of numbers) {
    const row = changed[number];
    if (row === undefined || !(Number(number) in made)) {
      return null;
    }
    made[Number(number)] = row;
  }
  return made;
}

function valueOf(
  values: Int16Array,
  rows: number,
  row: number,
  series: readonly Series[],
  name: string
): number | null {
  const number = series.findIndex(each => each.name === name);
  const steps = number < 0 ? UNKNOWN : (values[number * rows + row] ?? UNKNOWN);
  return steps === UNKNOWN ? null : steps * (series[number]?.step ?? 1);
}
