import { afterEach, beforeEach, expect, it, vi } from 'vitest';

import { fakeApi } from '../../__tests__/fakes';
import { endpoint, key, version } from '../../endpointpage/__tests__/samples';
import { RequestError } from '../../request';
import type { IAiInfraApi } from '../../tokens';
import { EndpointsModel } from '../endpoints';

const endpoints = vi.fn<IAiInfraApi['endpoints']>();
let hidden = false;

function model(methods: Partial<IAiInfraApi> = {}): EndpointsModel {
  return new EndpointsModel({ api: fakeApi({ endpoints, ...methods }) });
}

const asked = (): number => endpoints.mock.calls.length;
const pass = (seconds: number): Promise<unknown> => vi.advanceTimersByTimeAsync(seconds * 1000);

beforeEach(() => {
  vi.useFakeTimers();
  hidden = false;
  vi.spyOn(document, 'hidden', 'get').mockImplementation(() => hidden);
  endpoints.mockReset();
  endpoints.mockResolvedValue([endpoint('b', { name: 'two' }), endpoint('a', { name: 'one' })]);
});

afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

it('asks every two seconds while somebody watches and the page is visible', async () => {
  const one = model();
  await pass(10);
  expect([asked(), one.endpoints]).toEqual([0, null]);
  const [watch, other] = [one.watch(), one.watch()];
  await pass(1);
  expect(one.endpoints?.map(({ name }) => name)).toEqual(['one', 'two']);
  expect([one.find('b')?.name, one.find('one')?.id]).toEqual(['two', 'a']);
  other.dispose();
  await pass(6);
  expect(asked()).toBe(4);
  hidden = true;
  document.dispatchEvent(new Event('visibilitychange'));
  await pass(60);
  expect(asked()).toBe(4);
  hidden = false;
  document.dispatchEvent(new Event('visibilitychange'));
  await pass(1);
  expect(asked()).toBe(5);
  watch.dispose();
  await pass(60);
  expect(asked()).toBe(5);
});

it('says why there is no answer, keeps what it knows, and asks more seldom', async () => {
  const one = model();
  const watch = one.watch();
  await pass(1);
  endpoints.mockRejectedValue(new RequestError('unreachable', 'the server is gone'));
  await pass(2);
  expect([one.problem?.message, one.endpoints?.length]).toEqual(['the server is gone', 2]);
  const before = asked();
  await pass(8);
  expect(asked()).toBe(before);
  endpoints.mockResolvedValue([]);
  await pass(3);
  expect([one.problem, one.endpoints]).toEqual([null, []]);
  watch.dispose();
});

it('shows what a change answers, and not a list that was asked for before it', async () => {
  const back = endpoint('a', { name: 'one', versions: [version(1), version(2)] });
  const one = model({
    promoteEndpoint: () => Promise.resolve(back),
    rollbackEndpoint: (_id, options) => Promise.resolve({ ...back, shadow: options?.to ?? null }),
    splitEndpoint: () => Promise.resolve(back),
    scaleEndpoint: () => Promise.resolve(back)
  });
  const watch = one.watch();
  await pass(1);
  let late: (found: ReturnType<typeof endpoint>[]) => void = () => undefined;
  endpoints.mockReturnValueOnce(new Promise(resolve => (late = resolve)));
  await pass(2);
  endpoints.mockReturnValue(new Promise(() => undefined));
  await one.promote('a');
  late([endpoint('a', { name: 'one' })]);
  await pass(1);
  expect(one.find('a')?.versions).toHaveLength(2);
  await one.rollback('a', 2);
  expect(one.find('a')?.shadow).toBe(2);
  await one.rollback('a');
  expect(one.find('a')?.shadow).toBeNull();
  await one.split('a', { '1': 1 });
  await one.scale('a', { least: 0 });
  watch.dispose();
});

it('asks at once after a key was made, rotated or revoked', async () => {
  const secret = { secret: 's', key: key('k') };
  const one = model({
    addEndpointKey: () => Promise.resolve(secret),
    rotateEndpointKey: () => Promise.resolve(secret),
    revokeEndpointKey: () => Promise.resolve(key('k', { ends_at: 1 }))
  });
  const watch = one.watch();
  await pass(1);
  for (const change of [
    () => one.addKey('a', { name: 'k' }),
    () => one.rotateKey('a', 'k'),
    () => one.revokeKey('a', 'k')
  ]) {
    const before = asked();
    await change();
    await pass(0.1);
    expect(asked()).toBe(before + 1);
  }
  watch.dispose();
});

it('removes after a time to think, and shows one again that the server keeps', async () => {
  const removeEndpoint = vi
    .fn<IAiInfraApi['removeEndpoint']>()
    .mockRejectedValueOnce(new RequestError('refused', 'no'))
    .mockResolvedValue(undefined);
  const one = model({ removeEndpoint });
  const watch = one.watch();
  await pass(1);
  const refused = one.remove('a', 5);
  expect([one.endpoints?.length, one.find('a')]).toEqual([1, undefined]);
  const said = expect(refused.done).rejects.toThrow('no');
  await pass(5);
  await said;
  expect(one.endpoints).toHaveLength(2);
  const back = one.remove('a', 5);
  expect([back.undo(), await back.done, one.endpoints?.length]).toEqual([true, false, 2]);
  endpoints.mockResolvedValue([endpoint('b')]);
  const gone = one.remove('a', 5);
  await pass(5);
  expect([await gone.done, removeEndpoint.mock.calls.length]).toEqual([true, 2]);
  expect(one.endpoints?.map(({ id }) => id)).toEqual(['b']);
  watch.dispose();
});
