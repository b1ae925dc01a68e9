import { describe, expect, it } from 'vitest';

import { dollars, jobCost, price } from '../../__tests__/samples';
import type { JobCostItem } from '../../api/types';
import { costLine, idleShare, momentText, priceLine } from '../jobline';
import { ENGLISH } from '../text';

const line = (item: JobCostItem, runs = true): string =>
  costLine(item, { cost: item.cost, runs, trans: ENGLISH });

describe('what a job costs, in one line', () => {
  it('names all that is known while it runs', () => {
    const finish = new Date();
    finish.setHours(17, 40);
    const item = jobCost('1', {
      step_cost: dollars('0.0021', '$0.0021'),
      projected: dollars('6.5'),
      finish_at: finish.getTime() / 1000,
      used_seconds: 2_700,
      idle_seconds: 900
    });
    const at = momentText(item.finish_at ?? 0);
    expect(at).toMatch(/40/);
    expect(line(item)).toBe(
      '$2.49 so far · $4.98/h · $0.0021 a step · ' +
        `about $6.50 in all, done at ${at} · 25 % idle, about $0.62`
    );
  });

  it('leaves out what is unknown, and is no forecast any more when it is over', () => {
    expect(line(jobCost('1'))).toBe('$2.49 so far · $4.98/h');
    const over = jobCost('1', { hourly: null, step_cost: dollars('0.5'), projected: dollars('3') });
    expect(line(over, false)).toBe('$2.49 in all · $0.50 a step');
  });

  it('says why it is unknown, and never that it is nothing', () => {
    const reason = 'pool here has no price';
    expect(line(jobCost('1', { cost: [], hourly: null, reason }))).toBe(`cost n/a: ${reason}`);
    expect(line(jobCost('1', { cost: [], hourly: null }))).toBe('');
  });

  it('says that a part has no price', () => {
    const item = jobCost('1', { unpriced_seconds: 60, reason: 'no price before noon' });
    expect(line(item, false)).toBe(
      '$2.49 in all, without what has no price (no price before noon)'
    );
  });

  it('knows of no idle part where nobody has read the GPUs', () => {
    expect(idleShare(jobCost('1'))).toBeNull();
    expect(idleShare(jobCost('1', { used_seconds: 30, idle_seconds: 10 }))).toBe(0.25);
    expect(line(jobCost('1', { used_seconds: 3_599, idle_seconds: 1 }))).not.toContain('idle');
  });
});

it('names the price and its age', () => {
  expect(priceLine(jobCost('1'), ENGLISH)).toBe('price $2.49/GPU-h · 12 days old');
  expect(priceLine(jobCost('1', { price: price({ age_days: 200, old: true }) }), ENGLISH)).toBe(
    'price $2.49/GPU-h · 200 days old, may have changed'
  );
  expect(priceLine(jobCost('1', { price: null }), ENGLISH)).toBe('');
});

it('names the day of another day', () => {
  const now = new Date(2026, 10, 25, 12, 0).getTime() / 1000;
  expect(momentText(now, now)).not.toMatch(/25/);
  expect(momentText(now + 3 * 86_400, now)).toMatch(/28/);
});
