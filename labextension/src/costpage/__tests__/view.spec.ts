import { describe, expect, it } from 'vitest';

import {
  billQuery,
  dayOf,
  daysBetween,
  daysLater,
  daysOf,
  daysQuery,
  FIRST_VIEW,
  keptOf,
  sortedBy,
  utcDaysOf,
  viewOf,
  type IView
} from '../view';

const NOW = new Date(2026, 10, 25, 23, 30);
const view = (values: Partial<IView>): IView => ({ ...FIRST_VIEW, ...values });

describe('the time of a view', () => {
  it('is of days of the calendar, also over months and years', () => {
    expect(dayOf(NOW)).toBe('2026-11-25');
    expect(daysLater('2026-12-31', 1)).toBe('2027-01-01');
    expect(daysLater('2028-03-01', -1)).toBe('2028-02-29');
    expect(daysBetween('2026-10-30', '2026-11-02')).toEqual([
      '2026-10-30',
      '2026-10-31',
      '2026-11-01',
      '2026-11-02'
    ]);
  });

  it('is what its name says', () => {
    const days = (values: Partial<IView>): string => daysOf(view(values), NOW).join('..');
    expect(days({ span: 'today' })).toBe('2026-11-25..2026-11-25');
    expect(days({ span: 'week' })).toBe('2026-11-19..2026-11-25');
    expect(days({ span: 'month' })).toBe('2026-11-01..2026-11-25');
    expect(days({ span: 'last-month' })).toBe('2026-10-01..2026-10-31');
    expect(days({ span: 'custom', from: '2026-11-03', to: '2026-11-01' })).toBe(
      '2026-11-01..2026-11-03'
    );
    expect(days({ span: 'custom', from: '', to: '2026-11-01' })).toBe('2026-11-01..2026-11-01');
    expect(days({ span: 'custom', from: 'x', to: '' })).toBe('2026-11-25..2026-11-25');
  });

  it('is asked for with all that it is narrowed to; bars are of a week at least', () => {
    const one = view({ span: 'today', by: 'user', narrowed: { pool: 'lab', project: 'vision' } });
    const rest = { pool: 'lab', project: 'vision' };
    expect(billQuery(one, NOW)).toEqual({ period: '2026-11-25..2026-11-25', by: 'user', ...rest });
    expect(daysQuery(one, NOW)).toEqual({ period: '2026-11-19..2026-11-25', by: 'day', ...rest });
    expect(daysQuery(view({ span: 'month' }), NOW).period).toBe('2026-11-01..2026-11-25');
  });

  it('has days of UTC, as far as they have begun', () => {
    const start = Date.parse('2026-11-23T22:00:00Z') / 1000;
    const report = { start, end: start + 3 * 86_400 };
    const now = Date.parse('2026-11-25T03:00:00Z') / 1000;
    expect(utcDaysOf(report, now)).toEqual(['2026-11-23', '2026-11-24', '2026-11-25']);
    expect(utcDaysOf(report, report.end)).toHaveLength(4);
  });
});

describe('a view that is given', () => {
  it('is what was kept of it', () => {
    const one = view({
      span: 'custom',
      from: '2026-11-01',
      to: '2026-11-09',
      by: 'cost_centre',
      narrowed: { user: 'ada' },
      sort: 'idle',
      down: false,
      measure: 'EUR'
    });
    expect(viewOf(keptOf(one))).toEqual(one);
    expect(viewOf(keptOf(FIRST_VIEW))).toEqual(FIRST_VIEW);
  });

  it('is taken from a command, and nonsense is left out', () => {
    const before = view({ span: 'month', narrowed: { user: 'ada' } });
    expect(viewOf({ pool: 'lab', by: 'cost-centre' }, before)).toEqual({
      ...before,
      narrowed: { pool: 'lab' },
      by: 'cost_centre'
    });
    expect(viewOf({ pool: '' }, before).narrowed).toEqual({});
    expect(viewOf({ by: 'mood', span: 'soon', from: '9', sort: 1, down: 2 }, before)).toEqual(
      before
    );
  });

  it('is sorted by what is clicked: the most first, names from A', () => {
    expect(sortedBy(FIRST_VIEW, 'idle')).toEqual({ sort: 'idle', down: true });
    expect(sortedBy(FIRST_VIEW, 'name')).toEqual({ sort: 'name', down: false });
    expect(sortedBy(FIRST_VIEW, 'cost')).toEqual({ sort: 'cost', down: false });
  });
});
