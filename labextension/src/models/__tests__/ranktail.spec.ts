import { describe, expect, it } from 'vitest';

import type { LogRow, LogRows } from '../../api/types';
import { LogState } from '../../widgets/log';
import { RankTail, TAIL_ROWS } from '../ranktail';

function row(line: number, changes: Partial<LogRow> = {}): LogRow {
  return { text: `line ${line}`, line, repeat: 1, left_out: 0, ...changes };
}

/** What the server says of a log of `total` different lines: rows from `first` on. */
function rows(first: number, total: number, changes: Partial<LogRows> = {}): LogRows {
  const all = Array.from({ length: total - first }, (_, index) => row(first + index + 1));
  return {
    rank: 0,
    first,
    rows: all,
    total_rows: total,
    total_lines: total,
    total_bytes: total * 8,
    complete: false,
    ...changes
  };
}

function texts(tail: RankTail): string[] {
  return tail.log.tail.map(([text]) => text);
}

describe('the tail of a log', () => {
  it('comes whole at first, and then only what is new of it', () => {
    const tail = new RankTail();
    expect(tail.take(rows(0, 2))?.tail).toEqual([['line 1'], ['line 2']]);
    const change = tail.take(rows(0, 3));
    expect(change?.tail).toBeUndefined();
    expect(change?.splices).toEqual([[2, 0, [['line 3']]]]);
    expect(change?.counts?.summary).toBe('3 lines');
    expect(tail.take(rows(1, 3))).toBeNull();
  });

  it('draws a row again that a progress bar has changed', () => {
    const tail = new RankTail();
    tail.take(rows(0, 3));
    const change = tail.take(rows(2, 3, { rows: [row(3, { text: '50 %' })], total_bytes: 30 }));
    expect(change?.splices).toEqual([[2, 1, [['50 %']]]]);
  });

  it('keeps no more than so many rows, and counts what is left out', () => {
    const tail = new RankTail();
    tail.take(rows(0, TAIL_ROWS));
    const change = tail.take(rows(TAIL_ROWS - 1, TAIL_ROWS + 5));
    expect(change?.splices?.at(-1)).toEqual([0, 5, []]);
    expect(texts(tail)).toHaveLength(TAIL_ROWS);
    expect(texts(tail)[0]).toBe('line 6');
    expect(tail.log.counts.left_out).toBe(5);
    expect(tail.lacksHead).toBe(true);
    const whole = tail.takeHead(rows(0, 20).rows);
    expect(whole?.head).toHaveLength(5);
    expect(tail.log.counts).toMatchObject({ left_out: 0, seen: TAIL_ROWS + 5 });
  });

  it('begins anew where lines were missed, or the log is another one', () => {
    const tail = new RankTail();
    tail.take(rows(0, 10));
    expect(tail.take(rows(50, 60))?.tail).toHaveLength(10);
    expect(tail.log.counts.left_out).toBe(50);
    tail.take(rows(0, 2));
    expect(texts(tail)).toEqual(['line 1', 'line 2']);
    expect(tail.log.head).toEqual([]);
  });

  it('says how many lines a row stands for, and how much of one is not shown', () => {
    const tail = new RankTail();
    const folded = [row(1, { repeat: 40 }), row(41, { left_out: 900 })];
    tail.take(rows(0, 2, { rows: folded, total_lines: 41 }));
    expect(tail.log.tail).toEqual([
      ['line 1', 40],
      ['line 41', 1, 900]
    ]);
    expect(tail.log.counts).toMatchObject({ seen: 41, shown: 2, folded: 39, left_out: 0 });
  });

  it('leads a page that follows it by changes to where it is itself', () => {
    const tail = new RankTail();
    const page = new LogState();
    let seq = 0;
    for (let total = 1; total < 700; total += 7) {
      const change = tail.take(rows(Math.max(0, total - 30), total));
      if (change) {
        page.apply({ seq, base: seq - 1, ranks: { '0': change } });
        seq += 1;
      }
      if (tail.lacksHead && total > 300) {
        const head = tail.takeHead(rows(0, 20).rows);
        if (head) {
          page.apply({ seq, base: seq - 1, ranks: { '0': head } });
          seq += 1;
        }
      }
    }
    expect(page.ranks.get(0)).toEqual(tail.log);
    expect(tail.log.head).toHaveLength(20);
  });
});
