/** What is spent now. */

import { DisposableDelegate, type IDisposable } from '@lumino/disposable';
import { Signal, type ISignal } from '@lumino/signaling';

import type { CostSummary } from '../api/types';
import { RequestError } from '../request';
import type { IAiInfraApi, IJobsModel, IProblem, ISpendModel } from '../tokens';

/** How often it is asked for while jobs go on, and while none do. */
const BUSY_MILLISECONDS = 15_000;
const IDLE_MILLISECONDS = 5 * 60_000;
/** Jobs that begin or end together are asked for once. */
const SETTLE_MILLISECONDS = 500;

/** Asks the server while somebody watches and the page is visible. */
export class SpendModel implements ISpendModel {
  constructor(options: { api: IAiInfraApi; jobs: IJobsModel }) {
    this._api = options.api;
    this._jobs = options.jobs;
  }

  get now(): CostSummary | null {
    return this._now;
  }

  get problem(): IProblem | null {
    return this._problem;
  }

  get changed(): ISignal<ISpendModel, void> {
    return this._changed;
  }

  watch(): IDisposable {
    const jobs = this._jobs.watch();
    this._watches += 1;
    if (this._watches === 1) {
      this._active = this._jobs.active;
      this._jobs.changed.connect(this._onJobs);
      document.addEventListener('visibilitychange', this._onVisibility);
      this._plan(0);
    }
    return new DisposableDelegate(() => {
      jobs.dispose();
      this._watches -= 1;
      if (this._watches === 0) {
        this._jobs.changed.disconnect(this._onJobs);
        document.removeEventListener('visibilitychange', this._onVisibility);
        this._rest();
      }
    });
  }

  refresh(): void {
    if (this._isWanted) {
      this._plan(0);
    }
  }

  private get _isWanted(): boolean {
    return this._watches > 0 && !document.hidden;
  }

  /** Ask in `delay`, in place of when it would have been. */
  private _plan(delay: number): void {
    clearTimeout(this._timer);
    this._timer = setTimeout(() => void this._ask(), delay);
  }

  private _rest(): void {
    clearTimeout(this._timer);
    this._timer = undefined;
  }

  private async _ask(): Promise<void> {
    const asking = (this._asking = this._api.costNow());
    try {
      const now = await asking;
      if (asking === this._asking) {
        this._now = now;
        this._problem = null;
      }
    } catch (error) {
      if (!(error instanceof RequestError)) {
        throw error;
      }
      if (asking === this._asking) {
        this._problem = error;
      }
    }
    if (asking === this._asking) {
      this._changed.emit();
      if (this._isWanted) {
        this._plan(this._jobs.active === 0 ? IDLE_MILLISECONDS : BUSY_MILLISECONDS);
      }
    }
  }

  private _onJobs = (): void => {
    if (this._active !== this._jobs.active) {
      this._active = this._jobs.active;
      if (this._isWanted) {
        this._plan(SETTLE_MILLISECONDS);
      }
    }
  };

  private _onVisibility = (): void => {
    if (this._isWanted) {
      this._plan(0);
    } else {
      this._rest();
    }
  };

  private _api: IAiInfraApi;
  private _jobs: IJobsModel;
  private _now: CostSummary | null = null;
  private _problem: IProblem | null = null;
  private _watches = 0;
  private _active: number | null = null;
  private _timer: ReturnType<typeof setTimeout> | undefined;
  /** The last question: the answer of an earlier one counts no more. */
  private _asking: Promise<CostSummary> | null = null;
  private _changed = new Signal<ISpendModel, void>(this);
}
