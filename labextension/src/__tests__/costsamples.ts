/** Amounts, budgets and prices of which a test says only what matters to it. */

import type { Amount, BudgetItem, CostSummary, JobCostItem, Notice, PriceItem } from '../api/types';
import { moneyText } from '../cost/text';
import * as samples from './samples';

export function usd(amount: number): Amount {
  return { amount: String(amount), currency: 'USD', text: moneyText(amount, 'USD') };
}

export function eur(amount: number): Amount {
  return { amount: String(amount), currency: 'EUR', text: moneyText(amount, 'EUR') };
}

export function budget(id: string, values: Partial<BudgetItem> = {}): BudgetItem {
  return samples.budget(id, {
    name: `$20.00 a month for pool ${id}`,
    scope: 'pool',
    subject: id,
    limit: usd(20),
    spent: usd(5),
    created_at: 1000,
    created_by: 'ada',
    ...values
  });
}

export function notice(values: Partial<Notice> = {}): Notice {
  return samples.notice({
    text: 'budget of $20.00 for pool here: $17.00 of $20.00 spent',
    at: 1000,
    ...values
  });
}

export function jobCost(job: string, values: Partial<JobCostItem> = {}): JobCostItem {
  return samples.jobCost(job, {
    at: 1000,
    cost: [usd(1.5)],
    hourly: usd(3.6),
    allocated_seconds: 0,
    price: null,
    ...values
  });
}

export function price(values: Partial<PriceItem> = {}): PriceItem {
  return samples.price({
    price: usd(2.49),
    text: '$2.49 a GPU-hour, from what you said',
    since: 1000,
    source: 'what you said',
    as_of: '2026-11-20',
    age_days: 5,
    ...values
  });
}

export function summary(values: Partial<CostSummary> = {}): CostSummary {
  return { at: 1000, hourly: [], today: [], month: [], pools: [], unpriced_jobs: 0, ...values };
}
