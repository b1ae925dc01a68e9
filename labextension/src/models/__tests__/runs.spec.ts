import { afterEach, beforeEach, expect, it, vi } from 'vitest';

import { fakeApi, FakeStream } from '../../__tests__/fakes';
import { run } from '../../__tests__/schedulesamples';
import type { RunItem } from '../../api/types';
import type { IAiInfraApi } from '../../tokens';
import { RunsModel } from '../runs';
import type { RunsNews } from '../schedulewire';

let stream: FakeStream;

beforeEach(() => {
  stream = new FakeStream();
});

afterEach(() => {
  vi.useRealTimers();
});

function model(methods: Partial<IAiInfraApi> = {}, schedule: string | null = null): RunsModel {
  return new RunsModel({ api: fakeApi(methods), stream, schedule });
}

function say(changed: RunItem[], values: Partial<RunsNews> = {}): void {
  stream.say({
    type: 'runs',
    id: null,
    changed,
    removed: [],
    reset: false,
    more: false,
    ...values
  });
}

const ids = (one: RunsModel): string[] | undefined => one.runs?.map(({ id }) => id);

it('keeps the runs newest first, and hears only of its own', () => {
  const one = model();
  const other = model({}, 's2');
  one.watch();
  other.watch();
  expect(stream.watched.map(({ id }) => id)).toEqual([null, 's2']);
  say([run('r1'), run('r3'), run('r2')], { reset: true, more: true });
  expect([ids(one), one.more, other.runs]).toEqual([['r3', 'r2', 'r1'], true, null]);
  say([run('r9')], { id: 's2', reset: true });
  say([], { removed: ['r2'] });
  expect([ids(one), ids(other)]).toEqual([['r3', 'r1'], ['r9']]);
  other.dispose();
  say([run('r10')], { id: 's2' });
  expect(ids(other)).toEqual(['r9']);
});

it('keeps older ones that were asked for, unless news may be missing', () => {
  const one = model();
  one.watch();
  say([run('r8'), run('r9')], { reset: true, more: true });
  one.take([run('r1')]);
  say([run('r8'), run('r10')], { reset: true, more: true });
  expect(ids(one)).toEqual(['r10', 'r8', 'r1']);
  stream.say({ type: 'hello', instance: 'another', version: '1' } as never);
  say([run('r10')], { reset: true, more: true });
  expect([ids(one), one.resets]).toEqual([['r10'], 2]);
});

it('takes no answer that news has overtaken', () => {
  const one = model();
  say([run('r1', { state: 'failed' })], { reset: true });
  one.take([run('r1', { state: 'running' })]);
  expect(one.find('r1')?.state).toBe('failed');
  one.take([run('r1', { state: 'queued', attempt: 2 })]);
  expect(one.find('r1')).toMatchObject({ state: 'queued', attempt: 2 });
});

it('reads as stopping while the server is asked to, and as before where it refuses', async () => {
  let answer: (run: RunItem) => void = () => undefined;
  const cancelRun = vi
    .fn<IAiInfraApi['cancelRun']>()
    .mockReturnValueOnce(new Promise(resolve => (answer = resolve)))
    .mockRejectedValueOnce(new Error('refused'));
  const one = model({ cancelRun, rerun: () => Promise.resolve(run('r2', { state: 'queued' })) });
  say([run('r1', { state: 'running' })], { reset: true });
  const cancelled = one.cancel('r1');
  expect(one.runs?.[0]?.stopping).toBe(true);
  answer(run('r1', { state: 'running', stopping: true }));
  expect((await cancelled).stopping).toBe(true);
  say([run('r1', { state: 'running' })]);
  await expect(one.cancel('r1')).rejects.toThrow('refused');
  expect(one.runs?.[0]?.stopping).toBe(false);
  await one.rerun('r1');
  expect(ids(one)).toEqual(['r2', 'r1']);
});

it('deletes a run after a time to think', async () => {
  vi.useFakeTimers();
  const removeRun = vi.fn(() => Promise.resolve());
  const one = model({ removeRun });
  say([run('r1'), run('r2')], { reset: true });
  const kept = one.remove('r1', 5);
  expect([ids(one), kept.undo(), await kept.done]).toEqual([['r2'], true, false]);
  const gone = one.remove('r1', 5);
  await vi.advanceTimersByTimeAsync(5_000);
  expect([await gone.done, ids(one)]).toEqual([true, ['r2']]);
  expect(removeRun).toHaveBeenCalledExactlyOnceWith('r1');
});
