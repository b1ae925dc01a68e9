import { afterEach, describe, expect, it, vi } from 'vitest';

import { fakeApi } from '../../__tests__/fakes';
import type { LogRows } from '../../api/types';
import { RequestError } from '../../request';
import type { IAiInfraApi } from '../../tokens';
import { LogModel, MOST_PAGES, PAGE_ROWS } from '../logmodel';
import { row, rows, settle } from './logs';

type Asked = Parameters<IAiInfraApi['logRows']>[0];

/** A model on a server whose answers the test gives, one by one. */
function held(): {
  model: LogModel;
  asked: Asked[];
  answer: (index: number, value: LogRows | RequestError) => Promise<void>;
} {
  const asked: Asked[] = [];
  const waiting: ((value: LogRows | RequestError) => void)[] = [];
  const api = fakeApi({
    logRows: query => {
      asked.push(query);
      return new Promise((resolve, reject) => {
        waiting.push(value => (value instanceof RequestError ? reject(value) : resolve(value)));
      });
    }
  });
  const model = new LogModel({ api, id: '0abc', rank: 0 });
  return {
    model,
    asked,
    answer: async (index, value) => {
      waiting[index]?.(value);
      await settle();
    }
  };
}

function served(total: number): { model: LogModel; asked: Asked[] } {
  const asked: Asked[] = [];
  const api = fakeApi({
    logRows: query => {
      asked.push(query);
      return Promise.resolve(rows({ ...query, total }));
    }
  });
  return { model: new LogModel({ api, id: '0abc', rank: 0 }), asked };
}

afterEach(() => {
  vi.useRealTimers();
});

describe('a log of five million rows', () => {
  const total = 5_000_000;

  it('asks for the end first, and then only for what is looked at', async () => {
    const { model, asked } = served(total);
    model.begin();
    await settle();

    expect(asked).toEqual([{ id: '0abc', rank: 0, first: -PAGE_ROWS, count: PAGE_ROWS }]);
    expect(model.totalRows).toBe(total);
    expect(model.row(total - 1)).toEqual(row(total - 1));

    model.need(2_500_100, 2_500_150);
    await settle();

    expect(asked.slice(1)).toEqual([{ id: '0abc', rank: 0, first: 2_500_100, count: 100 }]);
    expect(model.row(2_500_123)).toEqual(row(2_500_123));
    expect(model.row(2_499_999)).toBeUndefined();
  });

  it('holds a bounded number of pages, and what is looked at among them', async () => {
    const { model } = served(total);
    model.take(rows({ first: total - 10, count: 10, total }));
    for (let first = 0; first < 200 * PAGE_ROWS; first += PAGE_ROWS) {
      model.need(first, first + 50);
      await settle();
    }

    expect(model.pages).toBeLessThanOrEqual(MOST_PAGES);
    expect(model.row(199 * PAGE_ROWS)).toBeDefined();
    expect(model.row(0)).toBeUndefined();
  });

  it('holds fewer pages of long rows', async () => {
    const asked: Asked[] = [];
    const text = 'x'.repeat(10_000);
    const api = fakeApi({
      logRows: query => {
        asked.push(query);
        const answer = rows({ ...query, total });
        return Promise.resolve({ ...answer, rows: answer.rows.map(each => ({ ...each, text })) });
      }
    });
    const model = new LogModel({ api, id: '0abc', rank: 0 });
    model.take(rows({ first: total - 10, count: 10, total }));
    for (let first = 0; first < 20 * PAGE_ROWS; first += PAGE_ROWS) {
      model.need(first, first + 50);
      await settle();
    }

    expect(model.pages).toBeLessThanOrEqual(8);
    expect(model.row(19 * PAGE_ROWS)?.text).toBe(text);
  });
});

describe('requests', () => {
  it('are not made twice for one page, and not for what was scrolled past', async () => {
    const { model, asked, answer } = held();
    model.take(rows({ first: 99_990, count: 10, total: 100_000 }));
    model.need(0, 50);
    model.need(10, 60);
    expect(asked).toHaveLength(1);

    for (let first = 1_000; first < 50_000; first += 1_000) {
      model.need(first, first + 50);
    }
    expect(asked).toHaveLength(3);

    await answer(0, rows({ first: 0, count: 200, total: 100_000 }));
    expect(asked.map(({ first }) => first)).toEqual([0, 1_000, 2_000, 49_000]);
  });

  it('go on where an answer was cut short', async () => {
    const { model, asked, answer } = held();
    model.take(rows({ first: 990, count: 10, total: 1000 }));
    model.need(0, 200);
    await answer(0, rows({ first: 0, count: 80, total: 1000 }));

    expect(asked[1]).toEqual({ id: '0abc', rank: 0, first: 80, count: 120 });
  });

  it('pause where nothing comes, instead of asking for ever', async () => {
    vi.useFakeTimers();
    const { model, asked, answer } = held();
    model.take(rows({ first: 990, count: 10, total: 1000 }));
    model.need(0, 50);
    await answer(0, { ...rows({ first: 0, count: 0, total: 1000 }), rows: [] });

    expect(model.problem?.message).toContain('no rows');
    expect(asked).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(asked).toHaveLength(2);
  });

  it('that fail are made again after growing pauses, and at once when told to', async () => {
    vi.useFakeTimers();
    const { model, asked, answer } = held();
    const lost = new RequestError('unreachable', 'no answer');
    model.begin();
    await answer(0, lost);
    expect(model.problem).toBe(lost);

    await vi.advanceTimersByTimeAsync(999);
    expect(asked).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(1);
    await answer(1, lost);
    await vi.advanceTimersByTimeAsync(1_999);
    expect(asked).toHaveLength(2);

    model.retry();
    expect(asked).toHaveLength(3);
    await answer(2, rows({ first: 0, count: 3, total: 3 }));
    expect(model.problem).toBeNull();
    expect(model.totalRows).toBe(3);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(asked).toHaveLength(3);
  });
});

describe('what the stream says', () => {
  it('is put by row number: nothing is there twice after a reconnect', () => {
    const { model } = served(0);
    model.take(rows({ first: 0, count: 10, total: 10 }));
    model.take(rows({ first: 0, count: 10, total: 10 }));
    model.take(rows({ first: 5, count: 10, total: 15 }));

    expect(model.totalRows).toBe(15);
    expect(Array.from({ length: 15 }, (_none, at) => model.row(at)?.text)).toEqual(
      Array.from({ length: 15 }, (_none, at) => `line ${at}`)
    );
  });

  it('is not undone by an answer that it has overtaken', async () => {
    const { model, answer } = held();
    model.take(rows({ first: 0, count: 10, total: 10 }));
    model.begin();
    model.need(0, 10);
    model.take(rows({ first: 190, count: 10, total: 200 }));
    model.need(0, 200);
    const news = rows({ first: 100, count: 100, total: 200 }, { total_bytes: 5_000 });
    news.rows[99] = row(199, { text: '99 %' });
    model.take(news);
    await answer(0, {
      ...rows({ first: 10, count: 190, total: 200 }, { total_bytes: 4_000 }),
      rows: rows({ first: 10, count: 190, total: 200 }).rows.map(each => ({ ...each, text: 'old' }))
    });

    expect(model.row(199)?.text).toBe('99 %');
    expect(model.row(20)?.text).toBe('old'); // so far up it has not changed since
    expect(model.totalBytes).toBe(5_000);
  });

  it('makes rows that could have changed be asked for again', async () => {
    const { model, asked, answer } = held();
    model.take(rows({ first: 0, count: 100, total: 100 }));
    model.need(0, 100);
    expect(asked).toHaveLength(0);

    model.take(rows({ first: 900, count: 100, total: 1000 }));
    model.need(0, 100);
    expect(asked).toEqual([{ id: '0abc', rank: 0, first: 34, count: 166 }]);
    expect(model.row(99)).toBeDefined(); // shown until the new one is here

    await answer(0, rows({ first: 34, count: 166, total: 1000 }));
    model.need(0, 100);
    expect(asked).toHaveLength(1);
  });

  it('may take rows back that turned out to repeat others', () => {
    const { model } = served(0);
    model.take(rows({ first: 0, count: 4, total: 4 }));
    const folded = rows({ first: 0, count: 3, total: 3 }, { total_bytes: 60, total_lines: 5 });
    folded.rows[2] = row(2, { repeat: 3 });
    model.take(folded);

    expect(model.totalRows).toBe(3);
    expect(model.row(3)).toBeUndefined();
    expect(model.row(2)?.repeat).toBe(3);
  });

  it('begins anew with a log that was begun anew, and drops answers about the old one', async () => {
    const { model, answer } = held();
    model.take(rows({ first: 900, count: 100, total: 1000 }));
    model.need(0, 50);
    model.take(rows({ first: 0, count: 2, total: 2 }));
    await answer(0, rows({ first: 0, count: 200, total: 1000 }));

    expect(model.totalRows).toBe(2);
    expect(model.generation).toBe(1);
    expect(model.row(100)).toBeUndefined();
  });
});

describe('the whole as text', () => {
  it('is asked for piece by piece, up to a limit', async () => {
    const { model, asked } = served(10_000);
    const { text, rows: taken, total } = await model.text(5_000, each => each.text);

    expect(asked.map(({ first, count }) => [first, count])).toEqual([
      [0, 2_000],
      [2_000, 2_000],
      [4_000, 1_000]
    ]);
    expect(text.split('\n')).toHaveLength(5_000);
    expect(text.endsWith('line 4999')).toBe(true);
    expect({ taken, total }).toEqual({ taken: 5_000, total: 10_000 });
  });

  it('is empty for a log without output', async () => {
    const { model } = served(0);

    expect(await model.text(10, each => each.text)).toEqual({ text: '', rows: 0, total: 0 });
  });
});
