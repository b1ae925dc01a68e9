/** Runs of schedules in words. */

import type { TranslationBundle } from '@jupyterlab/translation';

import type { RunItem, RunState, Trigger } from '../api/types';
import { durationText } from '../widgets/format';

const ACTIVE: readonly RunState[] = ['due', 'queued', 'running'];

/** Whether a run is not over yet. */
export function isRunActive({ state }: Pick<RunItem, 'state'>): boolean {
  return ACTIVE.includes(state);
}

/** Whether there was nothing that ran: a slot that was not run, and why. */
export function isNotRun({ state }: Pick<RunItem, 'state'>): boolean {
  return state === 'skipped' || state === 'missed';
}

export function runStateText(state: RunState, trans: TranslationBundle): string {
  const words: Record<RunState, string> = {
    due: trans.__('due'),
    queued: trans.__('queued'),
    running: trans.__('running'),
    succeeded: trans.__('succeeded'),
    failed: trans.__('failed'),
    cancelled: trans.__('cancelled'),
    lost: trans.__('lost'),
    skipped: trans.__('skipped'),
    missed: trans.__('missed')
  };
  return words[state];
}

/** What made it run. */
export function runTriggerText(trigger: string, trans: TranslationBundle): string {
  const words: Record<string, string> = {
    clock: trans.__('by the clock'),
    'catch-up': trans.__('caught up'),
    after: trans.__('after another'),
    file: trans.__('a file changed'),
    now: trans.__('run now'),
    rerun: trans.__('run again')
  };
  return words[trigger] ?? trigger;
}

/** Seconds that a run has run; `null` where it has not begun, or nobody knows when it did. */
export function runSeconds(run: RunItem, now: number): number | null {
  const { started_at: start, ended_at: end } = run;
  return start === null || isNotRun(run) ? null : Math.max(0, (end ?? now) - start);
}

/** `3 min 05 s`; `n/a` where it is not known. */
export function runDurationText(run: RunItem, now: number, trans: TranslationBundle): string {
  const seconds = runSeconds(run, now);
  return seconds === null ? trans.__('n/a') : durationText(seconds, run.ended_at === null);
}

/** The moment a run is for, or else when it was asked for. */
export function runMoment({ slot, created_at: made }: RunItem): number {
  return slot ?? made;
}

/** A value of a parameter as one reads it: texts in quotes, so that `"1"` is not `1`. */
export function valueText(value: unknown): string {
  return value === undefined ? '' : JSON.stringify(value);
}

/** `15 min`, `1 h 30 min`: a duration that somebody has set, without what is nothing of it. */
export function spanText(seconds: number): string {
  return durationText(seconds, Number.isInteger(seconds)).replace(/ 00 \w+$/, '');
}

/** When a schedule runs: `0 2 * * *`, `every 15 min`, `after nightly`. */
export function triggersText(
  triggers: readonly Trigger[],
  nameOf: (schedule: string) => string,
  trans: TranslationBundle
): string {
  const words = triggers.map(trigger => {
    const { kind, lines = [], seconds = null, times = [], schedule = null, path = null } = trigger;
    switch (kind) {
      case 'cron':
        return lines.join('; ');
      case 'every':
        return seconds === null
          ? trans.__('at intervals')
          : trans.__('every %1', spanText(seconds));
      case 'at':
        return times.length === 1 ? trans.__('once') : trans.__('%1 times', times.length);
      case 'after':
        return trans.__('after %1', nameOf(schedule ?? ''));
      case 'file':
        return trans.__('when %1 changes', path ?? '');
    }
  });
  return words.length === 0 ? trans.__('only when asked') : words.join(' · ');
}
