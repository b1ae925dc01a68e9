/** The list of jobs as the panel shows it: narrowed, and as long as it was asked to be. */

import { Signal, type ISignal } from '@lumino/signaling';
import type { IDisposable } from '@lumino/disposable';

import type { JobItem } from '../api/types';
import { isActive } from '../jobstate';
import { RequestError } from '../request';
import type { IAiInfraApi, IJobsModel } from '../tokens';
import { newestFirst } from './jobs';

/** How many rows are drawn at first, and how many more with each "Show more". */
export const PAGE = 100;
/** How long a search waits for the next letter before the server is asked. */
const TYPING_MILLISECONDS = 250;

/** What a list may be narrowed to: everything, `active`, `ended` or one state. */
export type StateFilter = '' | 'active' | 'ended' | JobItem['state'];

/** How far the jobs are known that match: up to `last`, and whether there are more behind it. */
interface IReach {
  last: JobItem | null;
  more: boolean;
  /** The job behind which the next question begins; `null` for all of them. */
  before: string | null;
}

/**
 * Narrows the jobs of the model, and asks the server where those do not go far enough. A search is
 * always asked for, too: the server looks into the code of a job, which is not in the model.
 *
 * Matching jobs are shown down to the oldest one up to which all are known: no row appears
 * between others later, but for one that goes on, which is always shown.
 */
export class JobList implements IDisposable {
  constructor(options: { jobs: IJobsModel; api: IAiInfraApi }) {
    this._jobs = options.jobs;
    this._api = options.api;
    this._resets = this._jobs.resets;
    this._reach = this._baseReach();
    this._jobs.changed.connect(this._onJobs);
  }

  get changed(): ISignal<JobList, void> {
    return this._changed;
  }

  get search(): string {
    return this._search;
  }

  get state(): StateFilter {
    return this._state;
  }

  get isNarrowed(): boolean {
    return this._search.trim() !== '' || this._state !== '';
  }

  /** Whether an answer is waited for. */
  get isAsking(): boolean {
    return this._asking !== null;
  }

  /** Why the last question has no answer. */
  get problem(): RequestError | null {
    return this._problem;
  }

  /** The rows to draw. */
  get rows(): readonly JobItem[] {
    return this._matching().slice(0, this._length);
  }

  /** Whether there are rows behind the last. */
  get more(): boolean {
    return this._reach.more || this._matching().length > this._length;
  }

  get isDisposed(): boolean {
    return this._isDisposed;
  }

  narrow({ search = this._search, state = this._state }: Partial<IFilter>): void {
    if (search === this._search && state === this._state) {
      return;
    }
    const typed = search !== this._search;
    this._search = search;
    this._state = state;
    this._length = PAGE;
    this._restart(typed ? TYPING_MILLISECONDS : 0);
  }

  showMore(): void {
    this._length += PAGE;
    if (this._reach.more && this._matching().length < this._length) {
      void this._ask();
    }
    this._changed.emit();
  }

  dispose(): void {
    if (!this._isDisposed) {
      this._isDisposed = true;
      clearTimeout(this._typing);
      this._asking = null;
      this._jobs.changed.disconnect(this._onJobs);
      Signal.clearData(this);
    }
  }

  private _onJobs = (): void => {
    if (this._resets !== this._jobs.resets) {
      this._resets = this._jobs.resets;
      this._restart(0);
    } else {
      this._changed.emit();
    }
  };

  /** Begin anew from what the model has, and ask where that may not be all that matches. */
  private _restart(delay: number): void {
    clearTimeout(this._typing);
    this._asking = null;
    this._problem = null;
    this._found.clear();
    this._reach = this._baseReach();
    const isShort = this.isNarrowed || this._matching().length < this._length - PAGE;
    if (this._search.trim() !== '') {
      this._reach.before = null;
      this._typing = setTimeout(() => void this._ask(), delay);
    } else if (this._reach.more && isShort) {
      this._typing = setTimeout(() => void this._ask(), delay);
    }
    this._changed.emit();
  }

  private _baseReach(): IReach {
    const { oldest, more } = this._jobs;
    return { last: oldest, more, before: oldest?.id ?? null };
  }

  private async _ask(): Promise<void> {
    if (this._asking !== null) {
      return;
    }
    const { last, before } = this._reach;
    const asking = (this._asking = this._api.jobs({
      ...(this._search.trim() && { search: this._search.trim() }),
      ...(this._state && { state: this._state }),
      ...(before !== null && { before }),
      limit: PAGE
    }));
    this._changed.emit();
    try {
      const { jobs, more } = await asking;
      if (asking === this._asking) {
        this._asking = null;
        this._problem = null;
        const oldest = jobs.at(-1) ?? last;
        this._reach = { last: oldest, more, before: oldest?.id ?? before };
        jobs.forEach(({ id }) => this._found.add(id));
        this._jobs.take(jobs);
      }
    } catch (error) {
      if (asking === this._asking) {
        this._asking = null;
        this._problem = asProblem(error);
        this._changed.emit();
      }
    }
  }

  private _matching(): JobItem[] {
    const { last, more } = this._reach;
    const words = this._search.trim().toLowerCase();
    return this._jobs.jobs.filter(
      job =>
        inState(job, this._state) &&
        (holds(job, words) || this._found.has(job.id)) &&
        (!more ||
          last === null ||
          isActive(job) ||
          newestFirst(job, last) <= 0 ||
          job.id === last.id)
    );
  }

  private _jobs: IJobsModel;
  private _api: IAiInfraApi;
  private _search = '';
  private _state: StateFilter = '';
  private _length = PAGE;
  private _reach: IReach;
  /** What the server has found for this search. */
  private _found = new Set<string>();
  private _asking: Promise<unknown> | null = null;
  private _problem: RequestError | null = null;
  private _resets: number;
  private _typing: ReturnType<typeof setTimeout> | undefined;
  private _isDisposed = false;
  private _changed = new Signal<JobList, void>(this);
}

export interface IFilter {
  search: string;
  state: StateFilter;
}

function inState(job: JobItem, filter: StateFilter): boolean {
  switch (filter) {
    case '':
      return true;
    case 'active':
      return isActive(job);
    case 'ended':
      return !isActive(job);
    default:
      return job.state === filter;
  }
}

/** As the server searches, as far as can be told from here. */
function holds(job: JobItem, words: string): boolean {
  return [job.id, job.name, job.pool, job.notebook ?? '', job.user ?? ''].some(text =>
    text.toLowerCase().includes(words)
  );
}

function asProblem(error: unknown): RequestError {
  if (error instanceof RequestError) {
    return error;
  }
  throw error;
}
