import { afterEach, beforeEach, expect, it, vi } from 'vitest';

import { fakeApi, FakeStream } from '../../__tests__/fakes';
import { dollars, job, jobsNews } from '../../__tests__/samples';
import type { CostSummary } from '../../api/types';
import { RequestError } from '../../request';
import { JobsModel } from '../jobs';
import { SpendModel } from '../spend';

const costNow = vi.fn<() => Promise<CostSummary>>();
let stream: FakeStream;
let model: SpendModel;
let hidden = false;

function summary(hourly: string): CostSummary {
  return {
    at: 1,
    hourly: [dollars(hourly)],
    today: [],
    month: [],
    pools: [],
    unpriced_jobs: 0
  };
}

function hide(value: boolean): void {
  hidden = value;
  document.dispatchEvent(new Event('visibilitychange'));
}

const asked = (): number => costNow.mock.calls.length;
const pass = (seconds: number): Promise<unknown> => vi.advanceTimersByTimeAsync(seconds * 1000);

beforeEach(() => {
  vi.useFakeTimers();
  hidden = false;
  vi.spyOn(document, 'hidden', 'get').mockImplementation(() => hidden);
  costNow.mockReset();
  costNow.mockResolvedValue(summary('4.1'));
  stream = new FakeStream();
  const api = fakeApi({ costNow });
  model = new SpendModel({ api, jobs: new JobsModel({ api, stream }) });
});

afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

it('asks while somebody watches, often only while jobs go on', async () => {
  await pass(1_000);
  expect(asked()).toBe(0);
  const [one, other] = [model.watch(), model.watch()];
  stream.say(jobsNews([job('1')], { reset: true, active: 1 }));
  await pass(1);
  expect(asked()).toBe(1);
  expect(model.now?.hourly).toEqual([dollars('4.1')]);
  one.dispose();
  await pass(45);
  expect(asked()).toBe(4);
  stream.say(jobsNews([], { active: 0 }));
  await pass(1);
  expect(asked()).toBe(5);
  await pass(290);
  expect(asked()).toBe(5);
  await pass(20);
  expect(asked()).toBe(6);
  other.dispose();
  await pass(1_000);
  expect(asked()).toBe(6);
  expect(stream.watched).toEqual([]);
});

it('asks soon after a job begins or ends', async () => {
  const watch = model.watch();
  stream.say(jobsNews([], { reset: true, active: 0 }));
  await pass(2);
  const before = asked();
  stream.say(jobsNews([job('1')], { active: 1 }));
  await pass(0.6);
  expect(asked()).toBe(before + 1);
  stream.say(jobsNews([job('1', { version: 2 })], { active: 1 }));
  await pass(0.6);
  expect(asked()).toBe(before + 1);
  watch.dispose();
});

it('rests while the page is hidden, and asks at once when it is not', async () => {
  const watch = model.watch();
  await pass(1);
  const before = asked();
  hide(true);
  model.refresh();
  await pass(1_000);
  expect(asked()).toBe(before);
  hide(false);
  await pass(0.1);
  expect(asked()).toBe(before + 1);
  watch.dispose();
});

it('keeps what it knew where there is no answer, and goes on asking', async () => {
  const changed = vi.fn();
  model.changed.connect(changed);
  const watch = model.watch();
  await pass(1);
  costNow.mockRejectedValueOnce(new RequestError('unreachable', 'nobody answers'));
  await pass(15);
  expect(model.problem?.message).toBe('nobody answers');
  expect(model.now?.hourly).toEqual([dollars('4.1')]);
  costNow.mockResolvedValue(summary('5'));
  await pass(15);
  expect(model.problem).toBeNull();
  expect(model.now?.hourly).toEqual([dollars('5')]);
  expect(changed).toHaveBeenCalledTimes(3);
  watch.dispose();
});
