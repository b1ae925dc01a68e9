/** What the jobs of a list have cost. */

import { DisposableDelegate, type IDisposable } from '@lumino/disposable';
import { Signal, type ISignal } from '@lumino/signaling';

import type { Amount, JobItem } from '../api/types';
import { Meter } from '../cost/meter';
import { isActive } from '../jobstate';
import { RequestError } from '../request';
import type { IAiInfraApi } from '../tokens';

const BUSY_MILLISECONDS = 15_000;
/** Jobs that begin, end or come into sight together are asked for once. */
const SETTLE_MILLISECONDS = 300;
/** How many the server is asked for at once; the address has room for more. */
const MOST_ASKED = 200;

interface IKnown {
  meter: Meter;
  /** Whether the job was over when this was asked: it does not change any more. */
  isFinal: boolean;
}

/** Asks for the jobs that are wanted while somebody watches and the page is visible. */
export class JobCosts {
  constructor(options: { api: Pick<IAiInfraApi, 'jobCosts'> }) {
    this._api = options.api;
  }

  get changed(): ISignal<JobCosts, void> {
    return this._changed;
  }

  /** What a job has cost by now, one a currency; empty where it is unknown. */
  of(id: string): readonly Amount[] {
    return this._known.get(id)?.meter.cost ?? [];
  }

  /** Have these be known from now on, and no others. */
  want(jobs: readonly JobItem[]): void {
    const key = jobs.map(job => (isActive(job) ? job.id : `${job.id}!`)).join(' ');
    if (key !== this._key) {
      this._key = key;
      this._wanted = jobs;
      if (this._watches > 0) {
        this._plan(SETTLE_MILLISECONDS);
      }
    }
  }

  watch(): IDisposable {
    this._watches += 1;
    if (this._watches === 1) {
      document.addEventListener('visibilitychange', this._onVisibility);
      this._plan(0);
    }
    return new DisposableDelegate(() => {
      this._watches -= 1;
      if (this._watches === 0) {
        document.removeEventListener('visibilitychange', this._onVisibility);
        this._rest();
      }
    });
  }

  /** Those that are not known for good. */
  private _missing(): JobItem[] {
    return this._wanted.filter(({ id }) => !this._known.get(id)?.isFinal);
  }

  /** Ask in `delay`, or before where that is planned already. */
  private _plan(delay: number): void {
    const due = performance.now() + delay;
    if (this._timer !== undefined && this._due <= due) {
      return;
    }
    clearTimeout(this._timer);
    this._due = due;
    this._timer = setTimeout(() => void this._ask(), delay);
  }

  private _rest(): void {
    clearTimeout(this._timer);
    this._timer = undefined;
  }

  private async _ask(): Promise<void> {
    this._timer = undefined;
    const asked = this._missing().slice(0, MOST_ASKED);
    if (document.hidden || this._watches === 0 || asked.length === 0 || this._isAsking) {
      return;
    }
    this._isAsking = true;
    let isAnswered = false;
    try {
      const items = await this._api.jobCosts(asked.map(({ id }) => id));
      const found = new Map(items.map(item => [item.job, item]));
      for (const job of asked) {
        const meter = this._known.get(job.id)?.meter ?? new Meter();
        meter.take(found.get(job.id) ?? null);
        this._known.set(job.id, { meter, isFinal: !isActive(job) });
      }
      isAnswered = true;
      this._changed.emit();
    } catch (error) {
      if (!(error instanceof RequestError)) {
        throw error;
      }
      // That the server is away is said elsewhere; what was known goes on, and it is asked again.
    } finally {
      this._isAsking = false;
    }
    const missing = this._missing();
    if (this._watches > 0 && missing.length > 0) {
      const isNew = isAnswered && missing.some(({ id }) => !this._known.has(id));
      this._plan(isNew ? SETTLE_MILLISECONDS : BUSY_MILLISECONDS);
    }
  }

  private _onVisibility = (): void => {
    if (!document.hidden) {
      this._plan(0);
    }
  };

  private _api: Pick<IAiInfraApi, 'jobCosts'>;
  private _wanted: readonly JobItem[] = [];
  private _key = '';
  private _known = new Map<string, IKnown>();
  private _watches = 0;
  private _isAsking = false;
  private _timer: ReturnType<typeof setTimeout> | undefined;
  private _due = 0;
  private _changed = new Signal<JobCosts, void>(this);
}
