/** Schedules in words. */

import type { TranslationBundle } from '@jupyterlab/translation';

import type { ScheduleItem, VersionItem } from '../api/types';
import { momentText } from '../cost/jobline';
import { spanText } from '../models/runwords';

export function scheduleStateText(state: ScheduleItem['state'], trans: TranslationBundle): string {
  const words: Record<ScheduleItem['state'], string> = {
    active: trans.__('active'),
    paused: trans.__('paused'),
    removed: trans.__('removed'),
    ended: trans.__('ended')
  };
  return words[state];
}

/** When it runs next, or why it does not by itself. */
export function nextText(schedule: ScheduleItem, trans: TranslationBundle): string {
  const { state, next_slots: slots, version } = schedule;
  const [next] = slots;
  if (state !== 'active') {
    return scheduleStateText(state, trans);
  }
  if (next !== undefined) {
    return momentText(next.start_at);
  }
  return version.triggers.length === 0 ? trans.__('when asked') : trans.__('when it comes');
}

/** The last part of a path. */
export function fileName(path: string): string {
  return path.split(/[\\/]/).at(-1) ?? path;
}

/** What is done where life is not as planned. */
export function policyFacts(
  { policy }: VersionItem,
  trans: TranslationBundle
): [name: string, value: string][] {
  const overlaps: Record<string, string> = {
    skip: trans.__('the next is skipped'),
    queue: trans.__('the next waits'),
    'cancel-previous': trans.__('the one before is cancelled'),
    parallel: trans.__('%1 at once', policy.parallel ?? 1)
  };
  const catchUps: Record<string, string> = {
    none: trans.__('are left out'),
    last: trans.__('the newest is run'),
    all: trans.__('all are run')
  };
  const facts: [string, string][] = [
    [trans.__('Missed slots'), catchUps[policy.catch_up ?? 'none'] ?? ''],
    [trans.__('While one runs'), overlaps[policy.overlap ?? 'skip'] ?? ''],
    [
      trans.__('Retries'),
      policy.retries
        ? trans.__('%1, after %2', policy.retries, spanText(policy.backoff_seconds ?? 0))
        : trans.__('none')
    ]
  ];
  if (policy.jitter_seconds) {
    facts.push([trans.__('Begins'), trans.__('up to %1 late', spanText(policy.jitter_seconds))]);
  }
  if (policy.ends_at) {
    facts.push([trans.__('Until'), momentText(policy.ends_at)]);
  }
  if (policy.except_days && policy.except_days.length > 0) {
    facts.push([trans.__('Not on'), policy.except_days.join(', ')]);
  }
  return facts;
}
