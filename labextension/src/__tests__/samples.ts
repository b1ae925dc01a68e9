/** Values that tests are made of. */

import type {
  Amount,
  BudgetItem,
  JobCostItem,
  JobItem,
  JobsNews,
  Notice,
  PoolItem,
  PriceItem
} from '../api/types';

/** A running job; the higher the number in its id, the newer it is. */
export function job(id: string, values: Partial<JobItem> = {}): JobItem {
  const number = Number(/\d+/.exec(id)?.[0] ?? 0);
  return {
    id,
    name: `name of ${id}`,
    kind: 'train',
    pool: 'here',
    state: 'running',
    desired: 'run',
    version: 1,
    nodes: 1,
    world: 2,
    message: '',
    created_at: 1000 + number,
    started_at: 1001 + number,
    ended_at: null,
    notebook: null,
    user: null,
    notice: null,
    ...values
  };
}

export function ended(id: string, values: Partial<JobItem> = {}): JobItem {
  return job(id, { state: 'succeeded', version: 5, ended_at: 2000, ...values });
}

export function jobsNews(changed: JobItem[], values: Partial<JobsNews> = {}): JobsNews {
  return { type: 'jobs', changed, removed: [], active: 0, reset: false, more: false, ...values };
}

export function pool(name: string, values: Partial<PoolItem> = {}): PoolItem {
  return {
    name,
    kind: 'local',
    options: {},
    created_at: 1,
    active_jobs: 0,
    status: 'live',
    problem: '',
    since: null,
    checked_at: 2,
    nodes: null,
    leases: null,
    price: null,
    ...values
  };
}

/** An amount in dollars. */
export function dollars(amount: string, text = `$${Number(amount).toFixed(2)}`): Amount {
  return { amount, currency: 'USD', text };
}

/** A price that is twelve days old. */
export function price(values: Partial<PriceItem> = {}): PriceItem {
  return {
    price: dollars('2.49'),
    unit: 'gpu-hour',
    text: '$2.49 a GPU-hour, 12 days old, from the bill',
    since: null,
    sku: null,
    region: null,
    spot: false,
    source: 'the bill',
    as_of: '2026-11-13',
    age_days: 12,
    old: false,
    confidence: 'owner',
    ...values
  };
}

/** What a job on two GPUs has cost that runs: half an hour of it at $4.98. */
export function jobCost(job: string, values: Partial<JobCostItem> = {}): JobCostItem {
  return {
    job,
    at: 5_000,
    cost: [dollars('2.49')],
    hourly: dollars('4.98'),
    step_cost: null,
    projected: null,
    finish_at: null,
    allocated_seconds: 3_600,
    used_seconds: 0,
    idle_seconds: 0,
    node_seconds: 0,
    unpriced_seconds: 0,
    price: price(),
    reason: '',
    ...values
  };
}

/** A budget of a user, of which a quarter is spent. */
export function budget(id: string, values: Partial<BudgetItem> = {}): BudgetItem {
  return {
    id,
    name: '$200.00 a month for user anna',
    scope: 'user',
    subject: 'anna',
    period: 'month',
    action: 'stop',
    limit: dollars('200'),
    warn_share: 0.8,
    grace_seconds: null,
    ask_seconds: 900,
    window: '2026-11',
    window_start: 1_793_491_200,
    window_end: 1_796_083_200,
    spent: dollars('50'),
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
    created_at: 1_793_500_000,
    created_by: 'anna',
    ...values
  };
}

/** What a budget says of a job. */
export function notice(values: Partial<Notice> = {}): Notice {
  return {
    kind: 'warning',
    text: '80 % of the budget is spent',
    by: 'b1',
    at: 4_000,
    until: null,
    grace_seconds: null,
    ...values
  };
}
