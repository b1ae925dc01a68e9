import { describe, expect, it } from 'vitest';

import { applyChanges, Board, UNKNOWN } from '../wire';
import { delta, deltas, frame, steps } from './frames';

const GIB = 2 ** 30;

function told(values: Int16Array): (number | null)[] {
  return [...values].map(value => (value === UNKNOWN ? null : value));
}

function stepsOf(board: Board): { node_values: unknown[]; gpu_values: unknown[] } {
  const of = (
    rows: number,
    series: number,
    read: (row: number, series: number) => number
  ): unknown[] =>
    Array.from({ length: rows * series }, (_, place) => {
      const value = read(place % rows, Math.floor(place / rows));
      return value === UNKNOWN ? null : value;
    });
  return {
    node_values: of(board.nodes.length, board.nodeSeries.length, (row, series) =>
      board.nodeSteps(row, series)
    ),
    gpu_values: of(board.gpus.length, board.gpuSeries.length, (row, series) =>
      board.gpuSteps(row, series)
    )
  };
}

describe('Board', () => {
  it('comes to the numbers that the server has, message by message', () => {
    const board = new Board(frame());
    steps.forEach(({ node_values, gpu_values }, place) => {
      const change = deltas[place - 1];
      if (change) {
        expect(board.apply(change)).toBe(true);
        expect(board.at).toBe(change.at);
      }
      expect(stepsOf(board)).toEqual({ node_values, gpu_values });
    });
  });

  it('has rows whole that have changed, and says that some have', () => {
    const board = new Board(frame());
    const seen: [boolean, string | undefined, number | undefined][] = [];
    let before = board.revision;
    for (const change of deltas) {
      board.apply(change);
      seen.push([
        board.revision !== before,
        board.nodes[1]?.state,
        board.gpus[0]?.processes?.length
      ]);
      before = board.revision;
    }
    expect(seen.slice(0, 6)).toEqual([
      [false, 'live', 0],
      [false, 'live', 0],
      [true, 'live', 2],
      [true, 'stale', undefined],
      [true, 'unreachable', 0],
      [true, 'live', 0]
    ]);
  });

  it('gives values in the unit of their series; what is not known is null', () => {
    const board = new Board(frame());
    expect(board.value(0, 'utilization')).toBe(71);
    expect(board.value(0, 'memory')).toBe(40 * GIB);
    expect(board.value(1, 'utilization')).toBeNull();
    expect(board.value(0, 'no such series')).toBeNull();
    expect(board.value(99, 'memory')).toBeNull();
    expect(board.nodeValue(0, 'cpu')).toBe(13);
  });

  it.each([
    ['another key', delta({ key: 4, g: 'a' })],
    ['something was missed', delta({ since: 5, seq: 6, g: 'a' })],
    ['more numbers than there are', delta({ g: '28a' })],
    ['a text that is damaged', delta({ g: 'a+;' })],
    ['a row that is not there', delta({ gpus: { 99: frame().gpus[0] as never } })]
  ])('changes nothing where a change does not fit: %s', (_, change) => {
    const board = new Board(frame());
    const before = stepsOf(board);
    expect(board.apply(change)).toBe(false);
    expect(stepsOf(board)).toEqual(before);
    expect([board.seq, board.revision]).toEqual([1, 0]);
  });

  it('sums GPUs and not their slices', () => {
    const board = new Board(frame());
    // The second GPU has a slice; its own utilization and the slice's are unknown.
    expect(board.summary()).toEqual({
      total: 3,
      busy: 2,
      lost: 0,
      utilization: 36,
      memoryUsed: 120 * GIB,
      memoryTotal: 240 * GIB,
      power: 1050,
      powerLimit: 2100
    });
    expect(board.summary(gpu => gpu.node === 1).total).toBe(1);
  });

  it('counts a GPU as in use that has a slice in use', () => {
    const given = frame();
    const slice = given.gpus[2] as (typeof given.gpus)[number];
    given.gpus[2] = { ...slice, holders: [{ job: 'j', ranks: [0], leased: false }] };
    expect(new Board(given).summary().busy).toBe(3);
  });

  it('does not make zeros of what is unknown', () => {
    const given = frame();
    const board = new Board({ ...given, gpu_values: given.gpu_values.map(() => null) });
    const { utilization, memoryUsed, memoryTotal, power, powerLimit } = board.summary();
    expect([utilization, memoryUsed, memoryTotal, power, powerLimit]).toEqual(Array(5).fill(null));
  });

  it('sums the nodes of an overview, by how many GPUs they have', () => {
    const given = frame();
    const board = new Board({
      ...given,
      scope: { ...given.scope, detail: 'nodes' },
      node_series: ['utilization', 'memory', 'power', 'busy'].map(name => ({
        name,
        unit: '',
        step: 1
      })),
      node_values: [10, 70, 5, null, 20, 30, 1, 1],
      gpu_series: [],
      gpus: [],
      gpu_values: []
    });
    expect(board.summary()).toMatchObject({
      total: 3,
      busy: 2,
      lost: null,
      utilization: 30,
      memoryUsed: 5,
      power: 50
    });
  });
});

describe('applyChanges', () => {
  const old = Int16Array.from([1, 2, UNKNOWN, 4, 5, 6]);

  it.each([
    ['', [1, 2, null, 4, 5, 6]],
    ['aZ!7;?', [2, -24, 7, null, 5, 6]],
    ['4.b', [1, 2, null, 4, 5, 8]],
    ['..a', [1, 2, 1, 4, 5, 6]],
    ['+300;-300;3A', [301, -298, null, 4, 5, 5]],
    ['6', [1, 2, null, 4, 5, 6]]
  ])('reads %j', (text, expected) => {
    expect(told(applyChanges(old, text) as Int16Array)).toEqual(expected);
  });

  it.each(['7', '6a', '+5', '+x;', '!;', '*', 'a b'])('refuses %j', text => {
    expect(applyChanges(old, text)).toBeNull();
  });
});
