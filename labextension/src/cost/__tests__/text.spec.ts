import { describe, expect, it } from 'vitest';

import { dollars, jobCost, price } from '../../__tests__/samples';
import type { Amount } from '../../api/types';
import {
  costAt,
  costText,
  ENGLISH,
  grown,
  hourlyText,
  moneyText,
  priceText,
  shareText
} from '../text';

const EUROS: Amount = { amount: '0.4', currency: 'EUR', text: '€0.40' };

describe('an amount', () => {
  it.each([
    [0, 'USD', '$0.00'],
    [12.345, 'USD', '$12.35'],
    [1234567.5, 'EUR', '€1,234,567.50'],
    [0.0994, 'USD', '$0.0994'],
    [0.0021, 'USD', '$0.0021'],
    [0.00001, 'USD', '$0.000010'],
    [7, 'CHF', '7.00 CHF'],
    [-2.5, 'GBP', '-£2.50'],
    [-0.0000001, 'USD', '$0.000000']
  ])('%s %s reads as %s', (amount, currency, expected) => {
    expect(moneyText(amount, currency)).toBe(expected);
  });

  it('stands beside one in another currency, and is unknown where there is none', () => {
    expect(costText([EUROS, dollars('1.23')])).toBe('€0.40 + $1.23');
    expect(costText([])).toBeNull();
    expect(hourlyText(dollars('4.1'), ENGLISH)).toBe('$4.10/h');
    expect(hourlyText([EUROS, dollars('4.1')], ENGLISH)).toBe('€0.40 + $4.10/h');
    expect(hourlyText(null, ENGLISH)).toBeNull();
  });
});

describe('an amount that grows', () => {
  it('does so by what an hour costs, in that currency alone', () => {
    const later = grown([EUROS, dollars('1')], dollars('3.6'), 1000);
    expect(later.map(({ text }) => text)).toEqual(['€0.40', '$2.00']);
    expect(grown([], dollars('3.6'), 1000).map(({ text }) => text)).toEqual(['$1.00']);
  });

  it('stays as it was told without a rate, and before it was told', () => {
    expect(grown([dollars('1')], null, 1000)).toEqual([dollars('1')]);
    expect(grown([dollars('1')], dollars('3.6'), -50)).toEqual([dollars('1')]);
    const item = jobCost('1', { at: 5_000, cost: [dollars('2')], hourly: dollars('36') });
    expect(costText(costAt(item, 4_000))).toBe('$2.00');
    expect(costText(costAt(item, 5_100))).toBe('$3.00');
  });
});

describe('a price', () => {
  it.each([
    [{}, '$2.49/GPU-h · 12 days old'],
    [{ age_days: 1 }, '$2.49/GPU-h · 1 day old'],
    [{ age_days: 0 }, '$2.49/GPU-h · of today'],
    [{ age_days: null }, '$2.49/GPU-h · age unknown'],
    [{ age_days: 120, old: true }, '$2.49/GPU-h · 120 days old, may have changed'],
    [{ unit: 'node-hour', spot: true }, '$2.49/node-h, spot · 12 days old'],
    [{ price: null }, 'n/a · 12 days old']
  ])('%o reads as %s', (values, expected) => {
    expect(priceText(price(values), ENGLISH)).toBe(expected);
  });
});

it.each([
  [null, 'n/a'],
  [0, '0 %'],
  [0.0004, 'under 0.1 %'],
  [0.005, '0.5 %'],
  [0.829, '82 %'],
  [0.9999, '99 %'],
  [1, '100 %'],
  [12, 'over 999 %']
])('a share of %s reads as %s', (share, expected) => {
  expect(shareText(share, ENGLISH)).toBe(expected);
});
