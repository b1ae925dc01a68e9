/** Values that tests are made of. */

import type { JobItem, JobsNews, PoolItem } from '../api/types';

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
