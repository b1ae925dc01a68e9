import { describe, expect, it } from 'vitest';

import { BOUNDS, endpoint, version } from '../../endpointpage/__tests__/samples';
import { quantile, Rates } from '../endpointrates';

/** Tell that version 1 (and 2 where it is given) has counted so far. */
function told(
  rates: Rates,
  at: number,
  requests: number | null,
  {
    errors = 0,
    counts = [0, 0, 0, 0, 0, 0],
    second
  }: { errors?: number; counts?: number[]; second?: number } = {}
): void {
  const one = version(1, { requests, errors, latency_counts: counts });
  const versions = second === undefined ? [one] : [one, version(2, { requests: second })];
  rates.push(endpoint('e1', { versions }), at);
}

describe('Rates', () => {
  it('knows nothing before there are two samples', () => {
    const rates = new Rates();
    expect(rates.endpoint('e1').perSecond).toBeNull();
    told(rates, 100, 5);
    expect(rates.endpoint('e1')).toMatchObject({ perSecond: null, p95: null });
    told(rates, 102, 5);
    expect(rates.endpoint('e1')).toMatchObject({ perSecond: 0, p95: null });
  });

  it('is of the last ten seconds, by version and all together', () => {
    const rates = new Rates();
    for (let at = 0; at <= 40; at += 2) {
      told(rates, at, at < 20 ? 0 : (at - 20) * 10, { errors: at, second: at * 2 });
    }
    expect(rates.version('e1', 1)).toMatchObject({ perSecond: 10, errorsPerSecond: 1 });
    expect(rates.version('e1', 2).perSecond).toBe(2);
    expect(rates.endpoint('e1').perSecond).toBe(12);
    expect(rates.points('e1', 1).map(({ at }) => at)).toHaveLength(20);
    expect(rates.points('e1', 1)[4]?.perSecond).toBe(0);
  });

  it('says nothing of the time in which nobody looked, or the router was started anew', () => {
    const rates = new Rates();
    told(rates, 0, 100);
    told(rates, 2, 120);
    told(rates, 60, 900);
    expect(rates.version('e1', 1).perSecond).toBeNull();
    told(rates, 62, 920);
    expect(rates.version('e1', 1).perSecond).toBe(10);
    told(rates, 64, 4);
    expect(rates.version('e1', 1).perSecond).toBeNull();
    told(rates, 66, 8);
    expect(rates.version('e1', 1).perSecond).toBe(2);
    expect(rates.points('e1', 1).map(({ perSecond }) => perSecond)).toEqual([
      10,
      null,
      10,
      null,
      2
    ]);
  });

  it('leaves out what the router does not count, and forgets', () => {
    const rates = new Rates();
    told(rates, 0, 1);
    told(rates, 2, null);
    told(rates, 4, 9);
    expect(rates.version('e1', 1).perSecond).toBe(2);
    for (let at = 6; at < 1000; at += 2) {
      told(rates, at, at);
    }
    expect(rates.points('e1', 1).length).toBeLessThan(160);
    rates.keep(new Set(['other']));
    expect(rates.points('e1', 1)).toEqual([]);
  });

  it('reads how long answers took from the buckets of the window alone', () => {
    const rates = new Rates();
    told(rates, 0, 100, { counts: [0, 0, 0, 0, 0, 100] });
    told(rates, 2, 200, { counts: [0, 0, 100, 0, 0, 100] });
    expect(rates.endpoint('e1').p50).toBeCloseTo(3.5);
    expect(rates.endpoint('e1').p95).toBeCloseTo(4.85);
  });
});

describe('quantile', () => {
  it.each([
    [[0, 0, 0, 0, 0, 0], null],
    [[10, 0, 0, 0, 0, 0], 0.5],
    [[5, 0, 5, 0, 0, 0], 1],
    [[0, 0, 0, 0, 0, 1], Infinity]
  ])('of %j is %s', (counts, expected) => {
    expect(quantile(BOUNDS, counts, 0.5)).toBe(expected);
  });
});
