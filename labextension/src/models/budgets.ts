/** The budgets, as the stream tells of them. */

import type { IDisposable } from '@lumino/disposable';
import { Signal, type ISignal } from '@lumino/signaling';

import type { BudgetItem, BudgetRequest } from '../api/types';
import type {
  IAiInfraApi,
  IAiInfraStream,
  IBudgetsModel,
  IProblem,
  IRemoval,
  IWatchOptions,
  News
} from '../tokens';
import { decideIn } from './removal';

const TOPIC = { topic: 'budgets', id: null, rank: null } as const;

/** Keeps the last list of the budgets, and what requests have answered since. */
export class BudgetsModel implements IBudgetsModel {
  constructor(options: { api: IAiInfraApi; stream: IAiInfraStream }) {
    this._api = options.api;
    this._stream = options.stream;
    options.stream.news.connect((_sender, news) => this._onNews(news));
  }

  get budgets(): readonly BudgetItem[] | null {
    return this._known?.filter(({ id }) => !this._hidden.has(id)) ?? null;
  }

  get problem(): IProblem | null {
    return this._problem;
  }

  get changed(): ISignal<IBudgetsModel, void> {
    return this._changed;
  }

  watch(options?: IWatchOptions): IDisposable {
    return this._stream.watch(TOPIC, options);
  }

  find(id: string): BudgetItem | undefined {
    return this.budgets?.find(each => each.id === id);
  }

  of(job: string): BudgetItem[] {
    return this.budgets?.filter(({ jobs }) => jobs.includes(job)) ?? [];
  }

  async set(request: BudgetRequest): Promise<BudgetItem> {
    return this._take(await this._api.setBudget(request));
  }

  async snooze(id: string, seconds: number | null): Promise<BudgetItem> {
    return this._take(await this._api.snoozeBudget(id, seconds));
  }

  stop(id: string): Promise<string[]> {
    return this._api.stopBudgetJobs(id);
  }

  remove(id: string, seconds: number): IRemoval {
    this._hidden.add(id);
    this._changed.emit();
    const { undo, decided } = decideIn(seconds);
    return { undo, done: this._removeIf(id, decided) };
  }

  private async _removeIf(id: string, decided: Promise<boolean>): Promise<boolean> {
    try {
      const go = await decided;
      if (go) {
        await this._api.removeBudget(id);
        this._known = this._known?.filter(each => each.id !== id) ?? null;
      }
      return go;
    } finally {
      this._hidden.delete(id);
      this._changed.emit();
    }
  }

  /** The list is not known whole before the stream has told it: an answer adds nothing to none. */
  private _take(item: BudgetItem): BudgetItem {
    if (this._known !== null) {
      const place = this._known.findIndex(({ id }) => id === item.id);
      this._known =
        place < 0
          ? [...this._known, item]
          : this._known.map(each => (each.id === item.id ? item : each));
      this._changed.emit();
    }
    return item;
  }

  private _onNews(news: News): void {
    if (news.type === 'budgets') {
      this._known = news.budgets;
      this._problem = null;
      this._changed.emit();
    } else if (news.type === 'problem' && news.topic?.topic === 'budgets') {
      this._problem = { message: news.message, hint: news.hint };
      this._changed.emit();
    }
  }

  private _api: IAiInfraApi;
  private _stream: IAiInfraStream;
  private _known: readonly BudgetItem[] | null = null;
  /** Those that are about to be removed. */
  private _hidden = new Set<string>();
  private _problem: IProblem | null = null;
  private _changed = new Signal<IBudgetsModel, void>(this);
}
