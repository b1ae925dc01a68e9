import { afterEach, beforeEach, expect, it, vi } from 'vitest';

import { fakeApi, FakeStream } from '../../__tests__/fakes';
import { budget } from '../../__tests__/samples';
import { RequestError } from '../../request';
import type { IAiInfraApi } from '../../tokens';
import { BudgetsModel } from '../budgets';

let stream: FakeStream;

beforeEach(() => {
  stream = new FakeStream();
});

afterEach(() => {
  vi.useRealTimers();
});

function model(methods: Partial<IAiInfraApi> = {}): BudgetsModel {
  return new BudgetsModel({ api: fakeApi(methods), stream });
}

const say = (...budgets: ReturnType<typeof budget>[]): void =>
  stream.say({ type: 'budgets', budgets });

it('keeps the last list, also when there is no news', () => {
  const one = model();
  const changed = vi.fn();
  one.changed.connect(changed);
  const watch = one.watch();
  expect(one.budgets).toBeNull();
  expect(one.of('1')).toEqual([]);
  expect(stream.watched).toEqual([{ topic: 'budgets', id: null, rank: null }]);
  say(budget('a', { jobs: ['1', '2'] }), budget('b', { jobs: ['2'] }));
  const topic = { topic: 'budgets', id: null, rank: null } as const;
  stream.say({ type: 'problem', message: 'no database', hint: '', topic });
  watch.dispose();
  expect(stream.watched).toEqual([]);
  expect(one.problem?.message).toBe('no database');
  expect(one.of('1').map(({ id }) => id)).toEqual(['a']);
  expect(one.of('2').map(({ id }) => id)).toEqual(['a', 'b']);
  say();
  expect([one.budgets, one.problem, changed.mock.calls.length]).toEqual([[], null, 3]);
});

it('shows what a request answers before the stream tells it', async () => {
  const snoozed = budget('a', { snoozed: true });
  const snoozeBudget = vi.fn(() => Promise.resolve(snoozed));
  const one = model({ snoozeBudget, setBudget: () => Promise.resolve(budget('new')) });
  await one.snooze('a', 3600);
  expect(one.budgets).toBeNull(); // one of them is not all of them
  say(budget('a'));
  await one.snooze('a', null);
  expect(snoozeBudget).toHaveBeenLastCalledWith('a', null);
  expect(one.find('a')?.snoozed).toBe(true);
  await one.set({ amount: '20usd', scope: 'all' });
  expect(one.budgets?.map(({ id }) => id)).toEqual(['a', 'new']);
});

it('removes after a time to think, and not where that was taken back', async () => {
  vi.useFakeTimers();
  const removeBudget = vi.fn(() => Promise.resolve());
  const one = model({ removeBudget });
  say(budget('a'), budget('b'));
  const first = one.remove('a', 5);
  expect(one.budgets?.map(({ id }) => id)).toEqual(['b']);
  expect(first.undo()).toBe(true);
  expect(await first.done).toBe(false);
  expect(one.budgets).toHaveLength(2);
  const second = one.remove('a', 5);
  await vi.advanceTimersByTimeAsync(5_000);
  expect(await second.done).toBe(true);
  expect(second.undo()).toBe(false);
  expect(removeBudget).toHaveBeenCalledExactlyOnceWith('a');
  expect(one.budgets?.map(({ id }) => id)).toEqual(['b']);
});

it('shows one again that could not be removed', async () => {
  vi.useFakeTimers();
  const one = model({ removeBudget: () => Promise.reject(new RequestError('refused', 'no')) });
  say(budget('a'));
  const { done } = one.remove('a', 1);
  const refused = expect(done).rejects.toThrow('no');
  await vi.advanceTimersByTimeAsync(1_000);
  await refused;
  expect(one.budgets).toHaveLength(1);
});

it('ends the jobs of one', async () => {
  const one = model({ stopBudgetJobs: id => Promise.resolve([`job of ${id}`]) });
  expect(await one.stop('a')).toEqual(['job of a']);
});
