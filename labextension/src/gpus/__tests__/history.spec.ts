import { describe, expect, it } from 'vitest';

import type { GpuPast } from '../../api/types';
import { Trail } from '../history';
import { Board } from '../wire';
import { frame } from './frames';

const UUID = frame().gpus[0]?.uuid as string;
const T0 = 1000;

/** The board at a time, its first GPU so busy. */
function at(time: number, utilization: number | null): Board {
  const given = frame();
  return new Board({
    ...given,
    at: time,
    gpu_values: given.gpu_values.map((value, place) => (place === 0 ? utilization : value))
  });
}

function trailOf(...ticks: [number, number | null][]): Trail {
  const trail = new Trail(20);
  ticks.forEach(([time, value]) => trail.push(at(time, value)));
  return trail;
}

function past(times: number[], utilization: (number | null)[]): GpuPast {
  const others = Array<(number | null)[]>(6).fill(times.map(() => null));
  return { node: 'n0', at: times, rows: { [UUID]: [utilization, ...others] } };
}

const seen = (trail: Trail, seconds = 6): (number | null)[] =>
  trail.window('n0', UUID, 'utilization', seconds).values;

describe('Trail', () => {
  it('has a number a second, and nothing before the first', () => {
    const trail = trailOf([T0, 1], [T0 + 1, 2], [T0 + 2, 3]);
    expect(trail.window('n0', UUID, 'utilization', 5)).toEqual({
      t0: T0 - 2,
      values: [null, null, 1, 2, 3]
    });
    expect(trail.newest).toBe(T0 + 2);
  });

  it('gives values in the unit of the series, and has the nodes as well', () => {
    const trail = trailOf([T0, 1]);
    expect(trail.window('n0', UUID, 'memory', 1).values).toEqual([40 * 2 ** 30]);
    expect(trail.window('n0', '', 'cpu', 1).values).toEqual([13]);
    expect(trail.window('n0', 'nobody', 'memory', 1).values).toEqual([null]);
    expect(trail.window('n0', UUID, 'no such', 1).values).toEqual([null]);
  });

  it('makes no gap of ticks that fall to both sides of a second', () => {
    expect(seen(trailOf([T0, 1], [T0 + 0.9, 2], [T0 + 2.1, 3], [T0 + 3.1, 4]), 4)).toEqual([
      2, 3, 3, 4
    ]);
  });

  it('keeps a gap a gap, and unknown unknown', () => {
    expect(seen(trailOf([T0, 1], [T0 + 1, null], [T0 + 5, 6]))).toEqual([
      1,
      null,
      null,
      null,
      null,
      6
    ]);
  });

  it('keeps no more than it was made for, however long nothing came', () => {
    const trail = trailOf([T0, 1], [T0 + 1, 2], [T0 + 500, 3], [T0 + 501, 4]);
    const { values } = trail.window('n0', UUID, 'utilization', 1000);
    expect(values.length).toBe(20);
    expect(values.filter(value => value !== null)).toEqual([3, 4]);
  });

  it('forgets a GPU that is gone', () => {
    const trail = trailOf([T0, 1]);
    const given = frame();
    for (let second = 1; second <= 21; second += 1) {
      trail.push(new Board({ ...given, at: T0 + second, gpus: [], gpu_values: [] }));
    }
    expect(seen(trail, 20).every(value => value === null)).toBe(true);
  });

  it('takes in older seconds where it knows nothing, and nowhere else', () => {
    const trail = trailOf([T0, 1], [T0 + 5, 6]);
    const times = [T0 - 1, T0, T0 + 1, T0 + 2.2, T0 + 4.1];
    trail.fill([past(times, [9, 50, 2, 3, 5])], at(T0 + 5, 6));
    expect(seen(trail, 7)).toEqual([9, 1, 2, 3, 5, 5, 6]);
  });

  it('keeps the gaps of what it is given', () => {
    const trail = trailOf([T0 + 5, 6]);
    trail.fill([past([T0, T0 + 4], [1, 5])], at(T0 + 5, 6));
    expect(seen(trail)).toEqual([1, null, null, null, 5, 6]);
  });

  it('can be filled before anything has come', () => {
    const trail = new Trail(20);
    trail.fill([past([T0, T0 + 1], [1, 2])], at(T0, 1));
    expect(seen(trail, 2)).toEqual([1, 2]);
    trail.fill([], at(T0, 1));
    expect(trail.newest).toBe(T0 + 1);
  });

  it('begins anew where the clock was put back', () => {
    const trail = trailOf([T0 + 100, 1], [T0, 2], [T0 + 1, 3]);
    expect(seen(trail, 3)).toEqual([null, 2, 3]);
  });

  it('grows its revision with whatever is new', () => {
    const trail = trailOf([T0, 1]);
    const before = trail.revision;
    trail.push(at(T0 + 1, 2));
    expect(trail.revision).toBeGreaterThan(before);
  });
});
