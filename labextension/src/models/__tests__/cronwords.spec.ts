import { nullTranslator } from '@jupyterlab/translation';
import { expect, it } from 'vitest';

import { cronText } from '../cronwords';

const trans = nullTranslator.load('jupyter_aiinfra');

it.each([
  ['0 2 * * *', 'every day at 02:00'],
  ['0 0 2 * * *', 'every day at 02:00'],
  ['30 8,12 * * MON-FRI', 'on weekdays at 08:30 and 12:30'],
  ['0 6 * * 1,3,5', 'every Monday, Wednesday and Friday at 06:00'],
  ['0 6 * * FRI-SUN', 'from Friday to Sunday at 06:00'],
  ['0 6 * * MON#1', 'on the first Monday of each month at 06:00'],
  ['0 6 * * 5L', 'on the last Friday of each month at 06:00'],
  ['0 6 L * *', 'on the last day of each month at 06:00'],
  ['0 6 LW * *', 'on the last working day of each month at 06:00'],
  ['0 6 1,15 * *', 'on day 1 and 15 of each month at 06:00'],
  ['* * * * *', 'every minute'],
  ['*/15 * * * *', 'every 15 minutes'],
  ['5 * * * *', 'every hour at :05'],
  ['0 */6 * * *', 'every 6 hours at :00'],
  ['*/10 8-17 * * MON-FRI', 'every 10 minutes from 08:00 to 17:59, on weekdays'],
  ['0 8-17 * * *', 'every hour from 08:00 to 17:00'],
  // Either day is enough there, and no few words say so.
  ['0 2 1 * MON', null],
  ['0 2 * 3 *', null],
  ['*/10 30 8 * * *', null],
  ['61 * * * *', null],
  ['0 2 * * NEVER', null],
  ['soon', null]
])('%s in words', (line, words) => {
  expect(cronText(line, trans)).toBe(words);
});
