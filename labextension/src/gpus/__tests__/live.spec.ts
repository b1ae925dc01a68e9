import type { IDisposable } from '@lumino/disposable';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { FakeStream, fakeApi } from '../../__tests__/fakes';
import type { GpuPast, HelloNews } from '../../api/types';
import { RequestError } from '../../request';
import { GpusModel, LiveGpus } from '../live';
import { delta, frame } from './frames';

const T0 = frame().at;
const UUID = frame().gpus[0]?.uuid as string;
const HELLO: HelloNews = { type: 'hello', version: '1', instance: 'b' };

let stream: FakeStream;
let live: LiveGpus;
let watching: IDisposable;
const history = vi.fn<(query: object) => Promise<GpuPast[]>>();

beforeEach(() => {
  vi.useFakeTimers({ now: T0 * 1000 });
  history.mockReset();
  history.mockResolvedValue([]);
  stream = new FakeStream();
  live = new LiveGpus({
    topic: { pool: 'here' },
    api: fakeApi({ gpuHistory: history }),
    stream,
    seconds: 60
  });
  watching = live.watch();
});

afterEach(() => {
  live.dispose();
  vi.useRealTimers();
});

const busy = (): number | null | undefined => live.board?.value(0, 'utilization');
const lately = (seconds: number): (number | null)[] =>
  live.trail.window('n0', UUID, 'utilization', seconds).values;

describe('LiveGpus', () => {
  it('says what is so, second by second', () => {
    expect([live.state, live.board]).toEqual(['waiting', null]);
    const changed = vi.fn();
    live.changed.connect(changed);
    stream.say(frame());
    expect([live.state, busy()]).toEqual(['live', 71]);
    stream.say(delta({ at: T0 + 1, g: 'b' }));
    expect(busy()).toBe(73);
    expect(lately(2)).toEqual([71, 73]);
    expect(changed).toHaveBeenCalledTimes(2);
  });

  it('is not concerned by the GPUs of others', () => {
    const { scope } = frame();
    stream.say(frame({ scope: { ...scope, pool: 'there' } }));
    stream.say(frame({ scope: { ...scope, node: 'n0' } }));
    stream.say(frame({ scope: { ...scope, detail: 'nodes' } }));
    expect(live.board).toBeNull();
    stream.say(frame());
    stream.say(delta({ key: 99, g: 'b' }));
    expect([busy(), stream.refreshes]).toEqual([71, 0]);
  });

  it('watches while somebody does', () => {
    const second = live.watch();
    expect(stream.watched).toHaveLength(2);
    watching.dispose();
    watching.dispose();
    expect(live.state).toBe('waiting');
    second.dispose();
    expect([live.state, stream.watched.length]).toEqual(['idle', 0]);
    stream.say(frame());
    expect(live.board).toBeNull();
  });

  it('asks for all of it anew where a change does not fit, and not again and again', () => {
    stream.say(frame());
    stream.say(delta({ since: 7, seq: 8 }));
    stream.say(delta({ since: 8, seq: 9 }));
    expect([busy(), stream.refreshes]).toEqual([71, 1]);
    stream.say(frame({ seq: 12, at: T0 + 2 }));
    stream.say(delta({ since: 12, seq: 13, at: T0 + 3, g: 'a' }));
    expect(busy()).toBe(72);
  });

  it('takes no change of another server for its own', () => {
    stream.say(frame());
    stream.turn('connecting');
    stream.turn('live');
    stream.say(HELLO);
    expect(live.state).toBe('waiting');
    stream.say(delta({ g: 'z' }));
    expect([busy(), stream.refreshes]).toEqual([71, 0]);
  });

  it('says why there is no news, until there is', () => {
    stream.say({
      type: 'problem',
      message: 'no pool named here',
      hint: 'attach it',
      topic: { topic: 'gpus', id: null, rank: null, pool: 'here', node: null, detail: null }
    });
    expect(live.problem).toEqual({ message: 'no pool named here', hint: 'attach it' });
    stream.say(frame());
    expect(live.problem).toBeNull();
  });

  it('keeps what was known while the server is away', () => {
    stream.say(frame());
    stream.turn('lost');
    expect([live.state, busy()]).toEqual(['lost', 71]);
  });

  it('asks for the seconds before, at first and after a gap', async () => {
    stream.say(frame());
    expect(history).toHaveBeenCalledTimes(1);
    expect(history).toHaveBeenLastCalledWith({
      pool: 'here',
      node: null,
      job: null,
      since: T0 - 60
    });
    await vi.advanceTimersByTimeAsync(0);
    stream.say(delta({ at: T0 + 1 }));
    expect(history).toHaveBeenCalledTimes(1);
    stream.turn('connecting');
    stream.turn('live');
    stream.say(HELLO);
    const others = Array<(number | null)[]>(6).fill([null, null]);
    history.mockResolvedValueOnce([
      { node: 'n0', at: [T0 + 2, T0 + 3], rows: { [UUID]: [[5, 6], ...others] } }
    ]);
    stream.say(frame({ at: T0 + 4 }));
    expect(history).toHaveBeenLastCalledWith({
      pool: 'here',
      node: null,
      job: null,
      since: T0 + 1
    });
    await vi.advanceTimersByTimeAsync(0);
    expect(lately(5)).toEqual([71, 71, 5, 6, 71]);
  });

  it('asks again where the past could not be had', async () => {
    history.mockRejectedValueOnce(new RequestError('unreachable', 'no answer'));
    stream.say(frame());
    await vi.advanceTimersByTimeAsync(0);
    stream.say(delta({ at: T0 + 1 }));
    expect(history).toHaveBeenCalledTimes(1);
    await vi.advanceTimersByTimeAsync(2_000);
    stream.say(delta({ since: 2, seq: 3, at: T0 + 3 }));
    await vi.advanceTimersByTimeAsync(0);
    expect(history).toHaveBeenCalledTimes(2);
    expect(history).toHaveBeenLastCalledWith(expect.objectContaining({ since: T0 - 57 }));
  });
});

describe('GpusModel', () => {
  const model = (): GpusModel => new GpusModel({ api: fakeApi({ gpuHistory: history }), stream });

  it('gives the same to whoever asks for the same', () => {
    const gpus = model();
    const one = gpus.of({ pool: 'here' });
    expect(gpus.of({ pool: 'here', node: null, detail: 'gpus' })).toBe(one);
    expect(gpus.of({ pool: 'here', detail: 'nodes' })).not.toBe(one);
    expect(gpus.of({ id: 'here' })).not.toBe(one);
  });

  it('forgets what nobody has watched for a while', () => {
    const gpus = model();
    const [watched, left] = [gpus.of({ pool: 'a' }), gpus.of({ pool: 'b' })];
    const handle = watched.watch();
    vi.advanceTimersByTime(120_000);
    gpus.of({ pool: 'c' });
    expect(gpus.of({ pool: 'a' })).toBe(watched);
    expect(gpus.of({ pool: 'b' })).not.toBe(left);
    handle.dispose();
  });
});
