/** What a job has cost, in one line. Pure: no JupyterLab in it. */

import type { Amount, JobCostItem } from '../api/types';
import { amountOf, costText, hourlyText, priceText, type IWords } from './text';

/** Less of a job's time than this is not worth a word. */
const LEAST_IDLE = 0.005;

export interface ILineOptions {
  /** What it comes to now, which may be more than was told. */
  cost: readonly Amount[];
  /** Whether the job goes on. */
  runs: boolean;
  trans: IWords;
}

/**
 * `$1.23 so far · $4.10/h · $0.0021 a step · about $6.50 in all, done at 17:40 · 24 % idle, about $0.30`.
 *
 * Where the cost is unknown it says why; empty where there is nothing to say at all.
 */
export function costLine(item: JobCostItem, { cost, runs, trans }: ILineOptions): string {
  const said = costText(cost);
  if (said === null) {
    return item.reason === '' ? '' : trans.__('cost n/a: %1', item.reason);
  }
  return [
    spentText(item, said, runs, trans),
    runs ? hourlyText(item.hourly, trans) : null,
    item.step_cost && trans.__('%1 a step', item.step_cost.text),
    runs ? projectedText(item, trans) : null,
    idleText(item, cost, trans)
  ]
    .filter(Boolean)
    .join(' · ');
}

function spentText(item: JobCostItem, said: string, runs: boolean, trans: IWords): string {
  const text = runs ? trans.__('%1 so far', said) : trans.__('%1 in all', said);
  if (item.unpriced_seconds === 0) {
    return text;
  }
  return item.reason === ''
    ? trans.__('%1, without what has no price', text)
    : trans.__('%1, without what has no price (%2)', text, item.reason);
}

/** `about $6.50 in all, done at 17:40`; `null` where that is not known. */
export function projectedText(
  { projected, finish_at: finish }: JobCostItem,
  trans: IWords
): string | null {
  if (projected === null) {
    return finish === null ? null : trans.__('done at %1', momentText(finish));
  }
  return finish === null
    ? trans.__('about %1 in all', projected.text)
    : trans.__('about %1 in all, done at %2', projected.text, momentText(finish));
}

/** The part of its GPUs' time in which nothing ran on them; `null` where nobody has read them. */
export function idleShare(item: JobCostItem): number | null {
  const known = item.used_seconds + item.idle_seconds;
  return known > 0 ? item.idle_seconds / known : null;
}

/** `24 % idle, about $0.30`; `null` where nothing is known of it, or nothing was idle. */
export function idleText(item: JobCostItem, cost: readonly Amount[], trans: IWords): string | null {
  const share = idleShare(item);
  if (share === null || share < LEAST_IDLE) {
    return null;
  }
  const percent = Math.round(share * 100);
  // Of the seconds that were read: of the rest nobody knows.
  const part = item.allocated_seconds > 0 ? item.idle_seconds / item.allocated_seconds : 0;
  const lost = costText(
    cost.map(({ amount, currency }) => amountOf(Number(amount) * Math.min(1, part), currency))
  );
  return lost === null
    ? trans.__('%1 % idle', percent)
    : trans.__('%1 % idle, about %2', percent, lost);
}

/** `price $2.49/GPU-h · 12 days old`; empty where there is none. */
export function priceLine({ price }: JobCostItem, trans: IWords): string {
  return price === null ? '' : trans.__('price %1', priceText(price, trans));
}

/** `17:40` of today, `28 Nov, 17:40` of another day. */
export function momentText(at: number, now = Date.now() / 1000): string {
  const moment = new Date(at * 1000);
  const time = { hour: '2-digit', minute: '2-digit' } as const;
  return moment.toDateString() === new Date(now * 1000).toDateString()
    ? moment.toLocaleTimeString(undefined, time)
    : moment.toLocaleString(undefined, { day: 'numeric', month: 'short', ...time });
}
