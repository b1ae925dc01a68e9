/** The last minutes of the GPUs of one scope, second by second. Pure, as `wire.ts` is. */

import type { GpuPast } from '../api/types';
import { UNKNOWN, type Board, type Series } from './wire';

/** So far apart, two readings are still one after the other: a tick came late, or fell between. */
const TOGETHER_SECONDS = 2.5;
const DEFAULT_SECONDS = 330;

/** Some seconds of one series: one number a second from `t0` on, `null` is a gap. */
export interface IWindow {
  /** The first second, since the epoch. */
  t0: number;
  values: (number | null)[];
}

/** What of a board is kept: a row's series, each a ring of seconds, all after each other. */
interface IRow {
  rings: Int16Array;
  /** The newest second in which anything was known of it. */
  seen: number;
}

/**
 * Rings of steps by node, GPU and series. What was not read is a gap, and stays one until
 * `fill()` is given it.
 *
 * A GPU is known by its node and UUID; an empty UUID is the node itself.
 */
export class Trail {
  constructor(seconds = DEFAULT_SECONDS) {
    this.seconds = seconds;
  }

  /** How many seconds are kept. */
  readonly seconds: number;

  /** The newest second there is anything of; `null` before there is. */
  get newest(): number | null {
    return this._newest;
  }

  /** Grows when seconds before the newest ones have changed: something was filled in, or is gone. */
  get pastRevision(): number {
    return this._pastRevision;
  }

  /** Grows with whatever is taken in. */
  get revision(): number {
    return this._revision;
  }

  /** Take in what is so now. */
  push(board: Board): void {
    this._learn(board);
    const second = Math.floor(board.at);
    const last = this._newest;
    if (last !== null && second < last - TOGETHER_SECONDS) {
      // The clock of the server was put back: the old seconds would never go.
      this._rows.clear();
      this._newest = null;
      this._pastRevision += 1;
    }
    this._advance(second);
    const follows = this._lastAt !== null && board.at - this._lastAt <= TOGETHER_SECONDS;
    const from = follows && last !== null ? Math.min(last + 1, second) : second;
    const gpus = this._gpuSeries.length;
    board.gpus.forEach((gpu, number) => {
      const row = this._row(board.nodes[gpu.node]?.name ?? '', gpu.uuid, gpus);
      row.seen = second;
      for (let series = 0; series < gpus; series += 1) {
        this._put(row, series, from, second, board.gpuSteps(number, series));
      }
    });
    board.nodes.forEach(({ name }, number) => {
      const row = this._row(name, '', this._nodeSeries.length);
      row.seen = second;
      for (let series = 0; series < this._nodeSeries.length; series += 1) {
        this._put(row, series, from, second, board.nodeSteps(number, series));
      }
    });
    this._lastAt = board.at;
    this._revision += 1;
  }

  /**
   * Take in older seconds, as `gpus/history` tells of them, where nothing is known yet.
   *
   * `board` says what the series are. An overview has no such past.
   */
  fill(past: readonly GpuPast[], board: Board): void {
    if (board.scope.detail === 'nodes') {
      return;
    }
    this._learn(board);
    const end = Math.max(0, ...past.map(({ at }) => Math.floor(at.at(-1) ?? 0)));
    if (end === 0) {
      return;
    }
    this._advance(end);
    for (const { node, at, rows } of past) {
      for (const [uuid, told] of Object.entries(rows)) {
        const series = uuid === '' ? this._nodeSeries : this._gpuSeries;
        this._fillRow(this._row(node, uuid, series.length), at, told, series.length);
      }
    }
    this._pastRevision += 1;
    this._revision += 1;
  }

  /** The last seconds of a series, in its unit. Of what is not known at all, a gap. */
  window(node: string, uuid: string, series: string, seconds: number): IWindow {
    const known = uuid === '' ? this._nodeSeries : this._gpuSeries;
    const number = known.findIndex(({ name }) => name === series);
    const step = known[number]?.step ?? 1;
    const row = this._rows.get(keyOf(node, uuid));
    const count = Math.min(seconds, this.seconds);
    const t0 = (this._newest ?? 0) - count + 1;
    const values = Array.from({ length: count }, (_, place) => {
      const steps = row && number >= 0 ? this._get(row, number, t0 + place) : UNKNOWN;
      return steps === UNKNOWN ? null : steps * step;
    });
    return { t0, values };
  }

  /**
   * Write the seconds from `from` on into `into`, in the unit of the series, a gap as NaN: for what
   * draws many at once. Returns whether anything is known of the row.
   */
  copy(node: string, uuid: string, series: string, from: number, into: Float32Array): boolean {
    into.fill(NaN);
    const known = uuid === '' ? this._nodeSeries : this._gpuSeries;
    const number = known.findIndex(({ name }) => name === series);
    const row = this._rows.get(keyOf(node, uuid));
    const newest = this._newest;
    if (row === undefined || number < 0 || newest === null) {
      return false;
    }
    const step = known[number]?.step ?? 1;
    const first = Math.max(0, newest - this.seconds + 1 - from);
    const end = Math.min(into.length, newest + 1 - from);
    const ring = number * this.seconds;
    for (let place = first, at = (from + first) % this.seconds; place < end; place += 1) {
      const steps = row.rings[ring + at] ?? UNKNOWN;
      if (steps !== UNKNOWN) {
        into[place] = steps * step;
      }
      at = at + 1 === this.seconds ? 0 : at + 1;
    }
    return true;
  }

  /** Series that are not those of before are another scope: nothing of it is kept. */
  private _learn({ gpuSeries, nodeSeries }: Board): void {
    const names = JSON.stringify([gpuSeries, nodeSeries]);
    if (names !== this._names) {
      this._names = names;
      [this._gpuSeries, this._nodeSeries] = [gpuSeries, nodeSeries];
      this._rows.clear();
      this._pastRevision += 1;
    }
  }

  private _row(node: string, uuid: string, series: number): IRow {
    const key = keyOf(node, uuid);
    let row = this._rows.get(key);
    if (row === undefined) {
      row = { rings: new Int16Array(series * this.seconds).fill(UNKNOWN), seen: 0 };
      this._rows.set(key, row);
    }
    return row;
  }

  /** Make `second` the newest: what stood in the places of the seconds since is too old. */
  private _advance(second: number): void {
    const last = this._newest;
    if (last !== null && second <= last) {
      return;
    }
    if (last !== null) {
      const from = Math.max(last + 1, second - this.seconds + 1);
      for (const [key, row] of this._rows) {
        if (row.seen <= second - this.seconds) {
          this._rows.delete(key);
          continue;
        }
        for (let ring = 0; ring < row.rings.length; ring += this.seconds) {
          for (let each = from; each <= second; each += 1) {
            row.rings[ring + (each % this.seconds)] = UNKNOWN;
          }
        }
      }
    }
    this._newest = second;
  }

  private _put(row: IRow, series: number, from: number, to: number, steps: number): void {
    for (let second = from; second <= to; second += 1) {
      row.rings[series * this.seconds + (second % this.seconds)] = steps;
    }
  }

  private _get(row: IRow, series: number, second: number): number {
    const newest = this._newest ?? 0;
    if (second > newest || second <= newest - this.seconds) {
      return UNKNOWN;
    }
    return row.rings[series * this.seconds + (second % this.seconds)] ?? UNKNOWN;
  }

  private _fillRow(
    row: IRow,
    at: readonly number[],
    told: readonly (readonly (number | null)[])[],
    series: number
  ): void {
    let before: number | null = null;
    at.forEach((time, place) => {
      const second = Math.floor(time);
      const follows = before !== null && time - before <= TOGETHER_SECONDS;
      const from = follows ? Math.min(Math.floor(before ?? time) + 1, second) : second;
      before = time;
      const first = Math.max(from, (this._newest ?? 0) - this.seconds + 1);
      for (let number = 0; number < series; number += 1) {
        const value = told[number]?.[place] ?? null;
        for (let each = first; value !== null && each <= second; each += 1) {
          if (this._get(row, number, each) === UNKNOWN) {
            this._put(row, number, each, each, value);
          }
        }
      }
      row.seen = Math.max(row.seen, second);
    });
  }

  private _rows = new Map<string, IRow>();
  private _names = '';
  private _gpuSeries: readonly Series[] = [];
  private _nodeSeries: readonly Series[] = [];
  private _newest: number | null = null;
  private _lastAt: number | null = null;
  private _revision = 0;
  private _pastRevision = 0;
}

function keyOf(node: string, uuid: string): string {
  return `${node}\n${uuid}`;
}
