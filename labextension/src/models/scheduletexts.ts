/** A schedule as what stands in the fields of its form. */

import type { Policy, PoolItem, ScheduleItem, Trigger, Values } from '../api/types';
import { lengthText, wallOf, zoneHere } from './zonetime';

/** What the fields of parameters begin with; their names might be those of others. */
export const PARAMETER = 'parameter:';

/** All values of a notebook of which no parameters are known, as JSON. */
export const OTHERS = 'parameters';

export type Texts = Readonly<Record<string, string>>;

/** What makes it run; `mixed` is several kinds at once, which are kept and not shown one by one. */
export type WhenKind = 'cron' | 'every' | 'at' | 'after' | 'file' | 'none' | 'mixed';

/** As what a result may be stored, in the order in which they are offered. */
export const FORMS = ['ipynb', 'html', 'pdf', 'py'] as const;

const TICKED = 'yes';

/** A new schedule: each night at two, on the only pool or the one that answers. */
export function freshTexts(
  path: string | null,
  pools: readonly PoolItem[],
  schedules: readonly ScheduleItem[]
): Record<string, string> {
  const pool = pools.find(({ status }) => status === 'live') ?? pools[0];
  return {
    ...blank(),
    name: nameOf(path ?? '', schedules),
    pool: pool?.name ?? '',
    zone: zoneHere(),
    when: 'cron',
    cron: '0 2 * * *',
    'form:ipynb': TICKED
  };
}

/** A name that is free, made of a notebook's: letters, digits and `-_.` only. */
export function nameOf(path: string, schedules: readonly ScheduleItem[]): string {
  const stem = (path.split('/').at(-1) ?? '').replace(/\.ipynb$/, '');
  const plain = stem.replace(/[^A-Za-z0-9._-]+/g, '-').replace(/^-+|-+$/g, '') || 'notebook';
  const taken = new Set(schedules.map(({ name }) => name));
  let name = plain.slice(0, LONGEST_NAME);
  for (let count = 2; taken.has(name); count += 1) {
    name = `${plain.slice(0, LONGEST_NAME)}-${count}`;
  }
  return name;
}

const LONGEST_NAME = 40;

/** A schedule that there is. */
export function textsOf({ name, version }: ScheduleItem): Record<string, string> {
  const { triggers, policy, options, timezone: zone } = version;
  return {
    ...blank(),
    ...whenTexts(triggers, zone),
    ...policyTexts(policy, zone),
    ...optionTexts(options),
    name,
    pool: version.pool,
    zone
  };
}

function blank(): Record<string, string> {
  return {
    name: '',
    pool: '',
    zone: '',
    when: 'none',
    cron: '',
    every: '1h',
    at: '',
    after: '',
    on: 'success',
    path: '',
    note: '',
    runNow: '',
    ...policyTexts({}, 'UTC'),
    ...optionTexts({})
  };
}

function whenTexts(triggers: readonly Trigger[], zone: string): Record<string, string> {
  const kinds = new Set(triggers.map(({ kind }) => kind));
  const isEvery = triggers.length === 1 || kinds.has('cron') || kinds.has('at');
  const [kind = 'none'] = kinds;
  const when: WhenKind =
    triggers.length === 0 ? 'none' : kinds.size === 1 && isEvery ? kind : 'mixed';
  const found: Record<string, string> = { when };
  const lines = triggers.flatMap(each => each.lines ?? []);
  const times = triggers.flatMap(each => each.times ?? []);
  const [first] = triggers;
  if (lines.length > 0) {
    found['cron'] = lines.join('\n');
  }
  if (times.length > 0) {
    found['at'] = times.map(each => wallOf(each, zone)).join('\n');
  }
  if (when === 'every' && first?.seconds) {
    found['every'] = lengthText(first.seconds);
  }
  if (when === 'after') {
    found['after'] = first?.schedule ?? '';
    found['on'] = first?.on ?? 'success';
  }
  if (when === 'file') {
    found['path'] = first?.path ?? '';
  }
  return found;
}

function policyTexts(policy: Policy, zone: string): Record<string, string> {
  const length = (seconds: number | null | undefined): string =>
    seconds ? lengthText(seconds) : '';
  return {
    catchUp: policy.catch_up ?? 'none',
    window: length(policy.window_seconds),
    overlap: policy.overlap ?? 'skip',
    parallel: String(policy.parallel ?? 1),
    retries: String(policy.retries ?? 0),
    backoff: lengthText(policy.backoff_seconds ?? 60),
    jitter: length(policy.jitter_seconds),
    until: policy.ends_at ? wallOf(policy.ends_at, zone) : '',
    except: (policy.except_days ?? []).join('\n')
  };
}

function optionTexts(options: Values): Record<string, string> {
  const words = (value: unknown): string => (Array.isArray(value) ? value.join('\n') : '');
  const plain = (value: unknown): string =>
    typeof value === 'string' || typeof value === 'number' ? String(value) : '';
  const length = (value: unknown): string => (typeof value === 'number' ? lengthText(value) : '');
  const forms: unknown = options['forms'] ?? ['ipynb'];
  const notify = (options['notify'] ?? {}) as Values;
  const ticks = FORMS.map(form => [
    `form:${form}`,
    Array.isArray(forms) && forms.includes(form) ? TICKED : ''
  ]);
  return {
    ...(Object.fromEntries(ticks) as Record<string, string>),
    outputs: words(options['outputs']),
    keepCount: plain(options['keep_count']),
    files: words(options['files']),
    kernel: plain(options['kernel']),
    environment: plain(options['environment']),
    gpus: options['gpus'] === 0 ? '' : plain(options['gpus']),
    cellTime: length(options['cell_seconds']),
    runTime: length(options['run_seconds']),
    firedBy: plain(options['fired_by']) || 'server',
    notifyFailure: words(notify['failure']),
    notifySuccess: words(notify['success']),
    notifyMissed: words(notify['missed'])
  };
}
