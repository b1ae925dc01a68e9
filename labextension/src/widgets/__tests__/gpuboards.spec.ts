import { describe, expect, it } from 'vitest';

import { steps } from '../../gpus/__tests__/frames';
import { GpuBoards } from '../gpuboards';
import { aChange, aWhole } from './gpus';

function values(boards: GpuBoards): (number | null)[] {
  const board = boards.pools[0]?.board;
  const told = steps[0]?.message as { gpu_series: { name: string; step: number }[] };
  return told.gpu_series.flatMap(({ name, step }) =>
    (board?.gpus ?? []).map((_, gpu) => {
      const value = board?.value(gpu, name) ?? null;
      return value === null ? null : Math.round(value / step);
    })
  );
}

describe('GpuBoards', () => {
  it('holds nothing before it is told', () => {
    const boards = new GpuBoards();
    expect(boards.load({})).toBe(false);
    expect(boards.apply({})).toBe(true);
    expect(boards.apply(aChange(1))).toBe(false);
    expect([boards.seq, boards.at, boards.pools]).toEqual([-1, null, []]);
  });

  it('follows by changes alone, and says when one was missed', () => {
    const boards = new GpuBoards();
    expect(boards.load(aWhole(1))).toBe(true);
    expect(boards.apply(aChange(2, 0))).toBe(true);
    expect(values(boards)).toEqual(steps[1]?.gpu_values);
    // The same again, and all of it as of then, hold nothing new.
    expect(boards.apply(aChange(2, 0))).toBe(true);
    expect(boards.load(aWhole(2))).toBe(false);
    expect(boards.apply(aChange(4, 2))).toBe(false);
    expect(boards.seq).toBe(2);
    expect(boards.load(aWhole(4))).toBe(true);
    expect(boards.seq).toBe(4);
  });

  it('knows of a pool that cannot be read why, and keeps the curves of the others', () => {
    const boards = new GpuBoards();
    boards.load(aWhole(1));
    const trail = boards.pools[0]?.trail;
    const lab = { pool: 'lab', problem: 'lab does not answer', frame: null };
    boards.load({ seq: 2, pools: [...aWhole(2).pools, lab] });
    expect(boards.pools.map(({ problem, board }) => [problem, board !== null])).toEqual([
      ['', true],
      ['lab does not answer', false]
    ]);
    expect(boards.pools[0]?.trail).toBe(trail);
    expect(boards.at).toBe(aWhole().pools[0]?.frame?.at);
  });

  it('takes the seconds before, of its own nodes', () => {
    const boards = new GpuBoards();
    boards.load(aWhole(1));
    const board = boards.pools[0]?.board;
    const [node, uuid] = [board?.nodes[0]?.name ?? '', board?.gpus[0]?.uuid ?? ''];
    const at = (boards.at ?? 0) - 2;
    boards.fill([
      { node, at: [at, at + 1], rows: { [uuid]: [[7, 8]] } },
      { node: 'elsewhere', at: [at], rows: { [uuid]: [[99]] } }
    ]);
    const window = boards.pools[0]?.trail.window(node, uuid, 'utilization', 3);
    expect(window?.values.slice(0, 2)).toEqual([7, 8]);
  });
});
