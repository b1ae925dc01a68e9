import { stripAnsi } from './ansi';
import { count } from './format';
import type { IDelta, IKeyframe, IRankDelta, IRankLog, Line, Splice } from './protocol';

/** How a rank's log changed: by splices of its last lines, or (`null`) all of it anew. */
export interface IChange {
  rank: number;
  splices: Splice[] | null;
}

/** The logs as the page holds them: keyframes replace all, deltas change what they name. */
export class LogState {
  /** The number of this state; below zero nothing has come yet. */
  get seq(): number {
    return this._seq;
  }

  get ranks(): ReadonlyMap<number, IRankLog> {
    return this._ranks;
  }

  /** Take a keyframe. One that is not newer than this state is ignored. */
  load(frame: IKeyframe): IChange[] {
    if (frame.seq <= this._seq) {
      return [];
    }
    this._seq = frame.seq;
    this._ranks = new Map(
      Object.entries(frame.ranks).map(([rank, log]) => [Number(rank), copy(log)])
    );
    return [...this._ranks.keys()].map(rank => ({ rank, splices: null }));
  }

  /**
   * Take a delta.
   *
   * @returns what changed; `null` when deltas before it are missing, and then nothing is changed.
   */
  apply(delta: IDelta): IChange[] | null {
    if (delta.seq <= this._seq) {
      return [];
    }
    if (delta.base !== this._seq) {
      return null;
    }
    this._seq = delta.seq;
    return Object.entries(delta.ranks).map(([name, change]) => this._change(Number(name), change));
  }

  private _change(rank: number, change: IRankDelta): IChange {
    const log = this._ranks.get(rank);
    if (!log || change.tail) {
      const { head = [], tail = [], counts } = change;
      if (counts) {
        this._ranks.set(rank, { head: [...head], tail: [...tail], counts });
      }
      return { rank, splices: null };
    }
    log.counts = change.counts ?? log.counts;
    splice(log.tail, change.splices ?? []);
    if (change.head) {
      log.head = [...change.head];
      return { rank, splices: null };
    }
    return { rank, splices: change.splices ?? [] };
  }

  private _seq = -1;
  private _ranks = new Map<number, IRankLog>();
}

/** Apply splices in order, in place. */
export function splice<T>(items: T[], steps: [number, number, T[]][]): void {
  for (const [start, gone, come] of steps) {
    items.splice(start, gone, ...come);
  }
}

/** A line for reading and for the clipboard: no colours, and said what is not shown. */
export function plainLine([text, repeat = 1, leftOut = 0, missing = 0]: Line): string {
  if (missing) {
    return `⋯ ${count(missing)} bytes are missing here ⋯`;
  }
  const plain = stripAnsi(text) + (leftOut ? ` … ${count(leftOut)} more bytes` : '');
  return repeat > 1 ? `${plain}  × ${count(repeat)}` : plain;
}

/** What stands between the first lines and the last ones; empty when nothing is left out. */
export function leftOutNote(log: IRankLog): string {
  const lines = log.counts.left_out;
  return lines ? `⋯ ${count(lines)} line${lines === 1 ? '' : 's'} left out (all in the log) ⋯` : '';
}

/** A rank's log as shown, as plain text. */
export function plainText(log: IRankLog): string {
  const note = leftOutNote(log);
  return [...log.head.map(plainLine), ...(note ? [note] : []), ...log.tail.map(plainLine)].join(
    '\n'
  );
}

function copy(log: IRankLog): IRankLog {
  return { head: [...log.head], tail: [...log.tail], counts: log.counts };
}
