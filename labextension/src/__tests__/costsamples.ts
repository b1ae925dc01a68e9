/** Amounts, budgets and prices of which a test says only what matters to it. */

import type { Amount, BudgetItem, CostSummary, JobCostItem, Notice, PriceItem } from '../api/types';
import { moneyText } from '../cost/text';

export function usd(amount: number): Amount {
  return { amount: String(amount), currency: 'USD', text: moneyText(amount, 'USD') };
}

export function eur(amount: number): Amount {
  return { amount: String(amount), currency: 'EUR', text: moneyText(amount, 'EUR') };
}

export function budget(id: string, values: Partial<BudgetItem> = {}): BudgetItem {
  return {
    id,
    name: `$20.00 a month for pool ${id}`,
    scope: 'pool',
    subject: id,
    period: 'month',
    action: 'stop',
    limit: usd(20),
    warn_share: 0.8,
    grace_seconds: null,
    ask_seconds: 900,
    window: '2026-11',
    window_start: Date.UTC(2026, 10, 1) / 1000,
    window_end: Date.UTC(2026, 11, 1) / 1000,
    spent: usd(5),
    share: 0.25,
    reach: 'within',
    snoozed: false,
    snoozed_until: null,
    snoozed_by: null,
    problem: '',
    hourly: null,
    spent_at: null,
    jobs: [],
    asks_until: null,
    decided_at: null,
    created_at: 1000,
    created_by: 'ada',
    ...values
  };
}

export function notice(values: Partial<Notice> = {}): Notice {
  return {
    kind: 'warning',
    text: 'budget of $20.00 for pool here: $17.00 of $20.00 spent',
    by: 'b1',
    at: 1000,
    until: null,
    grace_seconds: null,
    ...values
  };
}

export function jobCost(job: string, values: Partial<JobCostItem> = {}): JobCostItem {
  return {
    job,
    at: 1000,
    cost: [usd(1.5)],
    hourly: usd(3.6),
    step_cost: null,
    projected: null,
    finish_at: null,
    allocated_seconds: 0,
    used_seconds: 0,
    idle_seconds: 0,
    node_seconds: 0,
    unpriced_seconds: 0,
    price: null,
    reason: '',
    ...values
  };
}

export function price(values: Partial<PriceItem> = {}): PriceItem {
  return {
    price: usd(2.49),
    unit: 'gpu-hour',
    text: '$2.49 a GPU-hour, from what you said',
    since: 1000,
    sku: null,
    region: null,
    spot: false,
    source: 'what you said',
    as_of: '2026-11-20',
    age_days: 5,
    old: false,
    confidence: 'owner',
    ...values
  };
}

export function summary(values: Partial<CostSummary> = {}): CostSummary {
  return { at: 1000, hourly: [], today: [], month: [], pools: [], unpriced_jobs: 0, ...values };
}
