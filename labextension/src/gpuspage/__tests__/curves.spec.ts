import { describe, expect, it } from 'vitest';

import type { GpuCurve, GpuRange } from '../../api/types';
import {
  bucketAt,
  isEmpty,
  recordedCurves,
  type ICurves,
  type ILine,
  type ISource
} from '../curves';
import { LiveCurves } from '../livecurves';
import type { Kind } from '../view';
import { board, NAMES, source, T0 } from './boards';

function live(sources: ISource[], kind: Kind, count = 4, from = T0): ICurves {
  return new LiveCurves().make(sources, { kind, heat: 'utilization', from, count, names: NAMES });
}

const told = (values: Float32Array): (number | null)[] =>
  [...values].map(value => (Number.isNaN(value) ? null : Math.round(value * 100) / 100));
const means = (lines: ILine[]): Record<string, (number | null)[]> =>
  Object.fromEntries(lines.map(({ label, mean }) => [label, told(mean)]));

describe('curves of the last seconds', () => {
  const busy = (gpu: number): number => 10 * gpu;

  it('are the mean of what is together, between its least and most; a gap is a gap', () => {
    const here = source([
      board(1, 4, T0 + 1, busy),
      board(1, 4, T0 + 2, gpu => (gpu < 2 ? 50 : null))
    ]);
    const { lines, t0, width, count } = live([here], 'pool');
    const [line] = lines.utilization;
    expect([t0, width, count]).toEqual([T0, 1, 4]);
    expect(told(line?.mean as Float32Array)).toEqual([null, 15, 50, null]);
    expect(told(line?.least as Float32Array)).toEqual([null, 0, 50, null]);
    expect(told(line?.most as Float32Array)).toEqual([null, 30, 50, null]);
  });

  it('are one a GPU where they are few, and then no rows', () => {
    const curves = live([source([board(2, 2, T0, busy)])], 'gpu', 1);
    expect(means(curves.lines.utilization)).toEqual({
      'n0:0': [0],
      'n0:1': [10],
      'n1:0': [20],
      'n1:1': [30]
    });
    expect(curves.rows).toEqual([]);
    const alone = live([source([board(1, 2, T0, busy)])], 'gpu', 1);
    expect(Object.keys(means(alone.lines.utilization))).toEqual(['GPU 0', 'GPU 1']);
  });

  it('are one in all where they are many, and each GPU has a row below its node', () => {
    const curves = live([source([board(4, 4, T0, busy)])], 'gpu', 1);
    expect(means(curves.lines.utilization)).toEqual({ here: [75] });
    expect(curves.rows).toHaveLength(16);
    expect(curves.rows[5]).toMatchObject({ label: 'n1:1', group: 'n1' });
    expect(told(curves.rows[5]?.values as Float32Array)).toEqual([50]);
  });

  it('tell pools apart', () => {
    const [here, there] = [
      source([board(1, 4, T0, () => 10)]),
      source([board(1, 4, T0, () => 30)], 'there')
    ];
    const curves = live([here, there], 'pool', 1);
    expect(means(curves.lines.utilization)).toEqual({ here: [10], there: [30] });
    expect(curves.rows.map(({ group }) => group)).toContain('there/n0');
  });

  it('are by user, job and rank of whom the GPUs are now', () => {
    const owned = board(1, 4, T0, busy, (_, number) => ({
      holders: number < 2 ? [{ job: 'j1', ranks: [1 - number], leased: true }] : [],
      processes:
        number === 3
          ? [{ pid: 1, user: 'bob', command: null, memory_bytes: null, job: null, rank: null }]
          : []
    }));
    const sources = [source([owned])];
    expect(means(live(sources, 'user', 1).lines.utilization)).toEqual({ ada: [5], bob: [30] });
    expect(means(live(sources, 'job', 1).lines.utilization)).toEqual({ 'name of j1': [5] });
    Object.assign(owned.scope, { job: 'j1' });
    expect(means(live(sources, 'rank', 1).lines.utilization)).toEqual({
      'rank 0': [10],
      'rank 1': [0]
    });
  });

  it('draw those that work most, where there are too many to be told apart', () => {
    const owned = board(
      1,
      10,
      T0,
      gpu => gpu,
      (_, number) => ({
        holders: [{ job: `job${number}`, ranks: [], leased: true }]
      })
    );
    const curves = live([source([owned])], 'job', 1);
    expect(curves.hidden).toBe(2);
    const names = Object.keys(means(curves.lines.utilization));
    expect(names).toHaveLength(8);
    expect(names).not.toContain('name of job1');
  });

  it('count no slice twice', () => {
    const sliced = board(
      1,
      2,
      T0,
      () => 40,
      (_, number) => (number === 1 ? { parent: 'GPU-0' } : {})
    );
    const sources = [source([sliced])];
    expect(live(sources, 'pool', 1).lines.memory[0]?.most[0]).toBe(10 * 16 * 2 ** 20);
    expect(Object.keys(means(live(sources, 'gpu', 1).lines.utilization))).toEqual([
      'GPU 0',
      'slice 1'
    ]);
  });

  it('come to the same second by second as all at once', () => {
    const random = (gpu: number, second: number): number | null =>
      (gpu * 7 + second * 13) % 11 === 0 ? null : (gpu * 31 + second * 17) % 100;
    const shape = board(3, 4, T0, () => 0);
    const trail = source([]).trail;
    const steady = new LiveCurves();
    let last = shape;
    for (let second = 0; second < 40; second += 1) {
      if (second % 12 > 7) {
        continue; // some that are missed
      }
      const next = board(3, 4, T0 + second + (second % 3) / 4, gpu => random(gpu, second));
      trail.push(next);
      last = second === 0 ? next : last;
      // The rows are those of the first frame, as where only numbers change.
      const sources = [{ pool: 'here', board: last, trail }];
      const how = {
        heat: 'utilization' as const,
        from: T0 + second - 19,
        count: 20,
        names: NAMES
      };
      const once = new LiveCurves().make(sources, { ...how, kind: 'gpu' });
      expect(steady.make(sources, { ...how, kind: 'gpu' })).toEqual(once);
    }
    trail.fill(
      [{ node: 'n0', at: [T0 + 33], rows: { 'GPU-0': [[99], [1], [1], [1], [1], [1], [1]] } }],
      last
    );
    const how = { heat: 'utilization' as const, from: T0 + 20, count: 20, names: NAMES };
    const sources = [{ pool: 'here', board: last, trail }];
    const filled = steady.make(sources, { ...how, kind: 'gpu' });
    expect(filled).toEqual(new LiveCurves().make(sources, { ...how, kind: 'gpu' }));
    expect(filled.rows[0]?.values[13]).toBe(99);
  });
});

describe('curves of what was recorded', () => {
  const curve = (values: Partial<GpuCurve>): GpuCurve => ({
    pool: 'here',
    node: null,
    gpu: null,
    user: null,
    job: null,
    rank: null,
    series: 'utilization',
    mean: [1, null, 3],
    least: [0, null, 2],
    most: [2, null, 4],
    ...values
  });
  const range = (...curves: GpuCurve[]): GpuRange => ({
    start: T0,
    width_seconds: 60,
    count: 3,
    curves
  });
  const how = {
    names: NAMES,
    heat: 'utilization' as const,
    labels: new Map([['here\nn0\nGPU-7', 'n0:7']])
  };

  it('keep gaps, and go by what each is of', () => {
    const answer = range(
      curve({}),
      curve({ node: 'n1' }),
      curve({ node: 'n0', gpu: 'GPU-7' }),
      curve({ user: 'ada' }),
      curve({ job: 'j1' }),
      curve({ job: 'j1', node: 'n0', gpu: 'GPU-7', rank: 3 }),
      curve({ series: 'memory' }),
      curve({ series: 'clock' })
    );
    const curves = recordedCurves(answer, null, how);
    expect(Object.keys(means(curves.lines.utilization))).toEqual([
      'here',
      'n1',
      'n0:7',
      'ada',
      'name of j1',
      'rank 3'
    ]);
    expect(means(curves.lines.memory)).toEqual({ here: [1, null, 3] });
    expect([curves.t0, curves.width, curves.count]).toEqual([T0, 60, 3]);
  });

  it('have a row a GPU, as people count', () => {
    const gpus = [10, 9, 2, 1, 0].map(number =>
      curve({ node: `n${number}`, gpu: `GPU-${number}` })
    );
    const curves = recordedCurves(range(curve({})), range(...gpus), how);
    expect(curves.rows.map(({ group }) => group)).toEqual(['n0', 'n1', 'n2', 'n9', 'n10']);
    expect(recordedCurves(range(), range(...gpus.slice(1)), how).rows).toEqual([]);
  });

  it('know where a moment is, and whether there is anything', () => {
    const curves = recordedCurves(range(curve({})), null, how);
    expect([T0 - 1, T0, T0 + 61, T0 + 179, T0 + 180].map(at => bucketAt(curves, at))).toEqual([
      -1, 0, 1, 2, -1
    ]);
    expect(isEmpty(curves)).toBe(false);
    const nothing = range(curve({ mean: [null, null, null] }));
    expect(isEmpty(recordedCurves(nothing, null, how))).toBe(true);
  });
});
