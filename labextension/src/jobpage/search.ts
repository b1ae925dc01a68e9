/** A search through one log: the rows that hold a text, found by the server piece by piece. */

import { Signal, type ISignal } from '@lumino/signaling';

import type { LogSearch } from '../api/types';
import { RequestError } from '../request';
import type { IAiInfraApi } from '../tokens';
import type { LogModel } from './logmodel';

/** Matches asked for at a time, and kept at most. */
const LIMIT = 1_000;
export const MOST_MATCHES = 100_000;

export interface ISearchStatus {
  /** From 1; 0 before any match was jumped to. */
  position: number;
  matches: number;
  /** Whether there may be more matches than were counted. */
  more: boolean;
  searching: boolean;
  problem: RequestError | null;
}

/** Each new search drops the one before, also its answers that are still on their way. */
export class LogSearcher {
  constructor(api: IAiInfraApi) {
    this._api = api;
  }

  get status(): ISearchStatus {
    return {
      position: this._at + 1,
      matches: this._rows.length,
      more: this._more,
      searching: this._searching,
      problem: this._problem
    };
  }

  /** The row of the match jumped to. */
  get row(): number | null {
    return this._rows[this._at] ?? null;
  }

  get changed(): ISignal<LogSearcher, void> {
    return this._changed;
  }

  /** A match is to be shown. */
  get jumped(): ISignal<LogSearcher, number> {
    return this._jumped;
  }

  /** Search a log for a text, and jump to the first match from row `near` on, or to the first. */
  async find(
    log: LogModel,
    { text, matchCase, near }: { text: string; matchCase: boolean; near: number }
  ): Promise<void> {
    this.clear();
    if (text === '') {
      return;
    }
    this._log = log;
    this._asked = { text, matchCase };
    this._near = near;
    await this._continue(0);
  }

  /** Go on to the next match; past the last one to the first, unless there are new ones. */
  async next(): Promise<void> {
    if (this._at + 1 < this._rows.length) {
      this._jump(this._at + 1);
    } else if (!this._searching) {
      const before = this._rows.length;
      if (this._asked && this._log && this._log.totalRows > this._searchedRows) {
        await this._continue(this._searchedFrom());
      }
      this._jump(this._rows.length > before ? before : 0);
    }
  }

  /** Go back to the match before; before the first one to the last. */
  previous(): void {
    this._jump(this._at > 0 ? this._at - 1 : this._rows.length - 1);
  }

  /** Search for nothing. */
  clear(): void {
    this._generation += 1;
    this._rows = [];
    this._at = -1;
    this._near = null;
    this._asked = null;
    this._more = this._searching = false;
    this._problem = null;
    this._searchedRows = 0;
    this._changed.emit();
  }

  dispose(): void {
    this._generation += 1;
    Signal.clearData(this);
  }

  private async _continue(from: number): Promise<void> {
    const generation = this._generation;
    const { _log: log, _asked: asked } = this;
    if (!log || !asked) {
      return;
    }
    this._searching = true;
    this._problem = null;
    this._changed.emit();
    const searchedRows = log.totalRows;
    try {
      for (let start: number | null = from; start !== null;) {
        const answer = await this._api.searchLog({
          id: log.id,
          rank: log.rank,
          ...asked,
          from: start,
          limit: LIMIT
        });
        if (generation !== this._generation) {
          return;
        }
        start = this._take(answer);
      }
      this._searchedRows = searchedRows;
    } catch (error) {
      if (!(error instanceof RequestError)) {
        throw error;
      }
      if (generation !== this._generation) {
        return;
      }
      this._problem = error;
    }
    this._searching = false;
    this._jumpNear(true);
    this._changed.emit();
  }

  /** Take matches; returns where to go on, or `null` at the end. */
  private _take({ rows, more, next }: LogSearch): number | null {
    const known = this._rows[this._rows.length - 1] ?? -1;
    this._rows.push(...rows.filter(row => row > known));
    this._more = more;
    this._jumpNear(false);
    this._changed.emit();
    return this._rows.length < MOST_MATCHES ? next : null;
  }

  /** Jump to the first match from where the reader stood, as soon as it is known. */
  private _jumpNear(all: boolean): void {
    const near = this._near;
    if (near === null) {
      return;
    }
    const at = this._rows.findIndex(row => row >= near);
    if (at >= 0 || (all && this._rows.length > 0)) {
      this._near = null;
      this._jump(Math.max(0, at));
    }
  }

  private _jump(at: number): void {
    const row = this._rows[at];
    if (row !== undefined) {
      this._at = at;
      this._jumped.emit(row);
      this._changed.emit();
    }
  }

  /** The last row searched may have grown since, if it was not a match. */
  private _searchedFrom(): number {
    const last = this._rows[this._rows.length - 1] ?? -1;
    return Math.max(last + 1, this._searchedRows - 1);
  }

  private _api: IAiInfraApi;
  private _log: LogModel | null = null;
  private _asked: { text: string; matchCase: boolean } | null = null;
  private _rows: number[] = [];
  private _at = -1;
  private _near: number | null = null;
  private _more = false;
  private _searching = false;
  private _problem: RequestError | null = null;
  /** How many rows the log had when it was last searched to its end. */
  private _searchedRows = 0;
  private _generation = 0;
  private _changed = new Signal<LogSearcher, void>(this);
  private _jumped = new Signal<LogSearcher, number>(this);
}
