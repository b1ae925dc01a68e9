import { expect, it } from 'vitest';

import { dollars, jobCost } from '../../__tests__/samples';
import { Meter } from '../meter';
import { costText } from '../text';

let now = 0;
const meter = (): Meter => {
  now = 100;
  return new Meter(() => now);
};
const shown = (of: Meter): string | null => costText(of.cost);

it('counts on from when it was told, whatever the time is at the server', () => {
  const one = meter();
  expect(shown(one)).toBeNull();
  one.take(jobCost('1', { at: 9e9, cost: [dollars('1')], hourly: dollars('3.6') }));
  expect(shown(one)).toBe('$1.00');
  now += 100;
  expect(shown(one)).toBe('$1.10');
});

it('does not begin anew with the same told again', () => {
  const one = meter();
  const item = jobCost('1', { cost: [dollars('1')], hourly: dollars('3.6') });
  one.take(item);
  now += 100;
  one.take({ ...item });
  expect(shown(one)).toBe('$1.10');
});

it('does not go back by the time that news take', () => {
  const one = meter();
  one.take(jobCost('1', { at: 1, cost: [dollars('1')], hourly: dollars('36') }));
  now += 100; // two dollars are shown, and the news are two seconds behind
  one.take(jobCost('1', { at: 99, cost: [dollars('1.98')], hourly: dollars('36') }));
  expect(shown(one)).toBe('$2.00');
  now += 10;
  expect(shown(one)).toBe('$2.08');
});

it('goes back where the cost was another after all', () => {
  const one = meter();
  one.take(jobCost('1', { at: 1, cost: [dollars('9')], hourly: dollars('36') }));
  one.take(jobCost('1', { at: 2, cost: [dollars('1')], hourly: dollars('36') }));
  expect(shown(one)).toBe('$1.00');
  one.take(jobCost('1', { at: 3, cost: [dollars('0.99')], hourly: null }));
  expect(shown(one)).toBe('$0.99');
  one.take(jobCost('2', { at: 1, cost: [dollars('0.98')], hourly: dollars('36') }));
  expect(shown(one)).toBe('$0.98');
});

it('stands still when the job is over', () => {
  const one = meter();
  one.take(jobCost('1', { cost: [dollars('1')], hourly: null }));
  now += 1e6;
  expect(shown(one)).toBe('$1.00');
});
