/** Bills that tests are made of. */

import type { Amount, CostLine, CostReport } from '../../api/types';

export const HOUR = 3_600;
/** A midnight of UTC: that of 2026-11-19. */
export const START = Date.parse('2026-11-19T00:00:00Z') / 1000;

export function usd(amount: number): Amount[] {
  return [{ amount: String(amount), currency: 'USD', text: `$${amount.toFixed(2)}` }];
}

export function eur(amount: number): Amount[] {
  return [{ amount: String(amount), currency: 'EUR', text: `€${amount.toFixed(2)}` }];
}

/** A line of two GPU-hours, half of them used, a quarter idle, at two dollars each. */
export function line(key: string | null, values: Partial<CostLine> = {}): CostLine {
  return {
    key,
    name: null,
    unallocated: false,
    allocated_seconds: 2 * HOUR,
    used_seconds: HOUR,
    idle_seconds: HOUR / 2,
    node_seconds: 0,
    unpriced_seconds: 0,
    cost: usd(4),
    used_cost: usd(2),
    idle_cost: usd(1),
    ...values
  };
}

/** What nobody was given. */
export function nobody(key: string | null, values: Partial<CostLine> = {}): CostLine {
  const none = { used_seconds: 0, idle_seconds: 0, used_cost: [], idle_cost: [] };
  return line(key, { ...none, unallocated: true, cost: usd(3), ...values });
}

export function report(lines: CostLine[], values: Partial<CostReport> = {}): CostReport {
  const sum = (name: 'allocated_seconds' | 'used_seconds' | 'idle_seconds'): number =>
    lines.reduce((all, each) => all + each[name], 0);
  return {
    start: START,
    end: START + 7 * 24 * HOUR,
    by: 'job',
    lines,
    total: line(null, {
      allocated_seconds: sum('allocated_seconds'),
      used_seconds: sum('used_seconds'),
      idle_seconds: sum('idle_seconds'),
      cost: usd(lines.reduce((all, { cost }) => all + Number(cost[0]?.amount ?? 0), 0)),
      idle_cost: usd(1)
    }),
    ...values
  };
}
