import { ServerConnection } from '@jupyterlab/services';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import type { News, StreamState } from '../../tokens';
import { Stream } from '../stream';
import type { Topic } from '../types';

const JOBS: Topic = { topic: 'jobs', id: null, rank: null };
const POOLS: Topic = { topic: 'pools', id: null, rank: null };

class FakeSocket {
  static all: FakeSocket[] = [];
  static get last(): FakeSocket {
    return FakeSocket.all.at(-1) as FakeSocket;
  }

  constructor(readonly url: string) {
    FakeSocket.all.push(this);
  }

  open(): void {
    this.readyState = 1;
    this.onopen?.();
  }

  hear(news: unknown): void {
    this.onmessage?.({ data: typeof news === 'string' ? news : JSON.stringify(news) });
  }

  send(text: string): void {
    this.sent.push((JSON.parse(text) as { topics: Topic[] }).topics.map(({ topic }) => topic));
  }

  /** The other side, or the network, ends it. */
  break(): void {
    this.readyState = 3;
    this.onclose?.();
  }

  close(): void {
    this.isClosed = true;
  }

  readyState = 0;
  sent: string[][] = [];
  isClosed = false;
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: string }) => void) | null = null;
  onclose: (() => void) | null = null;
}

let stream: Stream;
let states: StreamState[];
let hidden = false;

function make(values: Partial<ServerConnection.ISettings> = {}): Stream {
  stream = new Stream(
    ServerConnection.makeSettings({
      wsUrl: 'ws://host/base/',
      WebSocket: FakeSocket as unknown as typeof WebSocket,
      ...values
    })
  );
  states = [];
  stream.stateChanged.connect((_sender, state) => states.push(state));
  return stream;
}

function hide(value: boolean): void {
  hidden = value;
  document.dispatchEvent(new Event('visibilitychange'));
}

/** Let what was put off to the end of this turn happen. */
async function settled(): Promise<void> {
  await vi.advanceTimersByTimeAsync(0);
}

beforeEach(() => {
  vi.useFakeTimers();
  vi.spyOn(document, 'hidden', 'get').mockImplementation(() => hidden);
  vi.spyOn(Math, 'random').mockReturnValue(1);
  FakeSocket.all = [];
  hidden = false;
});

afterEach(() => {
  stream.dispose();
  vi.useRealTimers();
});

describe('what is watched', () => {
  it('opens no socket before something is', async () => {
    make();
    await vi.advanceTimersByTimeAsync(60_000);

    expect(FakeSocket.all).toEqual([]);
    expect(stream.state).toBe('sleeping');
  });

  it('is said once for all that is watched in one go', async () => {
    make().watch(JOBS);
    stream.watch(POOLS);
    stream.watch(JOBS);
    await settled();
    FakeSocket.last.open();

    expect(FakeSocket.all).toHaveLength(1);
    expect(FakeSocket.last.sent).toEqual([['jobs', 'pools']]);
    expect(states).toEqual(['connecting', 'live']);
  });

  it('is said again when somebody joins, who wants the state as it is', async () => {
    make().watch(JOBS);
    await settled();
    FakeSocket.last.open();
    stream.watch(JOBS);
    await settled();

    expect(FakeSocket.last.sent).toEqual([['jobs'], ['jobs']]);
  });

  it('stays until the last of its watchers goes', async () => {
    const one = make().watch(JOBS);
    const other = stream.watch(JOBS);
    stream.watch(POOLS);
    await settled();
    FakeSocket.last.open();
    one.dispose();
    one.dispose();
    await settled();
    expect(FakeSocket.last.sent).toHaveLength(1);

    other.dispose();
    await settled();
    expect(FakeSocket.last.sent.at(-1)).toEqual(['pools']);
  });

  it('leaves the socket open for a moment when it is nothing, then closes it unsaid', async () => {
    const watch = make().watch(JOBS);
    await settled();
    FakeSocket.last.open();
    watch.dispose();
    await settled();
    stream.watch(JOBS).dispose();
    await vi.advanceTimersByTimeAsync(900);
    expect(FakeSocket.last.isClosed).toBe(false);

    await vi.advanceTimersByTimeAsync(200);
    expect(FakeSocket.last.isClosed).toBe(true);
    expect(FakeSocket.last.sent).toEqual([['jobs']]);
    expect(stream.state).toBe('sleeping');
    await vi.advanceTimersByTimeAsync(60_000);
    expect(FakeSocket.all).toHaveLength(1);
  });
});

describe('the address', () => {
  it('is below the base URL, and has the token where the page gives it to sockets', async () => {
    make({ token: 'a b', appendToken: true }).watch(JOBS);
    await settled();
    expect(FakeSocket.last.url).toBe('ws://host/base/aiinfra/stream?token=a%20b');
  });

  it('has no token where the cookie does', async () => {
    make({ token: 'secret', appendToken: false }).watch(JOBS);
    await settled();
    expect(FakeSocket.last.url).toBe('ws://host/base/aiinfra/stream');
  });
});

describe('news', () => {
  it('is handed on as it comes', async () => {
    make().watch(JOBS);
    const heard: News[] = [];
    stream.news.connect((_sender, news) => heard.push(news));
    await settled();
    FakeSocket.last.open();
    const hello = { type: 'hello', version: '1', instance: 'x' };
    FakeSocket.last.hear(hello);

    expect(heard).toEqual([hello]);
  });

  it('that is no JSON ends the connection, and another is made', async () => {
    make().watch(JOBS);
    await settled();
    FakeSocket.last.open();
    FakeSocket.last.hear('<html>');

    expect(FakeSocket.last.isClosed).toBe(true);
    await vi.advanceTimersByTimeAsync(500);
    expect(FakeSocket.all).toHaveLength(2);
  });
});

describe('a lost server', () => {
  it('is asked again after growing pauses of at most half a minute', async () => {
    make().watch(JOBS);
    await settled();
    const pauses: number[] = [];
    for (let attempt = 0; attempt < 9; attempt++) {
      const before = FakeSocket.all.length;
      const at = Date.now();
      FakeSocket.last.break();
      await vi.advanceTimersToNextTimerAsync();
      expect(FakeSocket.all).toHaveLength(before + 1);
      pauses.push(Date.now() - at);
    }

    expect(pauses).toEqual([500, 1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000]);
    expect(states).toEqual(['connecting', 'lost']);
  });

  it('is not asked by all pages at once', async () => {
    vi.mocked(Math.random).mockReturnValue(0);
    make().watch(JOBS);
    await settled();
    FakeSocket.last.break();
    await vi.advanceTimersByTimeAsync(250);

    expect(FakeSocket.all).toHaveLength(2);
  });

  it('that is back is told everything again, and the pauses start small', async () => {
    make().watch(JOBS);
    await settled();
    FakeSocket.last.break();
    await vi.advanceTimersByTimeAsync(500);
    FakeSocket.last.break();
    await vi.advanceTimersByTimeAsync(1000);
    FakeSocket.last.open();
    expect(FakeSocket.last.sent).toEqual([['jobs']]);
    expect(stream.state).toBe('live');

    await vi.advanceTimersByTimeAsync(3000);
    FakeSocket.last.break();
    await vi.advanceTimersByTimeAsync(500);
    expect(FakeSocket.all).toHaveLength(4);
  });

  it('that closes each connection at once is not asked faster for it', async () => {
    make().watch(JOBS);
    await settled();
    for (let attempt = 0; attempt < 4; attempt++) {
      FakeSocket.last.open();
      FakeSocket.last.break();
      await vi.advanceTimersToNextTimerAsync();
    }
    const at = Date.now();
    FakeSocket.last.open();
    FakeSocket.last.break();
    await vi.advanceTimersToNextTimerAsync();

    expect(Date.now() - at).toBe(8000);
  });

  it('is no news before a second try has failed', async () => {
    make().watch(JOBS);
    await settled();
    FakeSocket.last.open();
    FakeSocket.last.break();
    expect(stream.state).toBe('connecting');
    await vi.advanceTimersByTimeAsync(500);
    FakeSocket.last.break();
    expect(stream.state).toBe('lost');
  });

  it('is asked at once when the user wants it, or the network is back', async () => {
    make().watch(JOBS);
    await settled();
    FakeSocket.last.break();
    stream.refresh();
    expect(FakeSocket.all).toHaveLength(2);
    FakeSocket.last.break();
    window.dispatchEvent(new Event('online'));
    expect(FakeSocket.all).toHaveLength(3);
  });

  it('is not believed to be there when the network went', async () => {
    make().watch(JOBS);
    await settled();
    FakeSocket.last.open();
    window.dispatchEvent(new Event('offline'));

    expect(FakeSocket.last.isClosed).toBe(true);
    expect(stream.state).toBe('connecting');
  });
});

describe('refresh', () => {
  it('asks again for what is watched', async () => {
    make().watch(JOBS);
    await settled();
    FakeSocket.last.open();
    stream.refresh();
    expect(FakeSocket.last.sent).toEqual([['jobs'], ['jobs']]);
  });
});

describe('a hidden page', () => {
  it('watches nothing after a while, and sends nothing', async () => {
    make().watch(JOBS);
    await settled();
    FakeSocket.last.open();
    hide(true);
    await vi.advanceTimersByTimeAsync(4000);
    expect(FakeSocket.last.isClosed).toBe(false);

    await vi.advanceTimersByTimeAsync(60_000);
    expect(FakeSocket.last.isClosed).toBe(true);
    expect(FakeSocket.last.sent).toHaveLength(1);
    expect(FakeSocket.all).toHaveLength(1);
  });

  it('is told everything when it is seen again', async () => {
    make().watch(JOBS);
    await settled();
    FakeSocket.last.open();
    hide(true);
    await vi.advanceTimersByTimeAsync(60_000);
    hide(false);
    await settled();
    FakeSocket.last.open();

    expect(FakeSocket.all).toHaveLength(2);
    expect(FakeSocket.last.sent).toEqual([['jobs']]);
  });

  it('that is looked at again soon keeps its socket', async () => {
    make().watch(JOBS);
    await settled();
    FakeSocket.last.open();
    hide(true);
    await vi.advanceTimersByTimeAsync(3000);
    hide(false);
    await vi.advanceTimersByTimeAsync(60_000);

    expect(FakeSocket.all).toHaveLength(1);
    expect(FakeSocket.last.sent).toHaveLength(1);
  });

  it('goes on with what the user is to be told of', async () => {
    make().watch(POOLS);
    const watch = stream.watch(JOBS, { whileHidden: true });
    await settled();
    FakeSocket.last.open();
    hide(true);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(FakeSocket.last.isClosed).toBe(false);
    expect(FakeSocket.last.sent).toEqual([['pools', 'jobs'], ['jobs']]);

    watch.dispose();
    await vi.advanceTimersByTimeAsync(2000);
    expect(FakeSocket.last.isClosed).toBe(true);
  });

  it('does not open a socket when it begins hidden', async () => {
    hidden = true;
    make().watch(JOBS);
    await vi.advanceTimersByTimeAsync(5000);
    expect(FakeSocket.all).toEqual([]);
    hide(false);
    expect(FakeSocket.all).toHaveLength(1);
  });

  it('does not go on asking for a lost server', async () => {
    make().watch(JOBS);
    await settled();
    FakeSocket.last.break();
    hide(true);
    await vi.advanceTimersByTimeAsync(7000);
    const asked = FakeSocket.all.length;
    await vi.advanceTimersByTimeAsync(120_000);
    expect(FakeSocket.all).toHaveLength(asked);
  });
});
