import { afterEach, beforeEach, expect, it, vi } from 'vitest';

import { dollars, jobCost } from '../../__tests__/samples';
import type { JobCostItem } from '../../api/types';
import { RequestError } from '../../request';
import { CostFeed } from '../costfeed';

const jobCosts = vi.fn<(ids: readonly string[]) => Promise<JobCostItem[]>>();
const onCost = vi.fn();
let feed: CostFeed;

beforeEach(() => {
  vi.useFakeTimers();
  jobCosts.mockReset();
  onCost.mockReset();
  jobCosts.mockResolvedValue([jobCost('1', { at: 10, cost: [dollars('7')] })]);
  feed = new CostFeed({ api: { jobCosts }, id: '1', onCost });
});

afterEach(() => {
  feed.dispose();
  vi.useRealTimers();
});

it('asks only where nothing was told for a while, and somebody looks', async () => {
  await vi.advanceTimersByTimeAsync(100_000);
  expect(jobCosts).not.toHaveBeenCalled();
  feed.wanted = true;
  feed.take(jobCost('1', { at: 5 }));
  await vi.advanceTimersByTimeAsync(29_000);
  feed.take(jobCost('1', { at: 6 }));
  await vi.advanceTimersByTimeAsync(29_000);
  expect(jobCosts).not.toHaveBeenCalled();
  await vi.advanceTimersByTimeAsync(2_000);
  expect(jobCosts).toHaveBeenCalledExactlyOnceWith(['1']);
  expect(feed.item?.cost).toEqual([dollars('7')]);
  expect(onCost).toHaveBeenCalledTimes(1);
  await vi.advanceTimersByTimeAsync(30_000);
  expect(jobCosts).toHaveBeenCalledTimes(2);
  feed.wanted = false;
  await vi.advanceTimersByTimeAsync(100_000);
  expect(jobCosts).toHaveBeenCalledTimes(2);
});

it('keeps the newest, whichever way it came', () => {
  feed.take(jobCost('1', { at: 10, cost: [dollars('7')] }));
  feed.take(jobCost('1', { at: 9, cost: [dollars('6')] }));
  feed.take(null);
  expect(feed.item?.cost).toEqual([dollars('7')]);
});

it('goes on asking when the server is back', async () => {
  jobCosts.mockRejectedValueOnce(new RequestError('unreachable', 'nobody answers'));
  feed.wanted = true;
  await vi.advanceTimersByTimeAsync(30_000);
  expect([feed.item, onCost.mock.calls.length]).toEqual([null, 0]);
  await vi.advanceTimersByTimeAsync(30_000);
  expect(feed.item?.at).toBe(10);
});
