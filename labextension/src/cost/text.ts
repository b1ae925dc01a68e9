/** Money in words. What is unknown is `null` or `n/a`, and never 0. Pure: no JupyterLab in it. */

import type { Amount, JobCostItem, PriceItem } from '../api/types';
import type { ITrans } from '../gpus/text';

/** The part of a translation bundle that is used here. */
export interface IWords extends ITrans {
  _n(singular: string, plural: string, n: number, ...values: (string | number)[]): string;
}

/** English, where nothing translates: in the widget of a cell. */
export const ENGLISH: IWords = {
  __: (text, ...values) => filled(text, values),
  _n: (singular, plural, n, ...values) => filled(n === 1 ? singular : plural, [n, ...values])
};

function filled(text: string, values: readonly (string | number)[]): string {
  return text.replace(/%(\d)/g, (_, number: string) => String(values[Number(number) - 1] ?? ''));
}

const SYMBOLS: Readonly<Record<string, string>> = {
  USD: '$',
  EUR: '€',
  GBP: '£',
  JPY: '¥',
  INR: '₹'
};
/** Below so much there are more places than two, or there would be nothing to see. */
const SMALL = 0.1;
const TINY = 0.0005;

/** `$12.35`, `$0.0021`, `7.00 CHF`: as the server writes amounts. */
export function moneyText(amount: number, currency: string): string {
  const size = Math.abs(amount);
  const places = size === 0 || size >= SMALL ? 2 : size >= TINY ? 4 : 6;
  const number = size.toLocaleString('en-US', {
    minimumFractionDigits: places,
    maximumFractionDigits: places
  });
  const sign = amount < 0 && Number(number.replaceAll(',', '')) !== 0 ? '-' : '';
  const symbol = SYMBOLS[currency];
  return symbol === undefined ? `${sign}${number} ${currency}` : `${sign}${symbol}${number}`;
}

/** An amount that was counted here: for showing only, it is no more exact than a number. */
export function amountOf(value: number, currency: string): Amount {
  return { amount: String(value), currency, text: moneyText(value, currency) };
}

/** `$1.23`, `€0.40 + $1.23`: two currencies are never added. `null` where nothing is known. */
export function costText(amounts: readonly Amount[]): string | null {
  return amounts.length === 0 ? null : amounts.map(({ text }) => text).join(' + ');
}

/** What an hour costs: one amount, one a currency, or unknown. */
type Hourly = Amount | null | readonly Amount[];

/** `$4.10/h`; several currencies stand side by side. `null` where nothing is known. */
export function hourlyText(hourly: Hourly, trans: ITrans): string | null {
  const text = costText(listOf(hourly));
  return text === null ? null : trans.__('%1/h', text);
}

function listOf(hourly: Hourly): readonly Amount[] {
  return hourly === null ? [] : 'currency' in hourly ? [hourly] : hourly;
}

/** Amounts after `seconds` more at so much an hour. */
export function grown(amounts: readonly Amount[], hourly: Hourly, seconds: number): Amount[] {
  const hours = Math.max(0, seconds) / 3600;
  if (hours === 0) {
    return [...amounts];
  }
  const known = new Map(amounts.map(each => [each.currency, each]));
  for (const { currency, amount } of listOf(hourly)) {
    const before = Number(known.get(currency)?.amount ?? 0);
    known.set(currency, amountOf(before + Number(amount) * hours, currency));
  }
  return [...known.values()].sort((one, other) => (one.currency < other.currency ? -1 : 1));
}

/**
 * What a job has cost at `now`, in seconds since the epoch by the server's clock.
 *
 * A browser's own clock may be minutes off: where what is shown ticks, use a `Meter`.
 */
export function costAt(item: JobCostItem, now: number): Amount[] {
  return grown(item.cost, item.hourly, now - item.at);
}

/** `$2.49/GPU-h · 12 days old`; an old price says so. */
export function priceText(item: PriceItem, trans: IWords): string {
  return `${priceRateText(item, trans)} · ${priceAgeText(item, trans)}`;
}

/** `$2.49/GPU-h`, `$1.20/node-h, spot`; `n/a` where the price is unknown. */
export function priceRateText({ price, unit, spot }: PriceItem, trans: IWords): string {
  if (price === null) {
    return trans.__('n/a');
  }
  const { text: amount } = price;
  const text = unit === 'node-hour' ? trans.__('%1/node-h', amount) : trans.__('%1/GPU-h', amount);
  return spot ? trans.__('%1, spot', text) : text;
}

/** `of today`, `12 days old`, `120 days old, may have changed`, `age unknown`. */
export function priceAgeText(
  { age_days: days, old }: Pick<PriceItem, 'age_days' | 'old'>,
  trans: IWords
): string {
  if (days === null) {
    return trans.__('age unknown');
  }
  if (days === 0) {
    return trans.__('of today');
  }
  return old
    ? trans._n('%1 day old, may have changed', '%1 days old, may have changed', days)
    : trans._n('%1 day old', '%1 days old', days);
}

/** `82 %`, `0.4 %`, `over 999 %`; `n/a` where it is unknown. */
export function shareText(share: number | null, trans: IWords): string {
  if (share === null) {
    return trans.__('n/a');
  }
  const percent = share * 100;
  if (percent > 999) {
    return trans.__('over %1 %', 999);
  }
  if (percent > 0 && percent < 0.1) {
    return trans.__('under %1 %', '0.1');
  }
  // 100 % is said when it is reached, and not before.
  const shown = percent > 0 && percent < 1 ? percent.toFixed(1) : String(Math.floor(percent));
  return trans.__('%1 %', shown);
}
