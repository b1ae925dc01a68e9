import { nullTranslator } from '@jupyterlab/translation';
import { describe, expect, it } from 'vitest';

import { budget, usd } from '../../../__tests__/costsamples';
import { paceText, untilTomorrow, windowText } from '../budgetwords';

const trans = nullTranslator.load('jupyter_aiinfra');
const now = new Date(2026, 10, 25, 17, 0);
const at = (hour: number, minute: number): number =>
  new Date(2026, 10, 25, hour, minute).getTime() / 1000;

describe('paceText', () => {
  it('is empty where nothing runs, and unknown where no price is', () => {
    expect(paceText(budget('a', { hourly: usd(4) }), now, trans)).toBe('');
    expect(paceText(budget('a', { jobs: ['1'] }), now, trans)).toBe('n/a an hour');
  });

  it('says when it is spent at that, as long as it is not', () => {
    const given = { jobs: ['1'], hourly: usd(4), spent_at: at(17, 40) };
    expect(paceText(budget('a', given), now, trans)).toMatch(/^\$4\.00\/h, spent at .*5:40|17:40/);
    expect(paceText(budget('a', { ...given, reach: 'spent' }), now, trans)).toBe('$4.00/h');
  });
});

it('names the period by the clocks of UTC, by which it is counted', () => {
  expect(windowText(budget('a'), trans)).toBe('November 2026');
  const day = { period: 'day', window_start: Date.UTC(2026, 10, 25) / 1000 } as const;
  expect(windowText(budget('a', day), trans)).toBe('November 25, 2026');
  expect(windowText(budget('a', { period: 'total' }), trans)).toBe('all, from the beginning');
});

it('rests until the next morning, also from the night before it', () => {
  expect(untilTomorrow(now)).toBe(15 * 3600);
  expect(untilTomorrow(new Date(2026, 10, 25, 1, 0))).toBe(31 * 3600);
});
