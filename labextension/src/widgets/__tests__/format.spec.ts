import { expect, it } from 'vitest';

import { count, durationText, plural, sizeText, stepText } from '../format';

// The same cases as in tests/unit/test_widget_job.py: both sides say the same.
it.each([
  [0, '0.0 s'],
  [9.94, '9.9 s'],
  [9.96, '10 s'],
  [59.7, '1 min 00 s'],
  [185, '3 min 05 s'],
  [7440, '2 h 04 min'],
  [108000, '1 d 06 h']
])('says %d seconds', (seconds, text) => {
  expect(durationText(seconds)).toBe(text);
});

it('counts whole seconds while time runs', () => {
  expect([0.2, 3.9, 59.9, 60].map(seconds => durationText(seconds, true))).toEqual([
    '0 s',
    '3 s',
    '59 s',
    '1 min 00 s'
  ]);
});

it.each([
  [null, ''],
  [0, '0 B'],
  [999, '999 B'],
  [1500, '1.5 kB'],
  [2e8, '200 MB'],
  [3e15, '3000 TB']
])('says %s bytes', (bytes, text) => {
  expect(sizeText(bytes)).toBe(text);
});

it('counts things', () => {
  expect([count(1204567), plural(1, 'rank'), plural(2048, 'rank')]).toEqual([
    '1,204,567',
    '1 rank',
    '2,048 ranks'
  ]);
});

// The same cases as in tests/unit/test_progress.py.
it.each([
  [0.0042, '4.2 ms'],
  [0.0996, '0.10 s'],
  [0.42, '0.42 s'],
  [3.14159, '3.1 s'],
  [71.2, '71 s'],
  [320, '5 min 20 s'],
  [7440, '2 h 04 min']
])('says that a step takes %d seconds', (seconds, text) => {
  expect(stepText(seconds)).toBe(text);
});
