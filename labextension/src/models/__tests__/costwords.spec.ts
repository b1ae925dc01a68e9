import { nullTranslator } from '@jupyterlab/translation';
import { describe, expect, it } from 'vitest';

import { budget, eur, summary, usd } from '../../__tests__/costsamples';
import { costWords, isPressing, summaryAfter } from '../costwords';

const trans = nullTranslator.load('jupyter_aiinfra');
const spent = summary({
  hourly: [usd(4.1)],
  today: [usd(12.3)],
  month: [usd(100)],
  pools: [{ pool: 'lab', hourly: [usd(4.1)], jobs: 2 }]
});

describe('costWords', () => {
  it.each([
    [null, null],
    [summary(), null],
    [summary({ unpriced_jobs: 2 }), null],
    [spent, '$4.10/h · $12.30 today'],
    [summary({ today: [usd(3)] }), '$3.00 today'],
    [summary({ hourly: [eur(1), usd(2)] }), '€1.00 + $2.00/h']
  ])('tells what is known, and nothing of what is not (%#)', (now, text) => {
    expect(costWords(now, [], trans)?.text ?? null).toBe(text);
  });

  it('grows between two tellings, and stays unknown where it is', () => {
    const later = summaryAfter(spent, 1800);
    expect(costWords(later, [], trans)?.text).toBe('$4.10/h · $14.35 today');
    expect(costWords(later, [], trans)?.caption).toContain('This month: $102.05');
    const unknown = summary({ hourly: [usd(4.1)], today: [usd(1)] });
    expect(summaryAfter(unknown, 1800).month).toEqual([]);
  });

  it('has the rest in its caption', () => {
    const now = { ...spent, month: [], unpriced_jobs: 1 };
    expect(costWords(now, null, trans)?.caption.split('\n')).toEqual([
      'Today: $12.30',
      'This month: n/a',
      'lab: $4.10/h, 2 jobs',
      '1 job has no price, and is in none of it.',
      'Click to show the cost.'
    ]);
  });

  it.each([
    [[budget('a')], ''],
    [[budget('a', { reach: 'warned', share: 0.856 })], 'budget at 85 %'],
    [[budget('a', { reach: 'spent', share: 1.2 })], 'budget spent'],
    [[budget('a', { reach: 'spent', snoozed: true })], ''],
    [[budget('a', { reach: 'warned' }), budget('b', { reach: 'spent' })], '2 budgets warn'],
    [
      [budget('a', { reach: 'warned' }), budget('b', { reach: 'spent', asks_until: 9 })],
      'budget asks'
    ]
  ])('warns of budgets (%#)', (budgets, warning) => {
    expect(costWords(spent, budgets, trans)?.warning).toBe(warning);
  });

  it('is there for a budget alone, and names those that press first', () => {
    const budgets = [
      budget('a', { reach: 'warned', name: 'the first' }),
      budget('b', { reach: 'spent', name: 'the second', asks_until: 9, spent: usd(21) })
    ];
    const words = costWords(summary(), budgets, trans);
    expect(words?.text).toBe('');
    expect(words?.caption.split('\n').slice(0, 2)).toEqual([
      'Budget of the second: $21.00 of $20.00 spent. It asks whether its jobs may go on.',
      'Budget of the first: $5.00 of $20.00 spent.'
    ]);
  });
});

it('presses only where it warns or is spent, and does not rest', () => {
  const all = (['within', 'warned', 'spent', 'unknown'] as const).map(reach =>
    isPressing(budget('a', { reach }))
  );
  expect(all).toEqual([false, true, true, false]);
  expect(isPressing(budget('a', { reach: 'spent', snoozed: true }))).toBe(false);
});
