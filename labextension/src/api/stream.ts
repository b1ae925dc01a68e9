/** The one socket of this page, and what is watched over it. */

import { URLExt } from '@jupyterlab/coreutils';
import type { ServerConnection } from '@jupyterlab/services';
import { DisposableDelegate, type IDisposable } from '@lumino/disposable';
import { Signal, type ISignal } from '@lumino/signaling';

import { NAMESPACE } from '../request';
import type { IAiInfraStream, IWatchOptions, News, StreamState } from '../tokens';
import type { Topic, WatchRequest } from './types';

/** How long nothing may be watched before the socket is closed: a tab that changes is no end. */
const IDLE_MILLISECONDS = 1_000;
/** How long the page may be hidden before it watches nothing: a glance elsewhere is no end. */
const HIDDEN_MILLISECONDS = 5_000;
const FIRST_PAUSE_MILLISECONDS = 500;
const LONGEST_PAUSE_MILLISECONDS = 30_000;
/** A connection that held for this long was a success; the pauses start small again. */
const STEADY_MILLISECONDS = 2_000;

interface IWatched {
  topic: Topic;
  watchers: number;
  /** How many of the watchers go on while the page is hidden. */
  whileHidden: number;
}

type Timer = ReturnType<typeof setTimeout>;

/**
 * Opens the socket when something is watched, says what is, and hands on what comes.
 *
 * The server answers what is asked with its state as it is, so asking again after a gap is enough:
 * nothing is kept here but the list of what is watched.
 */
export class Stream implements IAiInfraStream, IDisposable {
  constructor(settings: ServerConnection.ISettings) {
    this._settings = settings;
    this._away = document.hidden;
    document.addEventListener('visibilitychange', this._onVisibility);
    window.addEventListener('online', this._onOnline);
    window.addEventListener('offline', this._onOffline);
  }

  get state(): StreamState {
    return this._state;
  }

  get stateChanged(): ISignal<IAiInfraStream, StreamState> {
    return this._stateChanged;
  }

  get news(): ISignal<IAiInfraStream, News> {
    return this._news;
  }

  get isDisposed(): boolean {
    return this._isDisposed;
  }

  watch(topic: Topic, { whileHidden = false }: IWatchOptions = {}): IDisposable {
    const key = keyOf(topic);
    const watched = this._watched.get(key) ?? { topic, watchers: 0, whileHidden: 0 };
    this._watched.set(key, watched);
    watched.watchers += 1;
    watched.whileHidden += whileHidden ? 1 : 0;
    // Who comes second wants the state as it is, too.
    this._saidLast = null;
    this._settleSoon();
    return new DisposableDelegate(() => {
      watched.watchers -= 1;
      watched.whileHidden -= whileHidden ? 1 : 0;
      if (watched.watchers === 0) {
        this._watched.delete(key);
      }
      this._settleSoon();
    });
  }

  refresh(): void {
    this._saidLast = null;
    this._retryNow();
  }

  dispose(): void {
    if (this._isDisposed) {
      return;
    }
    this._isDisposed = true;
    document.removeEventListener('visibilitychange', this._onVisibility);
    window.removeEventListener('online', this._onOnline);
    window.removeEventListener('offline', this._onOffline);
    clearTimeout(this._hiding);
    this._watched.clear();
    this._sleep();
    Signal.clearData(this);
  }

  /** Several changes of what is watched, made in one go, are one message. */
  private _settleSoon(): void {
    if (!this._settling) {
      this._settling = true;
      queueMicrotask(() => {
        this._settling = false;
        this._settle();
      });
    }
  }

  /** Bring the socket in line with what is watched. */
  private _settle(): void {
    const topics = this._isDisposed ? [] : this._topics();
    if (topics.length === 0) {
      this._idle ??= setTimeout(() => this._sleep(), IDLE_MILLISECONDS);
      return;
    }
    clearTimeout(this._idle);
    this._idle = undefined;
    if (this._socket === null) {
      if (this._retry === undefined) {
        this._open();
      }
    } else if (this._socket.readyState === OPEN) {
      this._say(this._socket, topics);
    }
  }

  private _topics(): Topic[] {
    const all = [...this._watched.values()];
    return all.filter(each => !this._away || each.whileHidden > 0).map(({ topic }) => topic);
  }

  private _say(socket: WebSocket, topics: Topic[]): void {
    const request: WatchRequest = { topics };
    const text = JSON.stringify(request);
    if (text !== this._saidLast) {
      this._saidLast = text;
      socket.send(text);
    }
  }

  private _open(): void {
    const { WebSocket } = this._settings;
    const socket = new WebSocket(socketUrl(this._settings));
    this._socket = socket;
    if (this._state === 'sleeping') {
      this._turn('connecting');
    }
    socket.onopen = () => {
      this._openedAt = Date.now();
      this._saidLast = null;
      this._turn('live');
      this._settle();
    };
    socket.onmessage = (event: MessageEvent) => this._hear(event.data);
    // An error is always followed by a close, which is where it is dealt with.
    socket.onclose = () => this._onClose();
  }

  private _hear(data: unknown): void {
    let news: unknown;
    try {
      news = JSON.parse(String(data));
    } catch {
      // Not from our server: whatever stands in between is treated as a broken connection.
      this._drop();
      return;
    }
    if (isNews(news)) {
      this._news.emit(news);
    }
  }

  private _onClose(): void {
    const lived = this._openedAt === null ? 0 : Date.now() - this._openedAt;
    const wasLive = this._openedAt !== null;
    this._forget();
    if (lived >= STEADY_MILLISECONDS) {
      this._failures = 0;
    }
    const longest = FIRST_PAUSE_MILLISECONDS * 2 ** this._failures;
    // Many pages that lost the same server must not all come back in the same instant.
    const pause = Math.min(longest, LONGEST_PAUSE_MILLISECONDS) * (0.5 + Math.random() / 2);
    this._failures += 1;
    this._retry = setTimeout(() => this._retryNow(), pause);
    // One closed connection is nothing to tell of while the next may open in half a second.
    this._turn(wasLive ? 'connecting' : 'lost');
  }

  private _retryNow(): void {
    clearTimeout(this._retry);
    this._retry = undefined;
    this._settle();
  }

  /** Give up on the present connection, and try for another. */
  private _drop(): void {
    const socket = this._socket;
    if (socket !== null) {
      this._onClose();
      socket.close();
    }
  }

  private _sleep(): void {
    const socket = this._socket;
    this._forget();
    clearTimeout(this._retry);
    clearTimeout(this._idle);
    this._retry = this._idle = undefined;
    this._failures = 0;
    socket?.close();
    this._turn('sleeping');
  }

  /** Hear nothing more of the present socket. */
  private _forget(): void {
    if (this._socket !== null) {
      this._socket.onopen = this._socket.onmessage = this._socket.onclose = null;
    }
    this._socket = null;
    this._openedAt = null;
  }

  private _turn(state: StreamState): void {
    if (state !== this._state) {
      this._state = state;
      this._stateChanged.emit(state);
    }
  }

  private _onVisibility = (): void => {
    clearTimeout(this._hiding);
    if (document.hidden) {
      this._hiding = setTimeout(() => {
        this._away = true;
        this._settle();
      }, HIDDEN_MILLISECONDS);
    } else {
      this._away = false;
      this._retryNow();
    }
  };

  private _onOnline = (): void => this._retryNow();

  // A network that went away may leave a socket that looks open for minutes.
  private _onOffline = (): void => this._drop();

  private _settings: ServerConnection.ISettings;
  private _state: StreamState = 'sleeping';
  private _stateChanged = new Signal<IAiInfraStream, StreamState>(this);
  private _news = new Signal<IAiInfraStream, News>(this);
  private _watched = new Map<string, IWatched>();
  private _socket: WebSocket | null = null;
  private _openedAt: number | null = null;
  /** The last request over the present socket; `null` makes the next one go out in any case. */
  private _saidLast: string | null = null;
  private _failures = 0;
  private _away: boolean;
  private _settling = false;
  private _retry: Timer | undefined;
  private _idle: Timer | undefined;
  private _hiding: Timer | undefined;
  private _isDisposed = false;
}

/** `WebSocket.OPEN`, which a fake need not have. */
const OPEN = 1;

function keyOf({ topic, id, rank, pool, node, detail }: Topic): string {
  return JSON.stringify([topic, id, rank, pool, node, detail]);
}

/** The address of the socket; the token goes in as it does for JupyterLab's own sockets. */
function socketUrl({ wsUrl, token, appendToken }: ServerConnection.ISettings): string {
  const url = URLExt.join(wsUrl, NAMESPACE, 'stream');
  return appendToken && token !== '' ? `${url}?token=${encodeURIComponent(token)}` : url;
}

function isNews(value: unknown): value is News {
  return typeof value === 'object' && value !== null && 'type' in value;
}
