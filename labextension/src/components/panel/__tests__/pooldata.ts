/** Pools and nodes of which a test says only what matters to it. */

import type { Node, PoolItem } from '../../../api/types';

export function aNode(given: Partial<Node> = {}): Node {
  return {
    name: 'node',
    address: '127.0.0.1',
    cpus: null,
    memory_bytes: null,
    disk_free_bytes: null,
    gpus: [],
    python: null,
    driver: null,
    platform: 'linux',
    max_procs: null,
    health: 'live',
    since: null,
    problem: null,
    ...given
  };
}

export function aPool(given: Partial<PoolItem> = {}): PoolItem {
  return {
    name: 'here',
    kind: 'local',
    options: {},
    created_at: 0,
    active_jobs: 0,
    status: 'live',
    problem: '',
    since: null,
    checked_at: 1_700_000_000,
    nodes: [],
    leases: null,
    price: null,
    ...given
  };
}
