/** One job, as the server tells of it, in the form that the component of the cell draws. */

import type { IDisposable } from '@lumino/disposable';
import { Signal, type ISignal } from '@lumino/signaling';

import type { JobDetail, LogRows, Silence, Topic } from '../api/types';
import { CostFeed } from '../cost/costfeed';
import { isActive } from '../jobstate';
import { RequestError } from '../request';
import type { IAiInfraApi, IAiInfraStream, IProblem, News } from '../tokens';
import {
  launchersOf,
  type IDelta,
  type IHeader,
  type IKeyframe,
  type IManifest,
  type IModel,
  type IRank,
  type IRankDelta,
  type ITraits
} from '../widgets/protocol';
import { HEAD_ROWS, RankTail, TAIL_ROWS } from './ranktail';

/**
 * `loading` until the server first answers; `absent` when it does not know the job, or knows
 * nothing of jobs; `known` from then on.
 */
export type Knowledge = 'loading' | 'known' | 'absent';

export interface IServerJobOptions {
  id: string;
  api: IAiInfraApi;
  stream: IAiInfraStream;
  /** What to say beside the state while there is no news because the server is away. */
  lostNote: string;
  /** Puts into words that the job's pool does not answer the server. */
  silenceNote: (silence: Silence) => string;
}

const NO_MANIFEST: IManifest = { size_bytes: 0, count: 0, items: [] };

/**
 * Feeds the cell's component from the server, so no kernel is needed.
 *
 * It asks and watches only while it is `active`: the job, and the log of the one rank that is looked
 * at, until both are over.
 */
export class ServerJobModel implements IModel, IDisposable {
  constructor(options: IServerJobOptions) {
    const { api, id } = options;
    this._options = options;
    this._costs = new CostFeed({ api, id, onCost: () => this._emit('change:cost') });
    options.stream.news.connect(this._onNews);
    options.stream.stateChanged.connect(this._onStreamState);
  }

  get id(): string {
    return this._options.id;
  }

  get knowledge(): Knowledge {
    return this._knowledge;
  }

  get detail(): JobDetail | null {
    return this._detail;
  }

  /** What or how much is known has changed; said beside the events of the component. */
  get changed(): ISignal<ServerJobModel, void> {
    return this._changed;
  }

  /** Why there is no news just now; `null` when there is. */
  get problem(): IProblem | null {
    return this._problem;
  }

  get isDisposed(): boolean {
    return this._isDisposed;
  }

  /** Keep up to date from now on, or rest. What is known stays. */
  setActive(active: boolean): void {
    if (active === this._active || this._isDisposed) {
      return;
    }
    this._active = active;
    this._settle();
    if (active && this._knowledge !== 'known') {
      void this._load();
    }
  }

  /** Read the log of this rank from now on instead of another; `null` for none. */
  look(rank: number | null): void {
    this._rank = rank;
    this._settle();
  }

  /** Take news that a request has brought. */
  take(detail: JobDetail): void {
    const before = this._detail;
    if (before && before.item.version > detail.item.version) {
      return;
    }
    this._detail = detail;
    this._knowledge = 'known';
    this._problem = null;
    this._costs.take(detail.cost);
    this._headerOf();
    if (before?.item.state !== detail.item.state) {
      void this._readLaunchers();
    }
    this._settle();
    this._emit('change:header');
    this._changed.emit();
  }

  get<K extends keyof ITraits>(name: K): ITraits[K] {
    return this._traits[name]() as ITraits[K];
  }

  on(event: string, callback: () => void): void {
    const known = this._listeners.get(event) ?? new Set();
    this._listeners.set(event, known.add(callback));
  }

  off(event: string, callback: () => void): void {
    this._listeners.get(event)?.delete(callback);
  }

  /** Said by a view that missed something; here the next `get` has it all. */
  send(): void {
    // There is no kernel behind this model to be told.
  }

  dispose(): void {
    if (this._isDisposed) {
      return;
    }
    this._active = false;
    this._settle();
    this._costs.dispose();
    this._isDisposed = true;
    this._listeners.clear();
    this._options.stream.news.disconnect(this._onNews);
    this._options.stream.stateChanged.disconnect(this._onStreamState);
    Signal.clearData(this);
  }

  private async _load(): Promise<void> {
    try {
      const detail = await this._options.api.job(this.id);
      if (!this._isDisposed) {
        this.take(detail);
      }
    } catch (error) {
      this._onRefusal(error);
    }
  }

  private _onRefusal(error: unknown): void {
    if (!(error instanceof RequestError)) {
      throw error;
    }
    if (this._isDisposed) {
      return;
    }
    if (error.failure === 'unreachable') {
      // The stream tries again and again; when it is back, so is this.
      this._say({ message: this._options.lostNote, hint: '' });
    } else if (this._detail === null) {
      this._turnAbsent();
    } else {
      this._say(error);
    }
  }

  /** Watch what is to be watched now, and nothing else. */
  private _settle(): void {
    this._costs.wanted = this._active && this._detail !== null && isActive(this._detail.item);
    const wanted = this._active ? this._topics() : [];
    const keys = wanted.map(topic => JSON.stringify(topic));
    for (const [key, handle] of this._watches) {
      if (!keys.includes(key)) {
        handle.dispose();
        this._watches.delete(key);
      }
    }
    wanted.forEach((topic, index) => {
      const key = keys[index] ?? '';
      if (!this._watches.has(key)) {
        this._watches.set(key, this._options.stream.watch(topic));
      }
    });
  }

  private _topics(): Topic[] {
    const { id } = this._options;
    const topics: Topic[] = [];
    const goesOn = this._detail === null || isActive(this._detail.item);
    if (this._knowledge !== 'absent' && goesOn) {
      topics.push({ topic: 'job', id, rank: null });
    }
    const rank = this._rank;
    if (this._knowledge === 'known' && rank !== null && !this._ranks.get(rank)?.complete) {
      topics.push({ topic: 'log', id, rank });
    }
    return topics;
  }

  private _onNews = (_sender: IAiInfraStream, news: News): void => {
    switch (news.type) {
      case 'job':
        if (news.detail.item.id === this.id) {
          this.take(news.detail);
        }
        break;
      case 'log':
        if (news.id === this.id) {
          this._takeRows(news.log);
        }
        break;
      case 'gone':
        if (news.id === this.id) {
          this._turnAbsent();
        }
        break;
      case 'problem':
        // Why its GPUs cannot be told of is said where these are.
        if (news.topic?.id === this.id && news.topic.topic !== 'gpus') {
          this._say(news);
        }
        break;
    }
  };

  private _onStreamState = (): void => {
    const { state } = this._options.stream;
    if (state === 'lost') {
      this._say({ message: this._options.lostNote, hint: '' });
    } else if (state === 'live') {
      this._say(null);
      if (this._active && this._detail === null) {
        void this._load();
      }
    }
  };

  private _takeRows(rows: LogRows): void {
    const tail = this._ranks.get(rows.rank) ?? new RankTail();
    this._ranks.set(rows.rank, tail);
    this._problem = null;
    this._apply(rows.rank, tail.take(rows));
    if (tail.lacksHead && !this._headsAsked.has(rows.rank)) {
      this._headsAsked.add(rows.rank);
      void this._readHead(rows.rank, tail);
    }
    if (tail.complete) {
      this._settle();
    }
  }

  private async _readHead(rank: number, tail: RankTail): Promise<void> {
    const rows = await this._rows(rank, 0, HEAD_ROWS);
    // Asked again where there is none, and when the log has begun anew.
    this._headsAsked.delete(rank);
    if (rows) {
      this._apply(rank, tail.takeHead(rows.rows));
    }
  }

  /** What a launcher said makes a tab of its own, if anything: so ask, where a state is new. */
  private async _readLaunchers(): Promise<void> {
    for (const rank of launchersOf(this._header)) {
      const rows = await this._rows(rank, -TAIL_ROWS, TAIL_ROWS);
      if (rows && rows.total_lines > 0) {
        this._takeRows({ ...rows, rank });
      }
    }
  }

  private async _rows(rank: number, first: number, count: number): Promise<LogRows | null> {
    try {
      const rows = await this._options.api.logRows({ id: this.id, rank, first, count });
      return this._isDisposed ? null : rows;
    } catch (error) {
      if (error instanceof RequestError) {
        // Why a log cannot be read is said by the stream, for the rank that is looked at.
        return null;
      }
      throw error;
    }
  }

  private _apply(rank: number, change: IRankDelta | null): void {
    if (change === null) {
      return;
    }
    this._seq += 1;
    this._delta = { seq: this._seq, base: this._seq - 1, ranks: { [rank]: change } };
    this._emit('change:delta');
  }

  private _turnAbsent(): void {
    this._knowledge = 'absent';
    this._settle();
    this._changed.emit();
  }

  private _say(problem: IProblem | null): void {
    if (problem?.message !== this._problem?.message) {
      this._problem = problem;
      this._headerOf();
      this._emit('change:header');
      this._changed.emit();
    }
  }

  private _traits = {
    header: (): IHeader => this._header,
    // The wire knows these as objects: they are the traits of the widget, by contract.
    ranks: (): IRank[] => (this._detail?.ranks ?? []) as unknown as IRank[],
    manifest: (): IManifest => (this._detail?.manifest ?? NO_MANIFEST) as unknown as IManifest,
    log: (): IKeyframe => ({
      seq: this._seq,
      ranks: Object.fromEntries([...this._ranks].map(([rank, tail]) => [rank, tail.log]))
    }),
    delta: (): ITraits['delta'] => this._delta,
    cost: (): ITraits['cost'] => this._costs.item ?? {}
  };

  private _headerOf(): void {
    const header = (this._detail?.header ?? {}) as unknown as IHeader;
    const silence = this._detail?.silence ?? null;
    const note = silence && this._options.silenceNote(silence);
    const said = [header.message, note, this._problem?.message, this._problem?.hint];
    const elapsed = this._detail && this._since(header);
    this._header =
      this._problem || note
        ? { ...header, message: said.filter(Boolean).join('; '), elapsed_seconds: elapsed ?? 0 }
        : { ...header, elapsed_seconds: elapsed ?? 0 };
  }

  /** Seconds as of now: a header may be drawn anew long after the server has said it. */
  private _since(header: IHeader): number {
    const now = performance.now();
    if (header !== this._saidHeader) {
      this._saidHeader = header;
      this._saidAt = now;
    }
    const more = header.ticking ? (now - this._saidAt) / 1000 : 0;
    return header.elapsed_seconds + more;
  }

  private _emit(event: string): void {
    [...(this._listeners.get(event) ?? [])].forEach(listener => listener());
  }

  private _options: IServerJobOptions;
  private _knowledge: Knowledge = 'loading';
  private _detail: JobDetail | null = null;
  private _header = {} as IHeader;
  private _saidHeader: IHeader | null = null;
  private _saidAt = 0;
  private _problem: IProblem | null = null;
  private _costs: CostFeed;
  private _ranks = new Map<number, RankTail>();
  private _headsAsked = new Set<number>();
  private _rank: number | null = 0;
  private _seq = 0;
  private _delta: IDelta | Record<string, never> = {};
  private _active = false;
  private _watches = new Map<string, IDisposable>();
  private _listeners = new Map<string, Set<() => void>>();
  private _changed = new Signal<ServerJobModel, void>(this);
  private _isDisposed = false;
}
