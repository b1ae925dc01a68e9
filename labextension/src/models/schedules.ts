/** The schedules, as the stream tells of them. */

import type { IDisposable } from '@lumino/disposable';
import { Signal, type ISignal } from '@lumino/signaling';

import type { RunItem, ScheduleItem, ScheduleRequest, Values } from '../api/types';
import type {
  IAiInfraApi,
  IAiInfraStream,
  IProblem,
  IRemoval,
  ISchedulesModel,
  IWatchOptions,
  News
} from '../tokens';
import { decideIn } from './removal';
import type { SchedulesNews } from './schedulewire';

const TOPIC = { topic: 'schedules', id: null, rank: null } as const;

/** Keeps the last list of the schedules, and what requests have answered since. */
export class SchedulesModel implements ISchedulesModel {
  constructor(options: { api: IAiInfraApi; stream: IAiInfraStream }) {
    this._api = options.api;
    this._stream = options.stream;
    options.stream.news.connect((_sender, news) => this._onNews(news));
  }

  get schedules(): readonly ScheduleItem[] | null {
    this._sorted ??=
      this._known &&
      [...this._known.values()].filter(({ id }) => !this._hidden.has(id)).sort(byName);
    return this._sorted;
  }

  get problem(): IProblem | null {
    return this._problem;
  }

  get changed(): ISignal<ISchedulesModel, void> {
    return this._changed;
  }

  watch(options?: IWatchOptions): IDisposable {
    return this._stream.watch(TOPIC, options);
  }

  find(id: string): ScheduleItem | undefined {
    return this._hidden.has(id) ? undefined : this._known?.get(id);
  }

  /** The list is not known whole before the stream has told it: an answer adds nothing to none. */
  take(item: ScheduleItem): ScheduleItem {
    if (this._known !== null) {
      this._put(item);
      this._tell();
    }
    return item;
  }

  async add(request: ScheduleRequest): Promise<ScheduleItem> {
    return this.take(await this._api.addSchedule(request));
  }

  async edit(id: string, request: ScheduleRequest): Promise<ScheduleItem> {
    return this.take(await this._api.editSchedule(id, request));
  }

  async duplicate(id: string, name: string): Promise<ScheduleItem> {
    return this.take(await this._api.duplicateSchedule(id, name));
  }

  async pause(id: string, reason?: string): Promise<ScheduleItem> {
    return this.take(await this._api.pauseSchedule(id, reason));
  }

  async resume(id: string): Promise<ScheduleItem> {
    return this.take(await this._api.resumeSchedule(id));
  }

  async rollback(id: string, version: number): Promise<ScheduleItem> {
    return this.take(await this._api.rollbackSchedule(id, version));
  }

  async restore(id: string): Promise<ScheduleItem> {
    return this.take(await this._api.restoreSchedule(id));
  }

  async run(id: string, parameters?: Values): Promise<RunItem> {
    const run = await this._api.runSchedule(id, parameters);
    const item = this._known?.get(id);
    if (item && !item.last_runs.some(each => each.id === run.id)) {
      this.take({ ...item, last_runs: [run, ...item.last_runs] });
    }
    return run;
  }

  remove(id: string, seconds: number): IRemoval {
    this._hidden.add(id);
    this._tell();
    const { undo, decided } = decideIn(seconds);
    return { undo, done: this._removeIf(id, decided) };
  }

  private async _removeIf(id: string, decided: Promise<boolean>): Promise<boolean> {
    try {
      const go = await decided;
      if (go) {
        await this._api.removeSchedule(id);
        this._known?.delete(id);
      }
      return go;
    } finally {
      this._hidden.delete(id);
      this._tell();
    }
  }

  private _onNews(news: News): void {
    if (news.type === 'schedules') {
      this._onSchedules(news);
    } else if (news.type === 'problem' && news.topic?.topic === 'schedules') {
      this._problem = { message: news.message, hint: news.hint };
      this._changed.emit();
    }
  }

  private _onSchedules({ changed, removed, reset }: SchedulesNews): void {
    this._problem = null;
    if (reset) {
      this._known = new Map();
    }
    changed.forEach(each => this._put(each));
    removed.forEach(id => this._known?.delete(id));
    this._tell();
  }

  /** One that was removed is no longer of the list, however it is told of. */
  private _put(item: ScheduleItem): void {
    if (item.state === 'removed') {
      this._known?.delete(item.id);
    } else {
      this._known?.set(item.id, item);
    }
  }

  private _tell(): void {
    this._sorted = null;
    this._changed.emit();
  }

  private _api: IAiInfraApi;
  private _stream: IAiInfraStream;
  private _known: Map<string, ScheduleItem> | null = null;
  private _sorted: readonly ScheduleItem[] | null = null;
  /** Those that are about to be removed. */
  private _hidden = new Set<string>();
  private _problem: IProblem | null = null;
  private _changed = new Signal<ISchedulesModel, void>(this);
}

function byName(one: ScheduleItem, other: ScheduleItem): number {
  return one.name.localeCompare(other.name) || (one.id < other.id ? -1 : 1);
}
