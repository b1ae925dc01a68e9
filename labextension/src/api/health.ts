/** The answer of `GET /aiinfra/health`. `tests/wire/health.json` is a sample both sides accept. */

/** `null` is "not known": the database could not be asked. */
export type Health = {
  readonly version: string;
  readonly status: 'ok' | 'degraded';
  readonly store: {
    readonly ok: boolean;
    /** Where the database is, without its password. */
    readonly url: string;
    /** What is wrong with it, and what to do; empty when nothing is. */
    readonly message: string;
    readonly hint: string;
  };
  readonly pools: number | null;
  readonly jobs: { readonly active: number | null };
};

/** Return `body` as a health report, or throw a `TypeError` that names the field it lacks. */
export function parseHealth(body: unknown): Health {
  const report = object(body, 'the answer');
  const store = object(report.store, 'store');
  const jobs = object(report.jobs, 'jobs');
  const status = string(report.status, 'status');
  if (status !== 'ok' && status !== 'degraded') {
    throw new TypeError(`status: unknown value "${status}"`);
  }
  if (typeof store.ok !== 'boolean') {
    throw new TypeError('store.ok: not a boolean');
  }
  return {
    version: string(report.version, 'version'),
    status,
    store: {
      ok: store.ok,
      url: string(store.url, 'store.url'),
      message: string(store.message, 'store.message'),
      hint: string(store.hint, 'store.hint')
    },
    pools: count(report.pools, 'pools'),
    jobs: { active: count(jobs.active, 'jobs.active') }
  };
}

function object(value: unknown, name: string): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new TypeError(`${name}: not an object`);
  }
  return value as Record<string, unknown>;
}

function string(value: unknown, name: string): string {
  if (typeof value !== 'string') {
    throw new TypeError(`${name}: not a string`);
  }
  return value;
}

function count(value: unknown, name: string): number | null {
  if (value !== null && (typeof value !== 'number' || !Number.isInteger(value) || value < 0)) {
    throw new TypeError(`${name}: neither a count nor null`);
  }
  return value;
}
