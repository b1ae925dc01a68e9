/** What the page of GPUs knows: who is watched, and the curves of what is to be shown. */

import type { IDisposable } from '@lumino/disposable';
import { Signal, type ISignal } from '@lumino/signaling';

import type { GpuRange } from '../api/types';
import type { GpuTopic, LiveGpus } from '../gpus/live';
import { RequestError } from '../request';
import type { IAiInfraApi, IAiInfraModels, IAiInfraStream, IProblem } from '../tokens';
import type { ILimits } from './axis';
import {
  FEWEST_ROWS,
  gpuLabel,
  groupsOf,
  isOneNode,
  MOST_LINES,
  recordedCurves,
  type ICurves,
  type INames,
  type ISource
} from './curves';
import { LiveCurves } from './livecurves';
import {
  FIRST_VIEW,
  isLive,
  keptOf,
  kindOf,
  LIVE_SECONDS,
  SERIES,
  WHOLE_JOB,
  type IView,
  type IWindow
} from './view';

const SHORTEST_REFRESH_SECONDS = 10;
const LONGEST_REFRESH_SECONDS = 300;
const RETRY_SECONDS = 5;
const LEAST_POINTS = 60;
const MOST_POINTS = 600;
/** Rows of many GPUs have fewer buckets: all of them together are one answer. */
const MAP_NUMBERS = 120_000;

export interface IGpusPageOptions {
  api: IAiInfraApi;
  stream: IAiInfraStream;
  models: IAiInfraModels;
  names: INames;
}

interface IWatched {
  key: string;
  pool: string;
  live: LiveGpus;
  watching: IDisposable | null;
}

/** Watches and asks only while it is `active`. */
export class GpusPageModel implements IDisposable {
  constructor(options: IGpusPageOptions) {
    this._options = options;
    const { models, stream } = options;
    models.pools.changed.connect(this._settle);
    models.jobs.changed.connect(this._onJobs);
    stream.stateChanged.connect(this._onStream);
  }

  get view(): IView {
    return this._view;
  }

  /** What JupyterLab keeps of the view. */
  get kept(): { [name: string]: string | number | null } {
    return keptOf(this._view);
  }

  /** The view is another. What a choice was kept for is kept by who listens. */
  get viewChanged(): ISignal<GpusPageModel, void> {
    return this._viewChanged;
  }

  /** Something is to be drawn anew: about once a second while it is live. */
  get changed(): ISignal<GpusPageModel, void> {
    return this._changed;
  }

  get isDisposed(): boolean {
    return this._isDisposed;
  }

  get isLoading(): boolean {
    return this._asking !== null;
  }

  get away(): boolean {
    return this._options.stream.state === 'lost';
  }

  /** Why some of it is not known. */
  get problems(): IProblem[] {
    const several = this._watched.length > 1;
    const found = this._watched.flatMap(({ pool, live: { problem } }) =>
      problem === null
        ? []
        : [several ? { ...problem, message: `${pool}: ${problem.message}` } : problem]
    );
    const pools = this._options.models.pools.problem;
    return [...(pools ? [pools] : []), ...found, ...(this._problem ? [this._problem] : [])];
  }

  /** Those that are watched, each with what is known of it now. */
  get sources(): (ISource & { live: LiveGpus })[] {
    return this._watched.map(({ pool, live }) => {
      const { board, trail } = live;
      return { pool, board, trail, live };
    });
  }

  /** Whether anything at all is known of what is live. */
  get isKnown(): boolean {
    return this._watched.some(({ live }) => live.board !== null || live.problem !== null);
  }

  get hasPools(): boolean {
    return (this._options.models.pools.pools ?? []).length > 0;
  }

  get arePoolsKnown(): boolean {
    return this._options.models.pools.pools !== null;
  }

  get active(): boolean {
    return this._active;
  }

  set active(active: boolean) {
    if (active === this._active || this._isDisposed) {
      return;
    }
    this._active = active;
    const { pools, jobs } = this._options.models;
    this._lists.forEach(list => list.dispose());
    this._lists = active ? [pools.watch(), jobs.watch()] : [];
    this._settle();
    if (active) {
      this._load();
    } else {
      this._rest();
    }
  }

  /** How many buckets the charts have room for. */
  set room(points: number) {
    const room = Math.round(Math.min(MOST_POINTS, Math.max(LEAST_POINTS, points)));
    // A page that is made a little wider is no reason to ask again.
    if (Math.abs(room - this._room) > this._room / 4) {
      this._room = room;
      this._load();
    }
  }

  show(change: Partial<IView>): void {
    const before = this._view;
    this._view = { ...before, ...change };
    const { pool, node, job } = this._view;
    if (pool !== before.pool || node !== before.node || job !== before.job) {
      this._recorded = null;
      this._settle();
    }
    this._problem = null;
    this._load();
    this._viewChanged.emit();
    this._changed.emit();
  }

  /** What the width of the charts stands for now. */
  shown(): IWindow {
    const { window, span } = this._view;
    if (window !== null) {
      return window;
    }
    if (isLive(this._view)) {
      const newest = this._newest();
      return { start: newest - LIVE_SECONDS + 1, end: newest + 1 };
    }
    const recorded = this._recorded;
    if (recorded !== null && recorded.count > 0) {
      const end = recorded.t0 + recorded.count * recorded.width;
      return span === WHOLE_JOB
        ? { start: recorded.t0, end }
        : { start: Math.max(recorded.t0, end - span - recorded.width), end };
    }
    const now = Date.now() / 1000;
    return { start: now - (span || 3_600), end: now };
  }

  /** What is to be drawn; `null` before there is anything. */
  curves(): ICurves | null {
    return this._isByTheSecond() ? this._live() : this._recorded;
  }

  limits(): ILimits {
    const found: ILimits = { memory: null, power: null };
    for (const { board } of this.sources) {
      for (const { memory_total_bytes: memory, power_limit_watts: power } of board?.gpus ?? []) {
        found.memory = Math.max(memory ?? 0, found.memory ?? 0) || null;
        found.power = Math.max(power ?? 0, found.power ?? 0) || null;
      }
    }
    return found;
  }

  /** The nodes of the pool that is shown, as far as they are known. */
  nodes(): string[] {
    const { pool } = this._view;
    const item = this._options.models.pools.pools?.find(({ name }) => name === pool);
    const names = new Set(item?.nodes?.map(({ name }) => name) ?? []);
    (this._nodesOf.get(pool ?? '') ?? []).forEach(name => names.add(name));
    return [...names].sort(new Intl.Collator(undefined, { numeric: true }).compare);
  }

  dispose(): void {
    if (this._isDisposed) {
      return;
    }
    this.active = false;
    this._isDisposed = true;
    const { models, stream } = this._options;
    models.pools.changed.disconnect(this._settle);
    models.jobs.changed.disconnect(this._onJobs);
    stream.stateChanged.disconnect(this._onStream);
    this._unwatch(this._watched);
    Signal.clearData(this);
  }

  /** Watch what the view is about, and nothing else. */
  private _settle = (): void => {
    const { models } = this._options;
    const wanted = this._topics();
    const keep = new Map(this._watched.map(each => [each.key, each]));
    this._watched = wanted.map(([pool, topic]) => {
      const key = JSON.stringify([pool, topic]);
      const known = keep.get(key);
      keep.delete(key);
      if (known) {
        return known;
      }
      const live = models.gpus.of(topic);
      live.changed.connect(this._onLive);
      return { key, pool, live, watching: null };
    });
    this._unwatch([...keep.values()]);
    for (const each of this._watched) {
      if (this._active) {
        each.watching ??= each.live.watch();
      } else {
        each.watching?.dispose();
        each.watching = null;
      }
    }
    this._changed.emit();
  };

  private _unwatch(gone: readonly IWatched[]): void {
    for (const { live, watching } of gone) {
      watching?.dispose();
      live.changed.disconnect(this._onLive);
    }
  }

  private _topics(): [string, GpuTopic][] {
    const { pool, node, job } = this._view;
    const { models } = this._options;
    if (job !== null) {
      return [[models.jobs.find(job)?.pool ?? '', { id: job }]];
    }
    if (pool !== null) {
      return [[pool, node === null ? { pool } : { pool, node }]];
    }
    return (models.pools.pools ?? []).map(({ name }) => [name, { pool: name }]);
  }

  /** Whether what is shown is known by the second. */
  private _isByTheSecond(): boolean {
    const { window } = this._view;
    if (window === null) {
      return isLive(this._view);
    }
    const kept = Math.max(0, ...this._watched.map(({ live }) => live.trail.seconds));
    return window.start >= this._newest() - kept + 1;
  }

  private _newest(): number {
    const known = this._watched.map(({ live }) => live.trail.newest ?? 0);
    return Math.max(0, ...known) || Math.floor(Date.now() / 1000);
  }

  private _live(): ICurves | null {
    const sources = this.sources;
    if (!sources.some(({ board }) => board !== null)) {
      return null;
    }
    const { start, end } = this.shown();
    const from = Math.floor(start);
    return this._liveCurves.make(sources, {
      kind: kindOf(this._view),
      heat: this._view.heat,
      from,
      count: Math.max(1, Math.ceil(end) - from),
      names: this._options.names
    });
  }

  private _areCounted(): boolean {
    const known = this._watched.filter(({ live }) => live.board !== null || live.problem !== null);
    return known.length > 0 && known.length === this._watched.length;
  }

  /** Ask for what was recorded, where that is to be shown; again and again while it goes on. */
  private _load(): void {
    clearTimeout(this._timer);
    this._timer = undefined;
    this._asking?.abort();
    this._asking = null;
    this._wereCounted = this._areCounted();
    if (!this._active || this._isByTheSecond() || this._room === 0) {
      return;
    }
    const asking = new AbortController();
    this._asking = asking;
    this._changed.emit();
    void this._ask(asking.signal).then(seconds => {
      if (this._asking === asking) {
        this._asking = null;
        if (seconds !== null && this._active) {
          this._timer = setTimeout(() => this._load(), seconds * 1000);
        }
        this._changed.emit();
      }
    });
  }

  /** Ask once. Returns in how many seconds it is worth asking again; `null` is never. */
  private async _ask(signal: AbortSignal): Promise<number | null> {
    const { names } = this._options;
    const { window, span, heat } = this._view;
    const asked = this._question(window, span);
    try {
      const [drawn, mapped] = await this._answers(asked, signal);
      if (signal.aborted) {
        return null;
      }
      this._problem = null;
      this._recorded = recordedCurves(drawn, mapped, { names, heat, labels: this._labels() });
      if (window !== null && window.end < Date.now() / 1000 - LONGEST_REFRESH_SECONDS) {
        return null; // it is over
      }
      const { width } = this._recorded;
      return Math.min(Math.max(width / 2, SHORTEST_REFRESH_SECONDS), LONGEST_REFRESH_SECONDS);
    } catch (error) {
      if (signal.aborted) {
        return null;
      }
      if (!(error instanceof RequestError)) {
        throw error;
      }
      this._problem = { message: error.message, hint: error.hint };
      return error.failure === 'refused' ? null : RETRY_SECONDS;
    }
  }

  private _question(window: IWindow | null, span: number): IQuestion {
    const { pool, node, job } = this._view;
    const scope = job === null ? { pool, node } : { job };
    if (window !== null) {
      return { ...scope, ...window };
    }
    if (span === WHOLE_JOB) {
      return scope;
    }
    const end = Math.ceil(Date.now() / 1000);
    return { ...scope, start: end - span, end };
  }

  /** The lines, and the rows of many GPUs where there are so many. */
  private async _answers(
    asked: IQuestion,
    signal: AbortSignal
  ): Promise<[GpuRange, GpuRange | null]> {
    const { api, names } = this._options;
    const kind = kindOf(this._view);
    const isOrdered = kind !== 'user' && kind !== 'job';
    const gpus = groupsOf(this.sources, 'gpu', names).length;
    const groups = isOrdered ? groupsOf(this.sources, kind, names).length : 0;
    // A line for each of so many would be a long answer: until they are counted, all are one.
    const isMany = groups > MOST_LINES || (!this._wereCounted && isOrdered);
    const by = isMany ? 'pool' : kind;
    if (gpus < FEWEST_ROWS) {
      return [
        await api.gpuRange({ ...asked, by, series: SERIES, points: this._room }, signal),
        null
      ];
    }
    // Both have the same buckets, or the mark of a moment would be at two places.
    const points = Math.min(this._room, Math.max(LEAST_POINTS, Math.floor(MAP_NUMBERS / gpus)));
    const { heat } = this._view;
    const rows = isMany ? kind : 'gpu';
    return Promise.all([
      api.gpuRange({ ...asked, by, series: SERIES, points }, signal),
      api.gpuRange({ ...asked, by: rows, series: [heat], points }, signal)
    ]);
  }

  private _labels(): Map<string, string> {
    const labels = new Map<string, string>();
    const isAlone = isOneNode(this.sources);
    for (const { pool, board } of this.sources) {
      for (const gpu of board?.gpus ?? []) {
        const node = board?.nodes[gpu.node]?.name ?? '?';
        labels.set(`${pool}\n${node}\n${gpu.uuid}`, gpuLabel(isAlone ? '' : node, gpu));
      }
    }
    return labels;
  }

  private _onLive = (): void => {
    const { pool, node, job } = this._view;
    if (pool !== null && node === null && job === null) {
      const board = this._watched[0]?.live.board;
      if (board) {
        this._nodesOf.set(
          pool,
          board.nodes.map(({ name }) => name)
        );
      }
    }
    if (!this._wereCounted && this._areCounted()) {
      this._load();
    }
    this._changed.emit();
  };

  private _onJobs = (): void => {
    if (this._view.job !== null) {
      this._settle();
    }
  };

  private _onStream = (): void => {
    if (this._options.stream.state === 'live' && this._problem !== null) {
      this._load();
    }
    this._changed.emit();
  };

  private _rest(): void {
    clearTimeout(this._timer);
    this._timer = undefined;
    this._asking?.abort();
    this._asking = null;
  }

  private _options: IGpusPageOptions;
  private _view: IView = FIRST_VIEW;
  private _watched: IWatched[] = [];
  private _lists: IDisposable[] = [];
  private _active = false;
  private _room = 0;
  private _liveCurves = new LiveCurves();
  private _recorded: ICurves | null = null;
  /** Whether it was known how many GPUs there are, when what was recorded was asked for. */
  private _wereCounted = false;
  private _nodesOf = new Map<string, string[]>();
  private _asking: AbortController | null = null;
  private _timer: ReturnType<typeof setTimeout> | undefined;
  private _problem: IProblem | null = null;
  private _isDisposed = false;
  private _viewChanged = new Signal<GpusPageModel, void>(this);
  private _changed = new Signal<GpusPageModel, void>(this);
}

interface IQuestion {
  pool?: string | null;
  node?: string | null;
  job?: string;
  start?: number;
  end?: number;
}
