/** The end of one rank's log, kept up to date from the rows that the server sends. */

import type { LogRow, LogRows } from '../api/types';
import { plural } from '../widgets/format';
import type { ICounts, IRankDelta, IRankLog, Line, Splice } from '../widgets/protocol';

/** How many of the first and of the last rows are shown; the rest is on the job's page. */
export const HEAD_ROWS = 20;
export const TAIL_ROWS = 200;

/** The rows of a log as the component that draws a job wants them. */
export class RankTail {
  /** Whether rows are left out at the beginning that could be shown there. */
  get lacksHead(): boolean {
    return this._first > 0 && this._head.length === 0;
  }

  /** Whether the log is whole: the job is over and everything of it was read. */
  get complete(): boolean {
    return this._complete;
  }

  get log(): IRankLog {
    return {
      head: this._head.map(lineOf),
      tail: this._tail.map(lineOf),
      counts: this._counts()
    };
  }

  /**
   * Take the last rows of the log, which may overlap what is known.
   *
   * @returns what changed of the log; `null` when nothing did.
   */
  take(news: LogRows): IRankDelta | null {
    const at = news.first - this._first;
    const shrunk = news.total_bytes < this._bytes || news.total_rows < this._rows;
    const fits = this._isKnown && !shrunk && at >= 0 && at <= this._tail.length;
    const before = JSON.stringify(this._counts());
    this._isKnown = true;
    this._rows = news.total_rows;
    this._lines = news.total_lines;
    this._bytes = news.total_bytes;
    this._complete = news.complete;
    if (!fits) {
      this._head = shrunk ? [] : this._head.slice(0, news.first);
      this._first = news.first;
      this._tail = [...news.rows];
      this._trim();
      return this.log;
    }
    const splices = this._splice(at, news.rows);
    const counts = this._counts();
    const same = splices.length === 0 && JSON.stringify(counts) === before;
    return same ? null : { splices, counts };
  }

  /** Take the first rows of the log. Returns all of it, or `null` where they change nothing. */
  takeHead(rows: readonly LogRow[]): IRankDelta | null {
    if (!this.lacksHead) {
      return null;
    }
    this._head = rows.slice(0, Math.min(HEAD_ROWS, this._first));
    return this._head.length ? this.log : null;
  }

  /** Put `rows` in the place of those from `at` on, and leave alone what is the same. */
  private _splice(at: number, rows: readonly LogRow[]): Splice[] {
    let same = 0;
    while (same < rows.length && isSame(rows[same], this._tail[at + same])) {
      same += 1;
    }
    const start = at + same;
    const come = rows.slice(same);
    const gone = this._tail.length - start;
    const splices: Splice[] = [];
    if (gone > 0 || come.length > 0) {
      this._tail.splice(start, gone, ...come);
      splices.push([start, gone, come.map(lineOf)]);
    }
    const trimmed = this._trim();
    return trimmed ? [...splices, [0, trimmed, []]] : splices;
  }

  private _trim(): number {
    const excess = Math.max(0, this._tail.length - TAIL_ROWS);
    this._tail.splice(0, excess);
    this._first += excess;
    return excess;
  }

  private _counts(): ICounts {
    const shown = [...this._head, ...this._tail];
    const stoodFor = shown.reduce((sum, { repeat }) => sum + repeat, 0);
    return {
      seen: this._lines,
      shown: shown.length,
      folded: stoodFor - shown.length,
      left_out: Math.max(0, this._lines - stoodFor),
      same: 0,
      same_as_first: false,
      bytes: this._bytes,
      missing: 0,
      summary: this._lines ? plural(this._lines, 'line') : 'no output'
    };
  }

  private _isKnown = false;
  private _head: LogRow[] = [];
  private _tail: LogRow[] = [];
  /** The number of the first row of the tail. */
  private _first = 0;
  private _rows = 0;
  private _lines = 0;
  private _bytes = 0;
  private _complete = false;
}

function lineOf({ text, repeat, left_out }: LogRow): Line {
  return left_out ? [text, repeat, left_out] : repeat > 1 ? [text, repeat] : [text];
}

function isSame(one: LogRow | undefined, other: LogRow | undefined): boolean {
  return (
    one?.text === other?.text && one?.repeat === other?.repeat && one?.left_out === other?.left_out
  );
}
