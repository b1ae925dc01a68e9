/** Jobs and sight, for the tests of what draws them. */

import type { JobDetail, JobItem } from '../../api/types';

export function jobItem(changes: Partial<JobItem> = {}): JobItem {
  return {
    id: '0abc',
    name: 'digits',
    kind: 'train',
    pool: 'here',
    state: 'running',
    desired: 'run',
    version: 1,
    nodes: 1,
    world: 1,
    message: '',
    created_at: 1000,
    started_at: 1001,
    ended_at: null,
    notebook: '/home/me/nb.ipynb',
    user: null,
    notice: null,
    ...changes
  };
}

export function jobDetail(
  changes: Partial<JobItem> = {},
  more: Partial<JobDetail> = {}
): JobDetail {
  const item = jobItem(changes);
  const { id, name, pool, state, world } = item;
  const ticking = state === 'running';
  const said = { message: '', progress: '', log: '', tracking: '', error: null };
  const header = { id, name, pool, state, world, elapsed_seconds: 1, ticking, ...said };
  return {
    item,
    header: header as unknown as JobDetail['header'],
    ranks: [
      { rank: 0, state, node: 'a', failed: false, progress: null }
    ] as unknown as JobDetail['ranks'],
    manifest: { size_bytes: 0, count: 0, items: [] } as unknown as JobDetail['manifest'],
    timeline: [],
    code: 'train()\n',
    line: 'here',
    fetch: [],
    tracking_url: null,
    silence: null,
    placement: [],
    cost: null,
    tags: {},
    ...more
  };
}

type Told = (entries: { isIntersecting: boolean }[]) => void;

/** Stands in for `IntersectionObserver`: jsdom lays nothing out. The test says what is seen. */
export class SightOfTests {
  static see(isIntersecting: boolean): void {
    [...SightOfTests._all].forEach(told => told([{ isIntersecting }]));
  }

  static forget(): void {
    SightOfTests._all.clear();
  }

  constructor(told: Told) {
    this._told = told;
  }

  observe(): void {
    SightOfTests._all.add(this._told);
  }

  disconnect(): void {
    SightOfTests._all.delete(this._told);
  }

  private _told: Told;
  private static _all = new Set<Told>();
}
