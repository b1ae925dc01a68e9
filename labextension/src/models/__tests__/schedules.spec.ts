import { afterEach, beforeEach, expect, it, vi } from 'vitest';

import { fakeApi, FakeStream } from '../../__tests__/fakes';
import { run, schedule } from '../../__tests__/schedulesamples';
import { RequestError } from '../../request';
import type { IAiInfraApi } from '../../tokens';
import { SchedulesModel } from '../schedules';
import type { SchedulesNews } from '../schedulewire';

let stream: FakeStream;

beforeEach(() => {
  stream = new FakeStream();
});

afterEach(() => {
  vi.useRealTimers();
});

function model(methods: Partial<IAiInfraApi> = {}): SchedulesModel {
  return new SchedulesModel({ api: fakeApi(methods), stream });
}

function say(values: Partial<SchedulesNews>): void {
  stream.say({ type: 'schedules', changed: [], removed: [], reset: false, ...values });
}

it('keeps the schedules by name, and takes in what changes of them', () => {
  const one = model();
  const watch = one.watch();
  expect(stream.watched).toEqual([{ topic: 'schedules', id: null, rank: null }]);
  expect(one.schedules).toBeNull();
  say({
    reset: true,
    changed: [schedule('b', { name: 'late' }), schedule('a', { name: 'early' })]
  });
  expect(one.schedules?.map(({ name }) => name)).toEqual(['early', 'late']);
  say({ changed: [schedule('a', { name: 'never' })] });
  expect(one.schedules?.map(({ name }) => name)).toEqual(['late', 'never']);
  say({ removed: ['b'] });
  expect(one.schedules?.map(({ id }) => id)).toEqual(['a']);
  const topic = { topic: 'schedules', id: null, rank: null } as const;
  stream.say({ type: 'problem', message: 'no database', hint: '', topic });
  watch.dispose();
  expect([one.problem?.message, one.schedules?.length]).toEqual(['no database', 1]);
});

it('shows what requests answer before the stream tells it', async () => {
  const one = model({
    pauseSchedule: id => Promise.resolve(schedule(id, { state: 'paused' })),
    resumeSchedule: id => Promise.resolve(schedule(id)),
    addSchedule: () => Promise.resolve(schedule('new')),
    runSchedule: () => Promise.resolve(run('r7', { state: 'due' })),
    restoreSchedule: id => Promise.resolve(schedule(id))
  });
  await one.pause('a');
  expect(one.schedules).toBeNull(); // one of them is not all of them
  say({ reset: true, changed: [schedule('a', { last_runs: [run('r6')] })] });
  await one.run('a');
  expect(one.find('a')?.last_runs.map(({ id }) => id)).toEqual(['r7', 'r6']);
  await one.pause('a');
  expect(one.find('a')?.state).toBe('paused');
  await one.resume('a');
  await one.add({ notebook: 'a.ipynb' });
  await one.restore('c');
  expect(one.schedules?.map(({ id }) => id)).toEqual(['a', 'c', 'new']);
});

it('removes after a time to think, and shows one again that the server keeps', async () => {
  vi.useFakeTimers();
  const removeSchedule = vi
    .fn<IAiInfraApi['removeSchedule']>()
    .mockRejectedValueOnce(new RequestError('refused', 'no'))
    .mockResolvedValue(undefined);
  const one = model({ removeSchedule });
  say({ reset: true, changed: [schedule('a'), schedule('b')] });
  const refused = one.remove('a', 5);
  expect([one.schedules?.length, one.find('a')]).toEqual([1, undefined]);
  const said = expect(refused.done).rejects.toThrow('no');
  await vi.advanceTimersByTimeAsync(5_000);
  await said;
  expect(one.schedules).toHaveLength(2);
  const back = one.remove('a', 5);
  expect([back.undo(), await back.done, one.schedules?.length]).toEqual([true, false, 2]);
  const gone = one.remove('a', 5);
  await vi.advanceTimersByTimeAsync(5_000);
  expect([await gone.done, removeSchedule.mock.calls.length]).toEqual([true, 2]);
  expect(one.schedules?.map(({ id }) => id)).toEqual(['b']);
});
