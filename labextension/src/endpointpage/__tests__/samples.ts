/** Endpoints, for tests. */

import type { EndpointItem, EndpointKey, EndpointReplica, EndpointVersion } from '../../api/types';

export const BOUNDS = [1, 2, 5, 10, 100];

/** A replica that answers. */
export function replica(id: string, values: Partial<EndpointReplica> = {}): EndpointReplica {
  return {
    id,
    state: 'serving',
    router: 'up',
    in_flight: 0,
    reason: '',
    created_at: 1000,
    ...values
  };
}

/** A version that adds two numbers, with one replica that answers. */
export function version(number: number, values: Partial<EndpointVersion> = {}): EndpointVersion {
  return {
    number,
    state: 'ready',
    reason: null,
    pool: 'here',
    fallback_pool: null,
    workers: null,
    gpus: 0,
    wanted: 1,
    package: 'adder',
    digest: `digest-${number}`,
    size_bytes: 2048,
    manifest: {
      name: 'adder',
      inputs: [{ name: 'x', dtype: 'float32', shape: [2] }],
      example: [[1, 2.5]]
    },
    facts: {},
    note: '',
    created_at: 1000 + number,
    created_by: 'anna',
    replicas: [replica(`job-${number}`)],
    requests: 0,
    errors: 0,
    rejected: 0,
    in_flight: 0,
    p95_ms: null,
    latency_buckets_ms: BOUNDS,
    latency_counts: [0, 0, 0, 0, 0, 0],
    same: 0,
    different: 0,
    cost: null,
    ...values
  };
}

/** An endpoint whose only version gets everything. */
export function endpoint(id: string, values: Partial<EndpointItem> = {}): EndpointItem {
  return {
    id,
    name: `name-of-${id}`,
    state: 'ready',
    problem: '',
    url: 'http://127.0.0.1:4000/adder',
    traffic: [{ version: 1, weight: 100, header: null }],
    shadow: null,
    rollout: null,
    options: {
      hold_seconds: 60,
      max_held: 256,
      timeout_seconds: 30,
      max_body_bytes: 16777216,
      cors: [],
      sampling: 0,
      redact: [],
      samples: 1000,
      sample_days: 7,
      keep_seconds: 600,
      idempotent: true,
      sticky: 'x-session-id',
      tolerance: 0.001
    },
    scaling: {
      least: 1,
      most: 1,
      in_flight: 8,
      p95_ms: null,
      idle_seconds: 300,
      cool_seconds: 60
    },
    versions: [version(1)],
    keys: [],
    held: 0,
    refused: 0,
    cost: null,
    last_request: null,
    created_at: 900,
    created_by: 'anna',
    removed_at: null,
    ...values
  };
}

/** An endpoint that tries version 2 out, at a quarter of the requests. */
export function canary(id: string, values: Partial<EndpointItem> = {}): EndpointItem {
  return endpoint(id, {
    traffic: [
      { version: 1, weight: 75, header: null },
      { version: 2, weight: 25, header: null }
    ],
    rollout: {
      id: `${id}-2`,
      old: 1,
      new: 2,
      kind: 'canary',
      steps: [5, 25, 50, 100],
      gates: { error_rate: 0.02, p95_ms: 200, agreement: null },
      begun: true,
      percent: 25,
      state: 'running',
      reason: 'waits for requests: 12 of 50',
      since: 2000
    },
    versions: [version(1), version(2)],
    ...values
  });
}

export function key(id: string, values: Partial<EndpointKey> = {}): EndpointKey {
  return {
    id,
    name: `key-${id}`,
    scopes: ['predict'],
    per_second: null,
    created_at: 1000,
    created_by: 'anna',
    ends_at: null,
    ...values
  };
}
