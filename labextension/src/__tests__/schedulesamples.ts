/** Schedules and their runs, for tests. */

import type { RunItem, ScheduleItem, VersionItem } from '../api/types';

/** A run that has succeeded; the higher the number in its id, the newer it is. */
export function run(id: string, values: Partial<RunItem> = {}): RunItem {
  const number = Number(/\d+/.exec(id)?.[0] ?? 0);
  return {
    id,
    schedule: 's1',
    schedule_name: 'report',
    version: 1,
    trigger: 'clock',
    state: 'succeeded',
    slot: 1000 + number,
    reason: null,
    created_at: 1000 + number,
    start_at: 1000 + number,
    started_at: 1001 + number,
    ended_at: 1031 + number,
    attempt: 1,
    job: `job-${id}`,
    jobs: [],
    parameters: null,
    outputs: {},
    stopping: false,
    slots: 1,
    last_slot: null,
    ...values
  };
}

/** Version 1 of a report that runs at two each night in Berlin. */
export function version(values: Partial<VersionItem> = {}): VersionItem {
  return {
    number: 1,
    notebook: '/home/anna/report.ipynb',
    pool: 'lab',
    timezone: 'Europe/Berlin',
    triggers: [
      {
        kind: 'cron',
        lines: ['0 2 * * *'],
        seconds: null,
        anchor: null,
        times: [],
        schedule: null,
        on: 'success',
        path: null
      }
    ],
    policy: {
      catch_up: 'none',
      window_seconds: null,
      overlap: 'skip',
      parallel: 1,
      retries: 0,
      backoff_seconds: 60,
      backoff_factor: 2,
      backoff_most_seconds: 3600,
      jitter_seconds: 0,
      ends_at: null,
      except_days: []
    },
    parameters: { lr: 0.5 },
    form: {
      properties: {
        lr: { type: 'number', exclusiveMinimum: 0, maximum: 1, default: 0.1 },
        optimiser: { type: 'string', enum: ['sgd', 'adam'], default: 'sgd' }
      },
      required: [],
      additionalProperties: false
    },
    options: {},
    created_at: 900,
    created_by: 'anna',
    note: '',
    ...values
  };
}

export function schedule(id: string, values: Partial<ScheduleItem> = {}): ScheduleItem {
  return {
    id,
    name: `name of ${id}`,
    state: 'active',
    version: version(),
    next_slots: [{ slot: 5000, start_at: 5000, text: '1970-01-01 02:23 CET' }],
    last_runs: [],
    paused_at: null,
    paused_by: null,
    problem: '',
    created_at: 900,
    created_by: 'anna',
    ...values
  };
}
