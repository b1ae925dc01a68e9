/** The GPUs of a scope as they are, for whoever watches them in this page. */

import { DisposableDelegate, type IDisposable } from '@lumino/disposable';
import { Signal, type ISignal } from '@lumino/signaling';

import type { GpusDelta, GpusFrame, Topic } from '../api/types';
import { RequestError } from '../request';
import type { IAiInfraApi, IAiInfraStream, IGpusModel, IProblem, News } from '../tokens';
import { Trail } from './history';
import { Board } from './wire';

/** Seconds without a frame after which those between are asked for. */
const HOLE_SECONDS = 2.5;
const FIRST_PAUSE_SECONDS = 2;
const LONGEST_PAUSE_SECONDS = 30;
/** How often at most all of it is asked for anew, where a change does not fit. */
const ANEW_MILLISECONDS = 5_000;
/** What nobody watches is kept for so long: who comes back finds the minutes before. */
const KEPT_MILLISECONDS = 60_000;

/** Which GPUs: those of a pool, of its node, or of the job `id`. */
export type GpuTopic = Partial<Pick<Topic, 'pool' | 'node' | 'id' | 'detail'>>;

/**
 * `idle` while nobody watches, `waiting` for the first frame, `lost` while the server is away: the
 * board is what was last known then.
 */
export type LiveState = 'idle' | 'waiting' | 'live' | 'lost';

export interface ILiveOptions {
  topic: GpuTopic;
  api: IAiInfraApi;
  stream: IAiInfraStream;
  /** How many seconds of the past are kept, and asked for. */
  seconds?: number;
}

/**
 * One watched scope. After a gap (the page was hidden, the server was away) the seconds between are
 * asked for, so that only what nobody has read is missing.
 */
export class LiveGpus implements IDisposable {
  constructor({ topic, api, stream, seconds }: ILiveOptions) {
    this._topic = wholeTopic(topic);
    this._api = api;
    this._stream = stream;
    this.trail = new Trail(seconds);
  }

  readonly trail: Trail;

  /** What is so now; `null` before that is known. */
  get board(): Board | null {
    return this._board;
  }

  /** Why there is no news just now; `null` when there is. */
  get problem(): IProblem | null {
    return this._problem;
  }

  get state(): LiveState {
    if (this._watchers === 0) {
      return 'idle';
    }
    if (this._stream.state === 'lost') {
      return 'lost';
    }
    return this._isCurrent ? 'live' : 'waiting';
  }

  /** About once a second while somebody watches. */
  get changed(): ISignal<LiveGpus, void> {
    return this._changed;
  }

  /** When nobody has watched any more, by `Date.now()`; `null` while somebody does. */
  get idleSince(): number | null {
    return this._idleSince;
  }

  get isDisposed(): boolean {
    return this._isDisposed;
  }

  /** Keep it up to date until what is returned is disposed. */
  watch(): IDisposable {
    const watching = this._stream.watch(this._topic);
    this._watchers += 1;
    if (this._watchers === 1) {
      this._idleSince = null;
      this._stream.news.connect(this._onNews);
      this._stream.stateChanged.connect(this._onStream);
    }
    return new DisposableDelegate(() => {
      watching.dispose();
      this._watchers -= 1;
      if (this._watchers === 0) {
        this._rest();
      }
    });
  }

  dispose(): void {
    this._isDisposed = true;
    this._rest();
    Signal.clearData(this);
  }

  private _rest(): void {
    this._idleSince = Date.now();
    this._isCurrent = false;
    this._problem = null;
    this._holeFrom = null;
    clearTimeout(this._retry);
    this._retry = undefined;
    this._stream.news.disconnect(this._onNews);
    this._stream.stateChanged.disconnect(this._onStream);
  }

  private _onNews = (_sender: IAiInfraStream, news: News): void => {
    if (news.type === 'hello') {
      // Another server counts its keys anew: what fits by number is not ours.
      this._isCurrent = false;
    } else if (news.type === 'gpus' && this._isMine(news.scope)) {
      this._board = new Board(news);
      this._isCurrent = true;
      this._take(this._board);
    } else if (news.type === 'gpus+' && this._isCurrent && news.key === this._board?.key) {
      this._change(news, this._board);
    } else if (news.type === 'problem' && this._isMyTopic(news.topic)) {
      this._problem = { message: news.message, hint: news.hint };
      this._changed.emit();
    }
  };

  private _onStream = (): void => {
    if (this._stream.state !== 'live') {
      this._isCurrent = false;
    }
    this._changed.emit();
  };

  private _change(delta: GpusDelta, board: Board): void {
    if (board.apply(delta)) {
      this._take(board);
      return;
    }
    const now = Date.now();
    if (now - this._askedAnew > ANEW_MILLISECONDS) {
      this._askedAnew = now;
      this._stream.refresh();
    }
  }

  private _take(board: Board): void {
    this._problem = null;
    const before = this._lastAt ?? -Infinity;
    if (board.at - before > HOLE_SECONDS && board.scope.detail !== 'nodes') {
      this._holeFrom = Math.min(this._holeFrom ?? Infinity, before);
    }
    this._lastAt = board.at;
    this.trail.push(board);
    if (this._holeFrom !== null) {
      void this._fill();
    }
    this._changed.emit();
  }

  /** Ask for what was read since the hole began. Where it cannot be told it is tried again. */
  private async _fill(): Promise<void> {
    const board = this._board;
    if (this._isFilling || this._retry !== undefined || board === null) {
      return;
    }
    this._isFilling = true;
    const since = Math.max(this._holeFrom ?? 0, board.at - this.trail.seconds);
    this._holeFrom = null;
    const { pool, node, id } = this._topic;
    try {
      const past = await this._api.gpuHistory({ pool, node, job: id, since });
      this._pause = FIRST_PAUSE_SECONDS;
      if (!this._isDisposed) {
        this.trail.fill(past, this._board ?? board);
        this._changed.emit();
      }
    } catch (error) {
      if (!(error instanceof RequestError)) {
        throw error;
      }
      if (this._watchers > 0 && error.failure !== 'refused') {
        this._holeFrom = Math.min(this._holeFrom ?? Infinity, since);
        this._retry = setTimeout(() => (this._retry = undefined), this._pause * 1000);
        this._pause = Math.min(2 * this._pause, LONGEST_PAUSE_SECONDS);
      }
    } finally {
      this._isFilling = false;
    }
  }

  private _isMine(scope: GpusFrame['scope']): boolean {
    return keyOf({ ...scope, id: scope.job }) === keyOf(this._topic);
  }

  private _isMyTopic(topic: Topic | null): boolean {
    return topic?.topic === 'gpus' && keyOf(topic) === keyOf(this._topic);
  }

  private _topic: ReturnType<typeof wholeTopic>;
  private _api: IAiInfraApi;
  private _stream: IAiInfraStream;
  private _board: Board | null = null;
  /** Whether the board is what the present connection has told. */
  private _isCurrent = false;
  private _problem: IProblem | null = null;
  private _watchers = 0;
  private _idleSince: number | null = Date.now();
  private _lastAt: number | null = null;
  /** From when on seconds may be missing that the server knows. */
  private _holeFrom: number | null = null;
  private _isFilling = false;
  private _retry: ReturnType<typeof setTimeout> | undefined;
  private _pause = FIRST_PAUSE_SECONDS;
  private _askedAnew = 0;
  private _isDisposed = false;
  private _changed = new Signal<LiveGpus, void>(this);
}

/** One `LiveGpus` a scope, whoever asks; see `IGpusModel`. */
export class GpusModel implements IGpusModel {
  constructor(options: { api: IAiInfraApi; stream: IAiInfraStream }) {
    this._options = options;
  }

  of(topic: GpuTopic): LiveGpus {
    const now = Date.now();
    const key = keyOf(topic);
    for (const [other, { idleSince }] of this._known) {
      if (other !== key && idleSince !== null && now - idleSince > KEPT_MILLISECONDS) {
        this._known.delete(other);
      }
    }
    let live = this._known.get(key);
    if (live === undefined) {
      live = new LiveGpus({ topic, ...this._options });
      this._known.set(key, live);
    }
    return live;
  }

  private _options: { api: IAiInfraApi; stream: IAiInfraStream };
  private _known = new Map<string, LiveGpus>();
}

function wholeTopic({ pool, node, id, detail }: GpuTopic): Topic & { topic: 'gpus' } {
  // As the server tells of it: a detail that is not asked for is that of a row a GPU.
  return {
    topic: 'gpus',
    id: id ?? null,
    rank: null,
    pool: pool ?? null,
    node: node ?? null,
    detail: detail === 'nodes' ? 'nodes' : null
  };
}

function keyOf(topic: GpuTopic): string {
  const { id, pool, node, detail } = wholeTopic(topic);
  return JSON.stringify([id, pool, node, detail]);
}
