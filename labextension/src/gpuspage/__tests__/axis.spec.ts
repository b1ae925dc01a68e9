import { nullTranslator } from '@jupyterlab/translation';
import { describe, expect, it } from 'vitest';

import { marks, numberText, topOf } from '../axis';
import { emptyLines, type ICurves } from '../curves';
import { ticks, windowText } from '../time';
import type { SeriesName } from '../view';

const GIB = 2 ** 30;
const trans = nullTranslator.load('jupyter_aiinfra');

function curves(series: SeriesName, ...most: number[]): ICurves {
  const values = Float32Array.from(most);
  const line = { key: '', label: '', mean: values, least: values, most: values };
  return {
    t0: 0,
    width: 1,
    count: most.length,
    rows: [],
    hidden: 0,
    lines: { ...emptyLines(), [series]: [line] }
  };
}

describe('an axis', () => {
  it('goes up to what there can be, and to what there is where that is more', () => {
    const limits = { memory: 80 * GIB, power: 700 };
    expect(topOf('utilization', curves('utilization', 3), limits)).toBe(100);
    expect(topOf('memory', curves('memory', 3 * GIB), limits)).toBe(80 * GIB);
    expect(topOf('power', curves('power', 3), limits)).toBe(800);
    expect(topOf('power', curves('power', 3_100), limits)).toBe(4_000);
    expect(topOf('temperature', curves('temperature', 40), limits)).toBe(100);
    const unknown = { memory: null, power: null };
    expect(topOf('memory', curves('memory', NaN), unknown)).toBe(GIB);
    expect(topOf('power', curves('power', 173), unknown)).toBe(200);
  });

  it('has a few round marks', () => {
    expect(marks('utilization', 100)).toEqual([0, 25, 50, 75, 100]);
    expect(marks('memory', 80 * GIB)).toEqual([0, 20, 40, 60, 80].map(mark => mark * GIB));
    expect(marks('power', 800)).toEqual([0, 200, 400, 600, 800]);
  });

  it('says what is unknown, and never 0', () => {
    expect(numberText('power', NaN, trans)).toBe('n/a');
    expect(numberText('memory', 1.5 * GIB, trans)).toBe('1.5 GiB');
    expect(numberText('temperature', 71.4, trans)).toBe('71 °C');
  });
});

describe('times', () => {
  const noon = new Date(2026, 0, 5, 12, 0, 0).getTime() / 1000;

  it('are at whole minutes, hours and days where the reader is', () => {
    const at = (seconds: number, most: number): string[] =>
      ticks(noon, noon + seconds, most).map(({ at: moment }) => {
        const date = new Date(moment * 1000);
        return [date.getHours(), date.getMinutes(), date.getSeconds()].join(':');
      });
    expect(at(20, 4)).toEqual(['12:0:0', '12:0:5', '12:0:10', '12:0:15', '12:0:20']);
    expect(at(300, 5)).toEqual(['12:0:0', '12:1:0', '12:2:0', '12:3:0', '12:4:0', '12:5:0']);
    expect(at(86_400, 5)).toEqual(['12:0:0', '18:0:0', '0:0:0', '6:0:0', '12:0:0']);
    expect(at(7 * 86_400, 7)).toEqual(Array(7).fill('0:0:0'));
  });

  it('say of midnight which day begins', () => {
    const texts = ticks(noon, noon + 86_400, 5).map(({ text }) => text);
    expect(texts[2]).toMatch(/6/);
    expect(texts[2]).not.toMatch(/:/);
    expect(texts[1]).toMatch(/18/);
  });

  it('name the day of what is not today', () => {
    expect(windowText(noon, noon + 60, noon)).not.toMatch(/5/);
    expect(windowText(noon, noon + 60, noon + 5 * 86_400)).toMatch(/5/);
  });
});
