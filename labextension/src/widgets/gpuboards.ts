/** What a kernel tells of GPUs; made by `jupyter_aiinfra/widgets/gpuwire.py`. */

import type { GpuPast, GpusDelta, GpusFrame } from '../api/types';
import { Trail } from '../gpus/history';
import { Board } from '../gpus/wire';

/** Seconds kept for the curves. */
const KEPT_SECONDS = 120;

/** All of some pools' GPUs, under a number. */
export interface IWholeGpus {
  seq: number;
  pools: {
    pool: string;
    /** Why there is no frame; empty where there is one. */
    problem: string;
    frame: GpusFrame | null;
  }[];
}

/** What has changed of them since; the `key` of each change is the number of its pool. */
export interface IGpusChange {
  seq: number;
  changes: GpusDelta[];
  /** The last word that the kernel has heard of each view. */
  heard?: Record<string, number>;
}

/** A trait that may not have been set yet. */
export type Unset = Record<string, never>;

/** One pool's GPUs as the page holds them. */
export interface IPoolGpus {
  readonly pool: string;
  readonly problem: string;
  readonly board: Board | null;
  readonly trail: Trail;
}

/** The GPUs as the page holds them: a whole replaces all, a change what it names. */
export class GpuBoards {
  get pools(): readonly IPoolGpus[] {
    return this._pools;
  }

  /** The number of this state; below zero nothing has come yet. */
  get seq(): number {
    return this._seq;
  }

  /** When the newest of them was read, in seconds since the epoch. */
  get at(): number | null {
    const times = this._pools.flatMap(({ board }) => (board ? [board.at] : []));
    return times.length > 0 ? Math.max(...times) : null;
  }

  /** Take all of it, if it is newer than what is here; whether it was. */
  load(whole: IWholeGpus | Unset): boolean {
    if (!isSet(whole) || whole.seq <= this._seq) {
      return false;
    }
    this._seq = whole.seq;
    this._pools = whole.pools.map(({ pool, problem, frame }) => {
      const board = frame && new Board(frame);
      const trail = this._trails.get(pool) ?? new Trail(KEPT_SECONDS);
      this._trails.set(pool, trail);
      if (board) {
        trail.push(board);
      }
      return { pool, problem, board, trail };
    });
    return true;
  }

  /** Take what has changed. `false` where something before it was missed: all of it is needed. */
  apply(change: IGpusChange | Unset): boolean {
    if (!isSet(change) || change.seq <= this._seq) {
      return true;
    }
    if (this._seq < 0) {
      return false;
    }
    for (const delta of change.changes) {
      const { board, trail } = this._pools[delta.key] ?? {};
      if (!board || !trail || !board.apply(delta)) {
        return false;
      }
      trail.push(board);
    }
    this._seq = change.seq;
    return true;
  }

  /** Take the seconds before the first frame. */
  fill(past: readonly GpuPast[]): void {
    for (const { board, trail } of this._pools) {
      const names = new Set(board?.nodes.map(({ name }) => name));
      const mine = past.filter(({ node }) => names.has(node));
      if (board && mine.length > 0) {
        trail.fill(mine, board);
      }
    }
  }

  private _pools: IPoolGpus[] = [];
  private _trails = new Map<string, Trail>();
  private _seq = -1;
}

function isSet<T extends { seq: number }>(trait: T | Unset): trait is T {
  return 'seq' in trait;
}
