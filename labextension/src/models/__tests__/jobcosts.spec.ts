import { afterEach, beforeEach, expect, it, vi } from 'vitest';

import { jobCost, usd } from '../../__tests__/costsamples';
import { ended, job } from '../../__tests__/samples';
import type { JobCostItem } from '../../api/types';
import { costText } from '../../cost/text';
import { RequestError } from '../../request';
import { JobCosts } from '../jobcosts';

let costs: JobCosts;
let hidden: boolean;
const jobCosts = vi.fn<(ids: readonly string[]) => Promise<JobCostItem[]>>();

const asked = (): string[] => jobCosts.mock.calls.map(([ids]) => ids.join(' '));
const after = (milliseconds: number): Promise<unknown> => vi.advanceTimersByTimeAsync(milliseconds);

beforeEach(() => {
  vi.useFakeTimers();
  hidden = false;
  vi.spyOn(document, 'hidden', 'get').mockImplementation(() => hidden);
  jobCosts.mockReset().mockImplementation(ids => Promise.resolve(ids.map(id => jobCost(id))));
  costs = new JobCosts({ api: { jobCosts } });
});

afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

it('asks for what is shown while somebody looks, and goes on counting in between', async () => {
  costs.want([job('2'), ended('1')]);
  await after(60_000);
  expect(asked()).toEqual([]);

  const watch = costs.watch();
  await after(0);
  expect(asked()).toEqual(['2 1']);
  expect(costText(costs.of('2'))).toBe('$1.50');
  await after(10_000);
  expect(costText(costs.of('2'))).toBe('$1.51'); // at $3.60 an hour
  await after(5_000);
  expect(asked()).toEqual(['2 1', '2']); // what is over is known for good

  watch.dispose();
  await after(60_000);
  expect(asked()).toHaveLength(2);
});

it('asks soon for jobs that come into sight or end, and once for several', async () => {
  costs.want([job('1')]);
  const watch = costs.watch();
  await after(0);
  costs.want([job('2'), job('1')]);
  costs.want([job('3'), job('2'), job('1')]);
  await after(300);
  expect(asked()).toEqual(['1', '3 2 1']);
  costs.want([job('3'), job('2'), ended('1')]);
  await after(300);
  costs.want([job('3'), job('2'), ended('1')]);
  await after(300);
  expect(asked()).toHaveLength(3);
  watch.dispose();
});

it('says nothing of a job whose cost is unknown', async () => {
  jobCosts.mockResolvedValue([jobCost('1', { cost: [], hourly: null })]);
  costs.want([ended('2'), job('1')]);
  const watch = costs.watch();
  await after(0);
  expect([costs.of('1'), costs.of('2'), costs.of('3')]).toEqual([[], [], []]);
  watch.dispose();
});

it('tries again later where the server does not answer, and keeps what it knew', async () => {
  costs.want([job('1')]);
  const watch = costs.watch();
  await after(0);
  jobCosts.mockRejectedValue(new RequestError('unreachable', 'gone'));
  await after(15_000);
  await after(5_000);
  expect(asked()).toHaveLength(2);
  expect(costs.of('1')[0]?.currency).toBe('USD');
  jobCosts.mockResolvedValue([jobCost('1', { at: 2000, cost: [usd(9)], hourly: null })]);
  await after(10_000);
  expect(costs.of('1')).toEqual([usd(9)]);
  watch.dispose();
});

it('rests while the page is hidden', async () => {
  costs.want([job('1')]);
  hidden = true;
  const watch = costs.watch();
  await after(60_000);
  expect(asked()).toEqual([]);
  hidden = false;
  document.dispatchEvent(new Event('visibilitychange'));
  await after(0);
  expect(asked()).toEqual(['1']);
  watch.dispose();
});
