import { describe, expect, it } from 'vitest';

import {
  barsOf,
  GPU_HOURS,
  idleOf,
  marksOf,
  measureOf,
  measuresOf,
  NODE_HOURS,
  sumOf
} from '../bars';
import { eur, HOUR, line, nobody, report, usd } from './reports';

const DAYS = ['2026-11-19', '2026-11-20', '2026-11-21'];
const days = report([line(DAYS[0] ?? ''), nobody(DAYS[0] ?? ''), line(DAYS[2] ?? '')], {
  by: 'day'
});

describe('bars', () => {
  it('split what jobs had from what nobody had, and have each day', () => {
    const bars = barsOf(days, 'USD', DAYS);
    expect(bars.map(({ day, whole }) => [day, whole])).toEqual([
      ['2026-11-19', 7],
      ['2026-11-20', 0],
      ['2026-11-21', 4]
    ]);
    expect(bars[0]?.parts).toEqual({ used: 2, idle: 1, unknown: 1, nobody: 3 });
    expect(sumOf(bars)).toEqual({ used: 4, idle: 2, unknown: 2, nobody: 3 });
  });

  it('never put two currencies into one', () => {
    const both = report([line('2026-11-19', { cost: [...eur(9), ...usd(4)], used_cost: eur(9) })], {
      total: line(null, { cost: [...eur(9), ...usd(4)] })
    });
    expect(measuresOf(both)).toEqual(['EUR', 'USD', GPU_HOURS]);
    expect(measureOf(both, 'USD')).toBe('USD');
    expect(measureOf(both, 'CHF')).toBe('EUR');
    expect(measureOf({ ...both, lines: [...both.lines, line('2026-11-20')] }, null)).toBe('USD');
    expect(barsOf(both, 'USD', DAYS)[0]?.whole).toBe(4);
    expect(barsOf(both, 'EUR', DAYS)[0]?.whole).toBe(9);
  });

  it('are hours where nothing has a price', () => {
    const bare = { cost: [], used_cost: [], idle_cost: [], unpriced_seconds: 2 * HOUR };
    const unknown = report([line('2026-11-19', bare)], { total: line(null, bare) });
    expect(measureOf(unknown, null)).toBe(GPU_HOURS);
    expect(barsOf(unknown, GPU_HOURS, DAYS)[0]?.parts).toEqual({
      used: 1,
      idle: 0.5,
      unknown: 0.5,
      nobody: 0
    });
    const nodes = line('2026-11-19', { ...bare, allocated_seconds: 0, node_seconds: HOUR });
    expect(measuresOf(report([nodes], { total: nodes }))).toEqual([NODE_HOURS]);
    expect(barsOf(report([nodes]), NODE_HOURS, DAYS)[0]?.parts.unknown).toBe(1);
  });

  it('have an axis of round numbers', () => {
    expect(marksOf(7)).toEqual([0, 2, 4, 6, 8]);
    expect(marksOf(0)).toEqual([0, 1]);
    expect(marksOf(100)).toEqual([0, 25, 50, 75, 100]);
    for (const most of [0.003, 0.7, 3.2, 19, 101, 7_777]) {
      const marks = marksOf(most);
      expect(marks.at(-1)).toBeGreaterThanOrEqual(most * 0.999);
      expect(marks.length).toBeLessThanOrEqual(6);
      expect(marks.length).toBeGreaterThanOrEqual(3);
    }
  });
});

describe('what is idle', () => {
  it('is of the time of jobs in which GPUs were read', () => {
    const { share, known, cost } = idleOf(report([line('a'), line('b'), nobody(null)]));
    expect(share).toBeCloseTo(1 / 3);
    expect(known).toBeCloseTo(0.75);
    expect(cost).toEqual([{ amount: '2', currency: 'USD', text: '$2.00' }]);
  });

  it('is unknown where nobody read them, and not 0', () => {
    const unread = line('a', { used_seconds: 0, idle_seconds: 0, idle_cost: [] });
    expect(idleOf(report([unread]))).toEqual({ share: null, known: 0, cost: [] });
    expect(idleOf(report([nobody(null)]))).toEqual({ share: null, known: null, cost: [] });
  });
});
