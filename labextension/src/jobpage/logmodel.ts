/** One rank's log as the page holds it: a bounded number of its rows, by their numbers. */

import { Signal, type ISignal } from '@lumino/signaling';

import type { LogRow, LogRows } from '../api/types';
import { RequestError } from '../request';
import type { IAiInfraApi } from '../tokens';

/** Rows asked for at a time. */
export const PAGE_ROWS = 200;
/** Pages kept; the ones not looked at for longest go first. */
export const MOST_PAGES = 60;
/** Characters kept at most: rows may be long. What is looked at stays in any case. */
const MOST_CHARACTERS = 16_000_000;
const FEWEST_PAGES = 6;
/**
 * How far up from its end a log may still change: a program moves the cursor up and writes again,
 * and lines that turn out equal are folded into one row.
 */
export const UNSETTLED_ROWS = 66;
const MOST_REQUESTS = 3;
const FIRST_PAUSE_MILLISECONDS = 1_000;
const LONGEST_PAUSE_MILLISECONDS = 30_000;
/** Rows asked for at a time when all are wanted. */
const BULK_ROWS = 2_000;

interface IPage {
  rows: (LogRow | undefined)[];
  characters: number;
}

type ICounts = Pick<LogRows, 'total_rows' | 'total_bytes'>;

/** A log as text; `rows` of it are in it, `total` there are. */
export interface ILogText {
  text: string;
  rows: number;
  total: number;
}

/**
 * Rows come by the stream's news (the last ones, unasked) and by requests (what is looked at).
 *
 * Both are put by row number, so nothing is there twice, whatever comes again after a reconnect.
 */
export class LogModel {
  constructor(options: { api: IAiInfraApi; id: string; rank: number }) {
    this._api = options.api;
    this.id = options.id;
    this.rank = options.rank;
  }

  readonly id: string;
  readonly rank: number;

  /** Whether anything is known of this log yet. */
  get known(): boolean {
    return this._known;
  }

  get totalRows(): number {
    return this._totalRows;
  }

  get totalLines(): number {
    return this._totalLines;
  }

  get totalBytes(): number {
    return Math.max(0, this._totalBytes);
  }

  /** Whether nothing more will come. */
  get complete(): boolean {
    return this._complete;
  }

  /** Why rows are missing just now; `null` when nothing failed. */
  get problem(): RequestError | null {
    return this._problem;
  }

  /** Grows each time the log began anew, so that row numbers mean something else. */
  get generation(): number {
    return this._generation;
  }

  /** How many pages are held. */
  get pages(): number {
    return this._pages.size;
  }

  /** There are other rows, or other counts. */
  get changed(): ISignal<LogModel, void> {
    return this._changed;
  }

  /** A row, if it is held. */
  row(index: number): LogRow | undefined {
    return this._pages.get(pageOf(index))?.rows[index % PAGE_ROWS];
  }

  /** Ask for the last rows, where nothing is known yet. */
  begin(): void {
    if (!this._known && !this._asked.has(END)) {
      void this._ask(END, { first: -PAGE_ROWS, count: PAGE_ROWS });
    }
  }

  /**
   * Say which rows are looked at, the last one excluded: what is not held of them is asked for.
   *
   * Only the rows named last are wanted: what was scrolled past before its turn came is not asked
   * for at all.
   */
  need(first: number, end: number): void {
    this._wanted = { first: Math.max(0, first), end: Math.min(end, this._totalRows) };
    for (let page = pageOf(this._wanted.first); page * PAGE_ROWS < this._wanted.end; page += 1) {
      this._touch(page);
    }
    this._fetch();
  }

  /** Take news of the stream: the last rows, and how much there is in all. */
  take(news: LogRows): void {
    if (news.total_bytes < this._newsBytes) {
      this._beginAnew();
    }
    this._newsBytes = news.total_bytes;
    this._put(news);
    this._changed.emit();
  }

  /** Forget a failure and ask again at once. */
  retry(): void {
    clearTimeout(this._retryTimer);
    this._retryTimer = undefined;
    this._failures = 0;
    if (this._problem) {
      this._problem = null;
      this._changed.emit();
    }
    if (this._known) {
      this._fetch();
    } else {
      this.begin();
    }
  }

  /** Keep only what is at hand for a return: the log is not looked at for now. */
  rest(): void {
    this._evict(FEWEST_PAGES);
  }

  /** The first `most` rows as text, asked for piece by piece. Rejects as the requests do. */
  async text(most: number, toText: (row: LogRow) => string): Promise<ILogText> {
    const lines: string[] = [];
    let total = 0;
    do {
      const count = Math.min(BULK_ROWS, most - lines.length);
      const { id, rank } = this;
      const answer = await this._api.logRows({ id, rank, first: lines.length, count });
      total = answer.total_rows;
      lines.push(...answer.rows.map(toText));
      if (answer.rows.length === 0) {
        break;
      }
    } while (lines.length < Math.min(most, total));
    return { text: lines.join('\n'), rows: lines.length, total };
  }

  dispose(): void {
    clearTimeout(this._retryTimer);
    this._generation += 1;
    this._pages.clear();
    Signal.clearData(this);
  }

  private _beginAnew(): void {
    this._generation += 1;
    this._pages.clear();
    this._asked.clear();
    this._stale.clear();
    this._totalRows = this._totalLines = this._characters = 0;
    this._totalBytes = -1;
    this._complete = false;
  }

  /** Put rows where they belong, unless what is held is newer. */
  private _put(answer: LogRows): void {
    const { first, rows, ...counts } = answer;
    const newer = counts.total_bytes >= this._totalBytes;
    const settled = counts.complete ? counts.total_rows : counts.total_rows - UNSETTLED_ROWS;
    if (newer) {
      this._outdate({ first, end: first + rows.length }, counts);
      this._totalRows = counts.total_rows;
      this._totalLines = counts.total_lines;
      this._totalBytes = counts.total_bytes;
      this._complete = counts.complete;
      this._known = true;
    }
    rows.forEach((row, at) => {
      const index = first + at;
      // An answer that the stream has overtaken is right about rows that change no more.
      if (newer || index < settled) {
        this._set(index, row);
        this._stale.delete(index);
      }
    });
    this._evict(MOST_PAGES);
  }

  /** Rows that could still change, and of which the news does not tell, have to be asked again. */
  private _outdate(told: { first: number; end: number }, counts: ICounts): void {
    if (counts.total_bytes === this._totalBytes) {
      return;
    }
    for (let index = counts.total_rows; index < this._totalRows; index += 1) {
      this._drop(index);
    }
    const from = Math.max(0, this._totalRows - UNSETTLED_ROWS);
    for (let index = from; index < Math.min(counts.total_rows, this._totalRows); index += 1) {
      if ((index < told.first || index >= told.end) && this.row(index)) {
        this._stale.add(index);
      }
    }
  }

  /** A row that is there no more: what it was has been folded into the one before. */
  private _drop(index: number): void {
    const page = this._pages.get(pageOf(index));
    if (page) {
      page.rows[index % PAGE_ROWS] = undefined;
    }
    this._stale.delete(index);
  }

  private _set(index: number, row: LogRow): void {
    const number = pageOf(index);
    let page = this._pages.get(number);
    if (!page) {
      page = { rows: new Array<LogRow | undefined>(PAGE_ROWS), characters: 0 };
      this._pages.set(number, page);
    }
    const at = index % PAGE_ROWS;
    const grown = row.text.length - (page.rows[at]?.text.length ?? 0);
    page.characters += grown;
    this._characters += grown;
    page.rows[at] = row;
  }

  /** Let the pages go that were not looked at for longest. */
  private _evict(most: number): void {
    for (const [number, page] of this._pages) {
      const heavy = this._characters > MOST_CHARACTERS && this._pages.size > FEWEST_PAGES;
      if (this._pages.size <= most && !heavy) {
        return;
      }
      this._pages.delete(number);
      this._characters -= page.characters;
      for (let index = number * PAGE_ROWS; index < (number + 1) * PAGE_ROWS; index += 1) {
        this._stale.delete(index);
      }
    }
  }

  private _touch(number: number): void {
    const page = this._pages.get(number);
    if (page) {
      this._pages.delete(number);
      this._pages.set(number, page);
    }
  }

  /** Ask for what is wanted and not held. */
  private _fetch(): void {
    if (this._retryTimer !== undefined) {
      return;
    }
    const { first, end } = this._wanted;
    for (let page = pageOf(first); page * PAGE_ROWS < end; page += 1) {
      if (this._asked.size >= MOST_REQUESTS) {
        return;
      }
      const missing = this._asked.has(page) ? null : this._missing(page);
      if (missing !== null) {
        void this._ask(page, { first: missing, count: (page + 1) * PAGE_ROWS - missing });
      }
    }
  }

  /** The first row wanted of a page that is not held. */
  private _missing(page: number): number | null {
    const from = Math.max(this._wanted.first, page * PAGE_ROWS);
    const to = Math.min(this._wanted.end, (page + 1) * PAGE_ROWS, this._totalRows);
    for (let index = from; index < to; index += 1) {
      if (!this.row(index) || this._stale.has(index)) {
        return index;
      }
    }
    return null;
  }

  private async _ask(key: number, range: { first: number; count: number }): Promise<void> {
    const generation = this._generation;
    this._asked.add(key);
    try {
      const { id, rank } = this;
      const answer = await this._api.logRows({ id, rank, ...range });
      if (generation !== this._generation) {
        return;
      }
      this._asked.delete(key);
      this._failures = 0;
      this._problem = null;
      this._put(answer);
      this._check(range.first, answer);
    } catch (error) {
      if (!(error instanceof RequestError)) {
        throw error;
      }
      if (generation !== this._generation) {
        return;
      }
      this._asked.delete(key);
      this._fail(error);
    }
    this._changed.emit();
    this._fetch();
  }

  /** What was asked for and did not come, though it should be there, is not asked at once again. */
  private _check(asked: number, answer: LogRows): void {
    const came = asked >= answer.first && asked < answer.first + answer.rows.length;
    if (asked >= 0 && asked < answer.total_rows && !came) {
      this._fail(new RequestError('unexpected', NO_ROWS));
    }
  }

  private _fail(error: RequestError): void {
    this._problem = error;
    const pause = Math.min(
      FIRST_PAUSE_MILLISECONDS * 2 ** this._failures,
      LONGEST_PAUSE_MILLISECONDS
    );
    this._failures += 1;
    clearTimeout(this._retryTimer);
    this._retryTimer = setTimeout(() => {
      this._retryTimer = undefined;
      if (this._known) {
        this._fetch();
      } else {
        this.begin();
      }
    }, pause);
  }

  private _api: IAiInfraApi;
  private _known = false;
  private _totalRows = 0;
  private _totalLines = 0;
  private _totalBytes = -1;
  private _newsBytes = 0;
  private _complete = false;
  private _characters = 0;
  private _generation = 0;
  /** In the order in which they were last looked at. */
  private _pages = new Map<number, IPage>();
  private _asked = new Set<number>();
  private _stale = new Set<number>();
  private _wanted = { first: 0, end: 0 };
  private _problem: RequestError | null = null;
  private _failures = 0;
  private _retryTimer: ReturnType<typeof setTimeout> | undefined;
  private _changed = new Signal<LogModel, void>(this);
}

const NO_ROWS = 'the server has no rows for a part of the log that should be there';

/** What stands for the page at the end, whose number is not known yet. */
const END = -1;

function pageOf(index: number): number {
  return Math.floor(index / PAGE_ROWS);
}
