/** What a budget or the idle policy says of a job, in words, and what can be answered. */

import type { TranslationBundle } from '@jupyterlab/translation';
import type { ReadonlyPartialJSONObject } from '@lumino/coreutils';

import type { BudgetItem, JobItem, Notice } from '../api/types';
import { isActive } from '../jobstate';
import { CommandIDs } from '../tokens';

export const HOUR = 3600;
/** Who says it, where it is no budget. */
const IDLE = 'idle';

export interface IAnswer {
  label: string;
  title: string;
  command: string;
  args: ReadonlyPartialJSONObject;
}

/** What it is about, in a word or two. */
export function noticeKind({ kind, by }: Notice, job: JobItem, trans: TranslationBundle): string {
  switch (kind) {
    case 'warning':
      return by === IDLE ? trans.__('Idle GPUs') : trans.__('Budget warning');
    case 'question':
      return trans.__('May it go on?');
    case 'stop':
      return isActive(job) ? trans.__('Being stopped') : trans.__('Stopped');
  }
}

/** What can be done about it just now; `budget` is the one that says it, where it is known. */
export function noticeAnswers(
  notice: Notice,
  job: JobItem,
  budget: BudgetItem | undefined,
  trans: TranslationBundle
): IAnswer[] {
  const { kind, by } = notice;
  if (by === IDLE) {
    return kind === 'stop' || !isActive(job) ? [] : [leaveAlone(job.id, trans)];
  }
  if (kind === 'question' && isActive(job)) {
    return [
      { ...snooze(by, trans), label: trans.__('Go on for an hour') },
      {
        label: trans.__('Stop'),
        title: trans.__('Stop the jobs that this budget counts, with time to save'),
        command: CommandIDs.stopBudget,
        args: { id: by }
      }
    ];
  }
  // The budget of a job that ends has nothing left to do; another one may let the next job begin.
  const isOfThis = budget === undefined || budget.scope === 'job';
  const isMoot = budget?.snoozed === true || (isOfThis && (kind === 'stop' || !isActive(job)));
  return isMoot ? [] : [snooze(by, trans)];
}

function snooze(budget: string, trans: TranslationBundle): IAnswer {
  return {
    label: trans.__('Snooze for an hour'),
    title: trans.__('The budget does nothing for an hour'),
    command: CommandIDs.snoozeBudget,
    args: { id: budget, seconds: HOUR }
  };
}

function leaveAlone(job: string, trans: TranslationBundle): IAnswer {
  return {
    label: trans.__('Leave it alone'),
    title: trans.__('Never stop this job for idle GPUs, and say no more of them'),
    command: CommandIDs.leaveIdle,
    args: { id: job }
  };
}
