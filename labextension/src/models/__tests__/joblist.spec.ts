import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { FakeStream, fakeApi } from '../../__tests__/fakes';
import { ended, job, jobsNews } from '../../__tests__/samples';
import type { JobItem, JobPage } from '../../api/types';
import { RequestError } from '../../request';
import type { IAiInfraApi } from '../../tokens';
import { JobList, PAGE } from '../joblist';
import { JobsModel } from '../jobs';

const asked = vi.fn<IAiInfraApi['jobs']>();
let stream: FakeStream;
let list: JobList;

const ids = (): string[] => list.rows.map(({ id }) => id);
const page = (jobs: JobItem[], more = false): Promise<JobPage> => Promise.resolve({ jobs, more });

/** Ended jobs of these numbers, newest first. */
function range(from: number, to: number): JobItem[] {
  return Array.from({ length: from - to + 1 }, (_, index) => ended(String(from - index)));
}

beforeEach(() => {
  vi.useFakeTimers();
  asked.mockReset();
  stream = new FakeStream();
  const api = fakeApi({ jobs: asked });
  list = new JobList({ jobs: new JobsModel({ api, stream }), api });
});

afterEach(() => {
  list.dispose();
  vi.useRealTimers();
});

describe('a list of which all is known', () => {
  beforeEach(() => {
    stream.say(
      jobsNews(
        [
          job('3', { name: 'Digits' }),
          ended('2', { pool: 'big', notebook: 'lab/train.ipynb' }),
          ended('1', { state: 'failed' })
        ],
        { reset: true }
      )
    );
  });

  it.each([
    ['digits', ['3']],
    ['BIG', ['2']],
    ['train.ipynb', ['2']],
    ['  1 ', ['1']],
    ['nothing', []]
  ])('is narrowed by %j at once', (search, expected) => {
    list.narrow({ search });
    expect(ids()).toEqual(expected);
  });

  it('shows as well what the server finds elsewhere, in the code say', async () => {
    asked.mockReturnValue(page([ended('1', { state: 'failed' })]));
    list.narrow({ search: 'digits' });
    await vi.advanceTimersByTimeAsync(1000);
    expect(asked).toHaveBeenCalledWith({ search: 'digits', limit: PAGE });
    expect(ids()).toEqual(['3', '1']);
    list.narrow({ search: '' });
    expect(ids()).toEqual(['3', '2', '1']);
  });

  it.each([
    ['active', ['3']],
    ['ended', ['2', '1']],
    ['failed', ['1']],
    ['', ['3', '2', '1']]
  ] as const)('is narrowed to the state %j', (state, expected) => {
    list.narrow({ state });
    expect(ids()).toEqual(expected);
  });

  it('follows the jobs', () => {
    list.narrow({ state: 'active' });
    stream.say(jobsNews([ended('3'), job('4')]));
    expect(ids()).toEqual(['4']);
  });
});

describe('a list that goes on at the server', () => {
  beforeEach(() => {
    stream.say(jobsNews(range(300, 201), { reset: true, more: true }));
  });

  it('asks for what comes next when more is wanted', async () => {
    asked
      .mockReturnValueOnce(page(range(200, 101), true))
      .mockReturnValueOnce(page(range(100, 99)));
    list.showMore();
    expect(list.isAsking).toBe(true);
    await vi.advanceTimersByTimeAsync(0);
    expect(asked).toHaveBeenLastCalledWith({ before: '201', limit: PAGE });
    expect([list.rows.length, list.more, list.isAsking]).toEqual([200, true, false]);

    list.showMore();
    await vi.advanceTimersByTimeAsync(0);
    expect(asked).toHaveBeenLastCalledWith({ before: '101', limit: PAGE });
    expect([ids().at(-1), list.more]).toEqual(['99', false]);
  });

  it('asks for what is looked for, once the typing has paused', async () => {
    asked.mockReturnValue(page([ended('7')]));
    list.narrow({ search: 'name of ' });
    list.narrow({ search: 'name of 7' });
    expect(ids()).toEqual([]);
    await vi.advanceTimersByTimeAsync(1000);

    expect(asked).toHaveBeenCalledOnce();
    expect(asked).toHaveBeenCalledWith({ search: 'name of 7', limit: PAGE });
    expect(ids()).toEqual(['7']);
    expect(list.more).toBe(false);
  });

  it('asks for a state at once', async () => {
    asked.mockReturnValue(page([job('9')]));
    list.narrow({ state: 'active' });
    await vi.advanceTimersByTimeAsync(1);
    expect(asked).toHaveBeenCalledWith({ state: 'active', before: '201', limit: PAGE });
    expect(ids()).toEqual(['9']);
  });

  it('shows no row among which others are missing, but for those that go on', async () => {
    asked.mockReturnValue(page([ended('7'), job('8')]));
    list.narrow({ search: 'name' });
    await vi.advanceTimersByTimeAsync(1000);
    list.narrow({ search: '' });
    list.showMore();
    asked.mockClear();

    expect(ids().at(-1)).toBe('8');
    expect(ids()).not.toContain('7');
  });

  it('forgets the answer to a question that is no longer asked', async () => {
    let answer: (page: JobPage) => void = () => undefined;
    asked.mockReturnValueOnce(new Promise(resolve => (answer = resolve)));
    list.narrow({ state: 'failed' });
    await vi.advanceTimersByTimeAsync(1);
    list.narrow({ state: '' });
    answer({ jobs: [ended('7')], more: false });
    await vi.advanceTimersByTimeAsync(0);
    expect([list.rows.length, list.more]).toEqual([100, true]);
  });

  it('asks again after a reconnect', async () => {
    asked.mockReturnValue(page([ended('7')]));
    list.narrow({ search: 'name of 7' });
    await vi.advanceTimersByTimeAsync(1000);
    stream.say({ type: 'hello', version: '1', instance: 'y' });
    stream.say(jobsNews(range(300, 201), { reset: true, more: true }));
    await vi.advanceTimersByTimeAsync(1);

    expect(asked).toHaveBeenCalledTimes(2);
    expect(ids()).toEqual(['7']);
  });

  it('says why there is no answer, and asks again when told to', async () => {
    asked.mockRejectedValueOnce(new RequestError('unreachable', 'gone'));
    list.narrow({ state: 'failed' });
    await vi.advanceTimersByTimeAsync(1);
    expect(list.problem?.message).toBe('gone');

    asked.mockReturnValueOnce(page([ended('7', { state: 'failed' })]));
    list.showMore();
    await vi.advanceTimersByTimeAsync(0);
    expect(list.problem).toBeNull();
    expect(ids()).toEqual(['7']);
  });
});

it('draws no more rows than were asked for, though more are known', () => {
  stream.say(jobsNews(range(250, 1), { reset: true }));
  expect([list.rows.length, list.more]).toEqual([100, true]);
  list.showMore();
  list.showMore();
  expect([list.rows.length, list.more]).toEqual([250, false]);
});
