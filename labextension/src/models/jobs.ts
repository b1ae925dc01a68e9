/** The jobs that this page knows of. */

import { Signal, type ISignal } from '@lumino/signaling';
import { DisposableDelegate, type IDisposable } from '@lumino/disposable';

import type { JobItem, JobsNews } from '../api/types';
import { isActive } from '../jobstate';
import type {
  IAiInfraApi,
  IAiInfraStream,
  IJobsModel,
  IProblem,
  IRemoval,
  IWatchOptions,
  News
} from '../tokens';
import { decideIn } from './removal';

const TOPIC = { topic: 'jobs', id: null, rank: null } as const;

/** Keeps the jobs by what the stream says and by what requests answer. Asks nothing by itself. */
export class JobsModel implements IJobsModel {
  constructor(options: { api: IAiInfraApi; stream: IAiInfraStream }) {
    this._api = options.api;
    this._stream = options.stream;
    options.stream.news.connect((_sender, news) => this._onNews(news));
  }

  get jobs(): readonly JobItem[] {
    this._sorted ??= [...this._known.values()]
      .filter(({ id }) => !this._hidden.has(id))
      .map(job => this._shown(job))
      .sort(newestFirst);
    return this._sorted;
  }

  get active(): number | null {
    return this._active;
  }

  get more(): boolean {
    return this._more;
  }

  get oldest(): JobItem | null {
    return this._oldest;
  }

  get resets(): number {
    return this._resets;
  }

  get problem(): IProblem | null {
    return this._problem;
  }

  get changed(): ISignal<IJobsModel, void> {
    return this._changed;
  }

  get ended(): ISignal<IJobsModel, JobItem> {
    return this._ended;
  }

  watch(options?: IWatchOptions): IDisposable {
    const watch = this._stream.watch(TOPIC, options);
    this._watches += 1;
    return new DisposableDelegate(() => {
      watch.dispose();
      this._watches -= 1;
      this._isGap ||= this._watches === 0;
    });
  }

  find(id: string): JobItem | undefined {
    const job = this._known.get(id);
    return job && !this._hidden.has(id) ? this._shown(job) : undefined;
  }

  take(jobs: readonly JobItem[]): void {
    jobs.forEach(job => this._put(job));
    this._tell();
  }

  async cancel(id: string): Promise<void> {
    this._stopping.add(id);
    this._tell();
    try {
      this._put(await this._api.cancelJob(id));
    } finally {
      this._stopping.delete(id);
      this._tell();
    }
  }

  async rerun(id: string): Promise<JobItem> {
    const job = await this._api.rerunJob(id);
    this.take([job]);
    return job;
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
        await this._api.removeJob(id);
        this._known.delete(id);
      }
      return go;
    } finally {
      this._hidden.delete(id);
      this._tell();
    }
  }

  private _onNews(news: News): void {
    switch (news.type) {
      case 'hello':
        this._isGap = true;
        break;
      case 'jobs':
        this._onJobs(news);
        break;
      case 'job':
        this.take([news.detail.item]);
        break;
      case 'ended':
        if (!this._known.has(news.job.id)) {
          this._live.add(news.job.id); // it was over before it could be listed
        }
        this.take([news.job]);
        break;
      case 'problem':
        if (news.topic?.topic === 'jobs') {
          this._isGap = true;
          this._problem = { message: news.message, hint: news.hint };
          this._changed.emit();
        }
        break;
    }
  }

  private _onJobs(news: JobsNews): void {
    this._problem = null;
    this._active = news.active;
    if (news.reset) {
      this._onReset(news);
    }
    news.changed.forEach(job => this._put(job));
    news.removed.forEach(id => this._known.delete(id));
    this._tell();
  }

  /** The newest jobs, told anew; what is older is kept where no news of it can be missing. */
  private _onReset({ changed, more }: JobsNews): void {
    const last = [...changed].sort(newestFirst).at(-1) ?? null;
    if (this._isGap) {
      this._isGap = false;
      this._known.clear();
      this._more = more;
      this._oldest = last;
      this._resets += 1;
      return;
    }
    const told = new Set(changed.map(({ id }) => id));
    for (const job of [...this._known.values()]) {
      const isOlder = more && last !== null && newestFirst(last, job) < 0;
      if (!isOlder && !told.has(job.id)) {
        this._known.delete(job.id);
      }
    }
  }

  private _put(job: JobItem): void {
    const known = this._known.get(job.id);
    if (known && known.version > job.version) {
      return;
    }
    this._known.set(job.id, job);
    if (isActive(job)) {
      this._live.add(job.id);
    } else if (this._live.delete(job.id)) {
      this._ended.emit(job);
    }
  }

  private _shown(job: JobItem): JobItem {
    const stopping = this._stopping.has(job.id) && isActive(job);
    return stopping && job.desired !== 'stop' ? { ...job, desired: 'stop' } : job;
  }

  private _tell(): void {
    this._sorted = null;
    this._changed.emit();
  }

  private _api: IAiInfraApi;
  private _stream: IAiInfraStream;
  private _known = new Map<string, JobItem>();
  private _sorted: readonly JobItem[] | null = null;
  private _hidden = new Set<string>();
  private _stopping = new Set<string>();
  /** Jobs this page has seen going on, whose end it has not told of. They outlive a reset. */
  private _live = new Set<string>();
  private _active: number | null = null;
  private _more = false;
  private _oldest: JobItem | null = null;
  private _resets = 0;
  private _watches = 0;
  /** Whether there may be news that this page has not been told. */
  private _isGap = true;
  private _problem: IProblem | null = null;
  private _changed = new Signal<IJobsModel, void>(this);
  private _ended = new Signal<IJobsModel, JobItem>(this);
}

/** The order of the list, which is the server's. */
export function newestFirst(one: JobItem, other: JobItem): number {
  return other.created_at - one.created_at || (other.id > one.id ? 1 : -1);
}
