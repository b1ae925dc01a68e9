/** How a budget stands, in words. */

import type { TranslationBundle } from '@jupyterlab/translation';

import type { BudgetItem, Decision } from '../../api/types';
import { hourlyText, shareText } from '../../cost/text';
import { clockText } from './poolfacts';

/** What is drawn beside the words. */
export type BudgetSign = 'well' | 'warning' | 'over' | 'resting' | 'unknown';

export interface IStanding {
  sign: BudgetSign;
  text: string;
}

/** Whether it is spent, and what it does about that just now. */
export function standing(budget: BudgetItem, now: Date, trans: TranslationBundle): IStanding {
  const { reach, action, snoozed, snoozed_until: until, asks_until: asks } = budget;
  if (snoozed && until !== null) {
    return { sign: 'resting', text: trans.__('snoozed until %1', clockText(until, now)) };
  }
  if (asks !== null) {
    return { sign: 'over', text: trans.__('spent, asks until %1', clockText(asks, now)) };
  }
  switch (reach) {
    case 'within':
      return { sign: 'well', text: trans.__('within') };
    case 'warned':
      return { sign: 'warning', text: trans.__('warns') };
    case 'unknown':
      return { sign: 'unknown', text: trans.__('not known') };
    case 'spent':
      return { sign: 'over', text: spentText(action, trans) };
  }
}

function spentText(action: BudgetItem['action'], trans: TranslationBundle): string {
  switch (action) {
    case 'warn':
      return trans.__('spent');
    case 'refuse':
      return trans.__('spent: no new jobs');
    case 'ask':
      return trans.__('spent: asks');
    case 'stop':
      return trans.__('spent: jobs are stopped');
  }
}

/** `$144.20 of $200.00 · 72 %`; what is spent is `n/a` where nobody knows. */
export function shareOfText({ spent, limit, share }: BudgetItem, trans: TranslationBundle): string {
  const text = trans.__('%1 of %2', spent?.text ?? trans.__('n/a'), limit.text);
  return share === null ? text : trans.__('%1 · %2', text, shareText(share, trans));
}

/** `$4.10/h, spent at 17:40`; empty where nothing runs. */
export function paceText(
  { hourly, jobs, spent_at: at, reach }: BudgetItem,
  now: Date,
  trans: TranslationBundle
): string {
  if (jobs.length === 0) {
    return '';
  }
  const rate = hourlyText(hourly, trans) ?? trans.__('n/a an hour');
  return at === null || reach === 'spent'
    ? rate
    : trans.__('%1, spent at %2', rate, clockText(at, now));
}

/** The period that is counted, which is one of UTC: `November 2026`, `25 November 2026`. */
export function windowText(budget: BudgetItem, trans: TranslationBundle): string {
  const start = new Date(budget.window_start * 1000);
  const month = { month: 'long', year: 'numeric', timeZone: 'UTC' } as const;
  switch (budget.period) {
    case 'total':
      return trans.__('all, from the beginning');
    case 'month':
      return start.toLocaleDateString(undefined, month);
    case 'day':
      return start.toLocaleDateString(undefined, { day: 'numeric', ...month });
  }
}

/** What it is called; of a job by its name where that is known. */
export function budgetTitle(
  { name, scope, subject, limit }: BudgetItem,
  nameOf: (job: string) => string | undefined,
  trans: TranslationBundle
): string {
  const job = scope === 'job' ? nameOf(subject) : undefined;
  return job === undefined ? name : trans.__('%1 for “%2”', limit.text, job);
}

/** What was decided, in a word. */
export function decisionWord(kind: Decision['kind'], trans: TranslationBundle): string {
  switch (kind) {
    case 'warning':
      return trans.__('warned');
    case 'question':
      return trans.__('asked');
    case 'stop':
      return trans.__('stopped');
    case 'refusal':
      return trans.__('refused');
  }
}

/** Seconds from `now` until eight in the morning of the next day, by the clocks here. */
export function untilTomorrow(now: Date): number {
  const morning = new Date(now);
  morning.setDate(morning.getDate() + 1);
  morning.setHours(MORNING, 0, 0, 0);
  return Math.ceil((morning.getTime() - now.getTime()) / 1000);
}

export const MORNING = 8;
