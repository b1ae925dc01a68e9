/** What the status bar says of cost and budgets, in words. */

import type { TranslationBundle } from '@jupyterlab/translation';

import type { Amount, BudgetItem, CostSummary } from '../api/types';
import { costText, grown, hourlyText, shareText } from '../cost/text';

/** How many budgets are told one by one. */
const MOST_TOLD = 8;

export interface ICostWords {
  /** `$4.10/h · $12.30 today`; empty where no cost is known, and only a budget has to say anything. */
  text: string;
  /** That a budget warns, in a word or two; empty where none does. */
  warning: string;
  /** A line for each budget that warns, and each pool. */
  caption: string;
}

/** What it has become `seconds` after it was told. */
export function summaryAfter(now: CostSummary, seconds: number): CostSummary {
  // What is unknown does not begin at nothing.
  const after = (amounts: readonly Amount[]): Amount[] =>
    amounts.length === 0 ? [] : grown(amounts, now.hourly, seconds);
  return { ...now, today: after(now.today), month: after(now.month) };
}

/** `null` where no cost is known, and no budget warns. */
export function costWords(
  now: CostSummary | null,
  budgets: readonly BudgetItem[] | null,
  trans: TranslationBundle
): ICostWords | null {
  const pressing = worstFirst((budgets ?? []).filter(isPressing));
  const text = now === null ? '' : spentText(now, trans);
  if (text === '' && pressing.length === 0) {
    return null;
  }
  const told = pressing.slice(0, MOST_TOLD).map(each => budgetText(each, trans));
  if (pressing.length > MOST_TOLD) {
    told.push(trans.__('and %1 more', pressing.length - MOST_TOLD));
  }
  const lines = [...told, ...(now === null ? [] : summaryTexts(now, trans))];
  return {
    text,
    warning: shortText(pressing, trans),
    caption: [...lines, trans.__('Click to show the cost.')].join('\n')
  };
}

/** Whether somebody should look at it: it warns, asks, or is spent, and does not rest. */
export function isPressing({ reach, snoozed }: BudgetItem): boolean {
  return !snoozed && (reach === 'warned' || reach === 'spent');
}

function spentText(now: CostSummary, trans: TranslationBundle): string {
  const today = costText(now.today);
  return [hourlyText(now.hourly, trans), today && trans.__('%1 today', today)]
    .filter(Boolean)
    .join(' · ');
}

function summaryTexts(now: CostSummary, trans: TranslationBundle): string[] {
  const pools = now.pools.map(({ pool, hourly, jobs }) => {
    const rate = hourlyText(hourly, trans) ?? trans.__('n/a an hour');
    return trans._n('%2: %3, %1 job', '%2: %3, %1 jobs', jobs, pool, rate);
  });
  const { unpriced_jobs: unpriced } = now;
  const unknown = trans._n(
    '%1 job has no price, and is in none of it.',
    '%1 jobs have no price, and are in none of it.',
    unpriced
  );
  return [
    trans.__('Today: %1', costText(now.today) ?? trans.__('n/a')),
    trans.__('This month: %1', costText(now.month) ?? trans.__('n/a')),
    ...pools,
    ...(unpriced > 0 ? [unknown] : [])
  ];
}

function worstFirst(budgets: readonly BudgetItem[]): BudgetItem[] {
  return [...budgets].sort((one, other) => rank(other) - rank(one));
}

function rank({ reach, asks_until: asks }: BudgetItem): number {
  return asks !== null ? 2 : reach === 'spent' ? 1 : 0;
}

function shortText(pressing: readonly BudgetItem[], trans: TranslationBundle): string {
  const [first] = pressing;
  if (first === undefined) {
    return '';
  }
  if (first.asks_until !== null) {
    return trans.__('budget asks');
  }
  if (pressing.length > 1) {
    return trans._n('%1 budget warns', '%1 budgets warn', pressing.length);
  }
  return first.reach === 'spent'
    ? trans.__('budget spent')
    : trans.__('budget at %1', shareText(first.share, trans));
}

function budgetText(
  { name, spent, limit, asks_until: asks }: BudgetItem,
  trans: TranslationBundle
): string {
  const text = trans.__(
    'Budget of %1: %2 of %3 spent.',
    name,
    spent?.text ?? trans.__('n/a'),
    limit.text
  );
  return asks === null ? text : trans.__('%1 It asks whether its jobs may go on.', text);
}
