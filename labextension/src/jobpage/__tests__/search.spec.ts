import { describe, expect, it } from 'vitest';

import { fakeApi } from '../../__tests__/fakes';
import type { LogSearch } from '../../api/types';
import { RequestError } from '../../request';
import { LogModel } from '../logmodel';
import { LogSearcher, MOST_MATCHES } from '../search';
import { rows, settle } from './logs';

interface IFound {
  searcher: LogSearcher;
  log: LogModel;
  asked: unknown[];
  jumps: number[];
  answer: (value: LogSearch | RequestError) => Promise<void>;
}

function made(total = 10_000): IFound {
  const asked: unknown[] = [];
  const waiting: ((value: LogSearch | RequestError) => void)[] = [];
  const api = fakeApi({
    searchLog: query => {
      asked.push(query);
      return new Promise((resolve, reject) => {
        waiting.push(value => (value instanceof RequestError ? reject(value) : resolve(value)));
      });
    }
  });
  const log = new LogModel({ api, id: '0abc', rank: 1 });
  log.take(rows({ first: total - 10, count: 10, total }));
  const searcher = new LogSearcher(api);
  const jumps: number[] = [];
  searcher.jumped.connect((_sender, row) => jumps.push(row));
  return {
    searcher,
    log,
    asked,
    jumps,
    answer: async value => {
      waiting.shift()?.(value);
      await settle();
    }
  };
}

const FIND = { text: 'loss', matchCase: false, near: 0 };

describe('a search', () => {
  it('goes on while there is more, and jumps to the first match from where the reader is', async () => {
    const { searcher, log, asked, jumps, answer } = made();
    void searcher.find(log, { ...FIND, near: 4_000 });
    await answer({ rows: [10, 20], more: true, next: 21 });
    expect(jumps).toEqual([]);
    expect(searcher.status).toMatchObject({ position: 0, matches: 2, more: true });

    await answer({ rows: [30, 4_005], more: true, next: 4_500 });
    expect(jumps).toEqual([4_005]);
    await answer({ rows: [5_000], more: false, next: null });

    expect(asked).toEqual([
      { id: '0abc', rank: 1, text: 'loss', matchCase: false, from: 0, limit: 1_000 },
      { id: '0abc', rank: 1, text: 'loss', matchCase: false, from: 21, limit: 1_000 },
      { id: '0abc', rank: 1, text: 'loss', matchCase: false, from: 4_500, limit: 1_000 }
    ]);
    expect(searcher.status).toEqual({
      position: 4,
      matches: 5,
      more: false,
      searching: false,
      problem: null
    });
  });

  it('begins at the top where nothing is found below', async () => {
    const { searcher, log, jumps, answer } = made();
    void searcher.find(log, { ...FIND, near: 4_000 });
    await answer({ rows: [10, 20], more: false, next: null });

    expect(jumps).toEqual([10]);
  });

  it('goes round in both directions', async () => {
    const { searcher, log, jumps, answer } = made();
    void searcher.find(log, FIND);
    await answer({ rows: [10, 20, 30], more: false, next: null });
    await searcher.next();
    await searcher.next();
    await searcher.next();
    searcher.previous();

    expect(jumps).toEqual([10, 20, 30, 10, 30]);
    expect(searcher.row).toBe(30);
  });

  it('looks for new matches where the log has grown', async () => {
    const { searcher, log, asked, jumps, answer } = made(100);
    void searcher.find(log, FIND);
    await answer({ rows: [10], more: false, next: null });
    log.take(rows({ first: 100, count: 100, total: 200 }));
    const next = searcher.next();
    await answer({ rows: [150], more: false, next: null });
    await next;

    expect(asked[1]).toMatchObject({ from: 99 });
    expect(jumps).toEqual([10, 150]);
  });

  it('drops what comes for the one before', async () => {
    const { searcher, log, asked, jumps, answer } = made();
    void searcher.find(log, FIND);
    void searcher.find(log, { ...FIND, text: 'lossless' });
    await answer({ rows: [1, 2, 3], more: true, next: 4 });
    expect(searcher.status.matches).toBe(0);
    await answer({ rows: [7], more: false, next: null });

    expect(jumps).toEqual([7]);
    expect(asked).toHaveLength(2);
  });

  it('goes on where a piece of the log held no match', async () => {
    const { searcher, log, asked, jumps, answer } = made();
    void searcher.find(log, FIND);
    await answer({ rows: [], more: true, next: 6_000 });
    expect(searcher.status).toMatchObject({ matches: 0, more: true, searching: true });
    await answer({ rows: [9_000], more: false, next: null });

    expect(asked[1]).toMatchObject({ from: 6_000 });
    expect(asked).toHaveLength(2);
    expect(jumps).toEqual([9_000]);
    expect(searcher.status).toMatchObject({ matches: 1, more: false, searching: false });
  });

  it('keeps a bounded number of matches', async () => {
    const { searcher, log, asked, answer } = made();
    void searcher.find(log, FIND);
    const found = Array.from({ length: MOST_MATCHES }, (_value, row) => row);
    await answer({ rows: found, more: true, next: MOST_MATCHES });

    expect(asked).toHaveLength(1);
    expect(searcher.status).toMatchObject({ more: true, searching: false });
  });

  it('says why it failed', async () => {
    const { searcher, log, answer } = made();
    const problem = new RequestError('refused', 'too long', { status: 400 });
    void searcher.find(log, FIND);
    await answer(problem);

    expect(searcher.status).toMatchObject({ problem, searching: false });
  });

  it('for nothing asks nothing', async () => {
    const { searcher, log, asked } = made();
    await searcher.find(log, { ...FIND, text: '' });

    expect(asked).toEqual([]);
  });
});
