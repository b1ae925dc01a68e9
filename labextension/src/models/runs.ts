/** Runs of a schedule, or of all of them, as the stream tells of them. */

import { DisposableDelegate, type IDisposable } from '@lumino/disposable';
import { Signal, type ISignal } from '@lumino/signaling';

import type { RunItem, RunState } from '../api/types';
import type {
  IAiInfraApi,
  IAiInfraStream,
  IProblem,
  IRemoval,
  IRunsModel,
  IWatchOptions,
  News
} from '../tokens';
import { decideIn } from './removal';
import type { RunsNews } from './schedulewire';

/** Keeps the runs by what the stream says and by what requests answer. Asks nothing by itself. */
export class RunsModel implements IRunsModel {
  constructor(options: {
    api: IAiInfraApi;
    stream: IAiInfraStream;
    schedule?: string | null | undefined;
  }) {
    this._api = options.api;
    this._stream = options.stream;
    this.schedule = options.schedule ?? null;
    options.stream.news.connect(this._onNews);
  }

  readonly schedule: string | null;

  get runs(): readonly RunItem[] | null {
    if (this._isKnown) {
      this._sorted ??= [...this._known.values()]
        .filter(({ id }) => !this._hidden.has(id))
        .map(run => this._shown(run))
        .sort(newestFirst);
    }
    return this._sorted;
  }

  get more(): boolean {
    return this._more;
  }

  get resets(): number {
    return this._resets;
  }

  get problem(): IProblem | null {
    return this._problem;
  }

  get changed(): ISignal<IRunsModel, void> {
    return this._changed;
  }

  watch(options?: IWatchOptions): IDisposable {
    const topic = { topic: 'runs', id: this.schedule, rank: null } as const;
    const watch = this._stream.watch(topic, options);
    this._watches += 1;
    return new DisposableDelegate(() => {
      watch.dispose();
      this._watches -= 1;
      this._isGap ||= this._watches === 0;
    });
  }

  find(id: string): RunItem | undefined {
    const run = this._known.get(id);
    return run && !this._hidden.has(id) ? this._shown(run) : undefined;
  }

  take(runs: readonly RunItem[]): void {
    runs.forEach(run => this._put(run));
    this._tell();
  }

  async cancel(id: string): Promise<RunItem> {
    this._stopping.add(id);
    this._tell();
    try {
      const run = await this._api.cancelRun(id);
      this._put(run);
      return run;
    } finally {
      this._stopping.delete(id);
      this._tell();
    }
  }

  async rerun(id: string): Promise<RunItem> {
    const run = await this._api.rerun(id);
    this.take([run]);
    return run;
  }

  remove(id: string, seconds: number): IRemoval {
    this._hidden.add(id);
    this._tell();
    const { undo, decided } = decideIn(seconds);
    return { undo, done: this._removeIf(id, decided) };
  }

  /** Hear no more: for a model that is not kept as long as the page. */
  dispose(): void {
    this._stream.news.disconnect(this._onNews);
    Signal.clearData(this);
  }

  private async _removeIf(id: string, decided: Promise<boolean>): Promise<boolean> {
    try {
      const go = await decided;
      if (go) {
        await this._api.removeRun(id);
        this._known.delete(id);
      }
      return go;
    } finally {
      this._hidden.delete(id);
      this._tell();
    }
  }

  private _onNews = (_sender: IAiInfraStream, news: News): void => {
    switch (news.type) {
      case 'hello':
        this._isGap = true;
        break;
      case 'runs':
        if (news.id === this.schedule) {
          this._onRuns(news);
        }
        break;
      case 'problem':
        if (news.topic?.topic === 'runs' && news.topic.id === this.schedule) {
          this._isGap = true;
          this._problem = { message: news.message, hint: news.hint };
          this._changed.emit();
        }
        break;
    }
  };

  private _onRuns(news: RunsNews): void {
    this._problem = null;
    this._isKnown = true;
    if (news.reset) {
      this._onReset(news);
    }
    news.changed.forEach(run => this._put(run));
    news.removed.forEach(id => this._known.delete(id));
    this._tell();
  }

  /** The newest runs, told anew; what is older is kept where no news of it can be missing. */
  private _onReset({ changed, more }: RunsNews): void {
    if (this._isGap) {
      this._isGap = false;
      this._known.clear();
      this._more = more;
      this._resets += 1;
      return;
    }
    const last = [...changed].sort(newestFirst).at(-1);
    const told = new Set(changed.map(({ id }) => id));
    for (const run of [...this._known.values()]) {
      const isOlder = more && last !== undefined && newestFirst(last, run) < 0;
      if (!isOlder && !told.has(run.id)) {
        this._known.delete(run.id);
      }
    }
  }

  private _put(run: RunItem): void {
    const known = this._known.get(run.id);
    if (known === undefined || progressOf(known) <= progressOf(run)) {
      this._known.set(run.id, run);
    }
  }

  private _shown(run: RunItem): RunItem {
    const isStopping = this._stopping.has(run.id) && isActiveRun(run) && !run.stopping;
    return isStopping ? { ...run, stopping: true } : run;
  }

  private _tell(): void {
    this._sorted = null;
    this._changed.emit();
  }

  private _api: IAiInfraApi;
  private _stream: IAiInfraStream;
  private _known = new Map<string, RunItem>();
  private _isKnown = false;
  private _sorted: readonly RunItem[] | null = null;
  private _hidden = new Set<string>();
  private _stopping = new Set<string>();
  private _more = false;
  private _resets = 0;
  private _watches = 0;
  /** Whether there may be news that this page has not been told. */
  private _isGap = true;
  private _problem: IProblem | null = null;
  private _changed = new Signal<IRunsModel, void>(this);
}

const STEPS: Readonly<Partial<Record<RunState, number>>> = { queued: 0, due: 1, running: 2 };

/** Grows as a run goes on, so that of two reports of it the later one is known. */
function progressOf({ attempt, state }: RunItem): number {
  return attempt * 4 + (STEPS[state] ?? 3);
}

/** Whether a run is not over. */
export function isActiveRun({ state }: { state: RunState }): boolean {
  return state in STEPS;
}

/** The order of the list, which is the server's. */
export function newestFirst(one: RunItem, other: RunItem): number {
  return other.created_at - one.created_at || (other.id > one.id ? 1 : -1);
}
