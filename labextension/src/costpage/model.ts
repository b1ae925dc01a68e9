/** What the page of cost knows: the bill of what is shown, the days beside it, and who is idle. */

import type { IDisposable } from '@lumino/disposable';
import { Signal, type ISignal } from '@lumino/signaling';

import type { CostReport, IdleItem, IdleRule } from '../api/types';
import { RequestError } from '../request';
import type { IAiInfraApi, IAiInfraModels, IProblem } from '../tokens';
import { billQuery, dayOf, daysOf, daysQuery, FIRST_VIEW, keptOf, type IView } from './view';

/** The bill is asked for again while it grows, and the GPUs are looked at again. */
const REFRESH_MILLISECONDS = 60_000;
const RETRY_MILLISECONDS = 5_000;

export interface ICostPageOptions {
  api: IAiInfraApi;
  models: IAiInfraModels;
}

/** What was answered, and to which view. */
export interface IAnswer {
  view: IView;
  bill: CostReport;
  days: CostReport;
}

/** Asks and watches only while it is `active`. */
export class CostPageModel implements IDisposable {
  constructor(options: ICostPageOptions) {
    this._options = options;
    const { pools, spend, budgets, jobs } = options.models;
    [pools, spend, budgets, jobs].forEach(({ changed }) =>
      (changed as ISignal<unknown, void>).connect(this._onChanged)
    );
  }

  get view(): IView {
    return this._view;
  }

  /** What JupyterLab keeps of the view. */
  get kept(): { [name: string]: string | boolean | null } {
    return keptOf(this._view);
  }

  /** The view is another. */
  get viewChanged(): ISignal<CostPageModel, void> {
    return this._viewChanged;
  }

  /** Something is to be drawn anew. */
  get changed(): ISignal<CostPageModel, void> {
    return this._changed;
  }

  get isDisposed(): boolean {
    return this._isDisposed;
  }

  /** The last that was answered; another view may have been asked for since. */
  get answer(): IAnswer | null {
    return this._answer;
  }

  /** Whether what is asked for is not there yet. */
  get isLoading(): boolean {
    return this._asking !== null;
  }

  get problem(): IProblem | null {
    return this._problem ?? this._options.models.spend.problem;
  }

  get idle(): IdleItem | null {
    return this._idle;
  }

  get idleProblem(): IProblem | null {
    return this._idleProblem;
  }

  get isLooking(): boolean {
    return this._looking !== null;
  }

  get active(): boolean {
    return this._active;
  }

  set active(active: boolean) {
    if (active === this._active || this._isDisposed) {
      return;
    }
    this._active = active;
    const { pools, jobs, budgets, spend } = this._options.models;
    this._watching.forEach(each => each.dispose());
    this._watching = active ? [pools.watch(), jobs.watch(), budgets.watch(), spend.watch()] : [];
    if (active) {
      this._load();
      void this.look();
    } else {
      this._rest();
      clearTimeout(this._lookTimer);
      this._looking = null;
    }
  }

  show(change: Partial<IView>): void {
    const before = this._view;
    this._view = { ...before, ...change };
    const now = new Date();
    const isSame = key(before, now) === key(this._view, now);
    if (!isSame) {
      this._problem = null;
      this._load();
    }
    this._viewChanged.emit();
    this._changed.emit();
  }

  /** Ask for the bill again, now. */
  refresh(): void {
    this._load();
    this._options.models.spend.refresh();
  }

  /** Look at the GPUs again; takes a few seconds. */
  async look(): Promise<void> {
    clearTimeout(this._lookTimer);
    if (!this._active) {
      return;
    }
    const looking = this._options.api.idle();
    this._looking = looking;
    this._changed.emit();
    try {
      const found = await looking;
      if (this._looking === looking) {
        [this._idle, this._idleProblem] = [found, null];
      }
    } catch (error) {
      if (this._looking === looking) {
        this._idleProblem = problemOf(error);
      }
    }
    if (this._looking === looking) {
      this._looking = null;
      this._changed.emit();
      if (this._active) {
        this._lookTimer = setTimeout(() => void this.look(), REFRESH_MILLISECONDS);
      }
    }
  }

  /** Say what is done about idle GPUs of a pool or a job; `null` is what the settings say. */
  async setIdle(name: string, rule: IdleRule | null): Promise<void> {
    try {
      await this._options.api.setIdle(name, rule);
    } catch (error) {
      this._idleProblem = problemOf(error);
      this._changed.emit();
      return;
    }
    await this.look();
  }

  dispose(): void {
    if (this._isDisposed) {
      return;
    }
    this.active = false;
    this._isDisposed = true;
    const { pools, spend, budgets, jobs } = this._options.models;
    [pools, spend, budgets, jobs].forEach(({ changed }) =>
      (changed as ISignal<unknown, void>).disconnect(this._onChanged)
    );
    Signal.clearData(this);
  }

  /** Ask for what is to be shown, and again while it goes on. */
  private _load(): void {
    this._rest();
    if (!this._active) {
      return;
    }
    const asking = new AbortController();
    this._asking = asking;
    this._changed.emit();
    void this._ask(asking.signal).then(pause => {
      if (this._asking === asking) {
        this._asking = null;
        if (pause !== null && this._active) {
          this._timer = setTimeout(() => this._load(), pause);
        }
        this._changed.emit();
      }
    });
  }

  /** Ask once. Returns in how many milliseconds it is worth asking again; `null` is never. */
  private async _ask(signal: AbortSignal): Promise<number | null> {
    const { api } = this._options;
    const view = this._view;
    const now = new Date();
    try {
      // One after the other: the second finds settled what the first has brought up to date.
      const bill = await api.cost(billQuery(view, now), signal);
      const days = await api.cost(daysQuery(view, now), signal);
      if (signal.aborted) {
        return null;
      }
      this._answer = { view, bill, days };
      this._problem = null;
      const [, last] = daysOf(view, now);
      // A day that is over here may go on where the server is.
      return last < dayOf(new Date(now.getTime() - 86_400_000)) ? null : REFRESH_MILLISECONDS;
    } catch (error) {
      if (signal.aborted) {
        return null;
      }
      this._problem = problemOf(error);
      return error instanceof RequestError && error.failure === 'refused'
        ? null
        : RETRY_MILLISECONDS;
    }
  }

  private _rest(): void {
    clearTimeout(this._timer);
    this._timer = undefined;
    this._asking?.abort();
    this._asking = null;
  }

  private _onChanged = (): void => this._changed.emit();

  private _options: ICostPageOptions;
  private _view: IView = FIRST_VIEW;
  private _active = false;
  private _watching: IDisposable[] = [];
  private _answer: IAnswer | null = null;
  private _asking: AbortController | null = null;
  private _timer: ReturnType<typeof setTimeout> | undefined;
  private _problem: IProblem | null = null;
  private _idle: IdleItem | null = null;
  private _idleProblem: IProblem | null = null;
  private _looking: Promise<IdleItem> | null = null;
  private _lookTimer: ReturnType<typeof setTimeout> | undefined;
  private _isDisposed = false;
  private _viewChanged = new Signal<CostPageModel, void>(this);
  private _changed = new Signal<CostPageModel, void>(this);
}

/** What of a view the server is asked. */
function key(view: IView, now: Date): string {
  return JSON.stringify([billQuery(view, now), daysQuery(view, now)]);
}

function problemOf(error: unknown): IProblem {
  if (!(error instanceof RequestError)) {
    throw error;
  }
  return { message: error.message, hint: error.hint };
}
