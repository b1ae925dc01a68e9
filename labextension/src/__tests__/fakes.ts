/** Fakes at the seams of the front end, for every test. */

import { Signal } from '@lumino/signaling';

import type { Topic } from '../api/types';
import type { IAiInfraApi, IAiInfraStream, News, StreamState } from '../tokens';

/** An API that has only the methods given; any other call fails, and says which it was. */
export function fakeApi(methods: Partial<IAiInfraApi>): IAiInfraApi {
  return new Proxy(methods, {
    get: (given, name: keyof IAiInfraApi) =>
      given[name] ?? ((): never => expectNoCall(String(name)))
  }) as IAiInfraApi;
}

function expectNoCall(name: string): never {
  throw new Error(`the test did not expect a call of ${name}()`);
}

/** A stream that says what the test tells it to, and knows what is watched. */
export class FakeStream implements IAiInfraStream {
  readonly news: Signal<IAiInfraStream, News> = new Signal<IAiInfraStream, News>(this);
  readonly stateChanged: Signal<IAiInfraStream, StreamState> = new Signal<
    IAiInfraStream,
    StreamState
  >(this);
  readonly watched: Topic[] = [];
  state: StreamState = 'live';

  watch(topic: Topic): { dispose: () => void; isDisposed: boolean } {
    this.watched.push(topic);
    const handle = {
      isDisposed: false,
      dispose: (): void => {
        if (!handle.isDisposed) {
          handle.isDisposed = true;
          this.watched.splice(this.watched.indexOf(topic), 1);
        }
      }
    };
    return handle;
  }

  refreshes = 0;

  refresh(): void {
    this.refreshes += 1;
  }

  say(news: News): void {
    this.news.emit(news);
  }

  turn(state: StreamState): void {
    this.state = state;
    this.stateChanged.emit(state);
  }
}
