import { describe, expect, it } from 'vitest';

import { LogState, leftOutNote, plainText, splice } from '../log';
import type { ICounts, IRankLog } from '../protocol';

function counts(changes: Partial<ICounts> = {}): ICounts {
  return {
    seen: 2,
    shown: 2,
    folded: 0,
    left_out: 0,
    same: 0,
    same_as_first: false,
    bytes: 8,
    missing: 0,
    summary: '2 lines',
    ...changes
  };
}

const LOG: IRankLog = { head: [], tail: [['one'], ['two']], counts: counts() };

describe('LogState', () => {
  it('takes keyframes that are newer, and no others', () => {
    const state = new LogState();
    expect(state.seq).toBe(-1);
    expect(state.load({ seq: 0, ranks: { '0': LOG, '-1': LOG } })).toEqual([
      { rank: 0, splices: null },
      { rank: -1, splices: null }
    ]);
    expect(state.load({ seq: 0, ranks: {} })).toEqual([]);
    expect([...state.ranks.keys()]).toEqual([0, -1]);
  });

  it('changes lines by deltas that follow', () => {
    const state = new LogState();
    state.load({ seq: 3, ranks: { '0': LOG } });
    const splices = [
      [0, 1, []],
      [1, 0, [['three', 2]]]
    ] as [number, number, [string, number][]][];
    const ranks = { '0': { splices, counts: counts({ seen: 4 }) } };
    expect(state.apply({ seq: 4, base: 3, ranks })).toEqual([{ rank: 0, splices }]);
    expect(state.ranks.get(0)).toEqual({
      head: [],
      tail: [['two'], ['three', 2]],
      counts: counts({ seen: 4 })
    });
    expect(LOG.tail).toEqual([['one'], ['two']]);
  });

  it('refuses a delta after a hole, and ignores one it has had', () => {
    const state = new LogState();
    state.load({ seq: 3, ranks: { '0': LOG } });
    expect(state.apply({ seq: 6, base: 5, ranks: { '0': { counts: counts() } } })).toBeNull();
    expect(state.apply({ seq: 3, base: 2, ranks: { '0': { counts: counts() } } })).toEqual([]);
    expect(state.seq).toBe(3);
    expect(state.load({ seq: 6, ranks: { '0': LOG } })).toHaveLength(1);
  });

  it('takes a rank that is new, and first lines that moved', () => {
    const state = new LogState();
    state.load({ seq: 0, ranks: {} });
    expect(state.apply({ seq: 1, base: 0, ranks: { '1': { ...LOG } } })).toEqual([
      { rank: 1, splices: null }
    ]);
    const moved = { '1': { head: [['one']] as [string][], splices: [[0, 1, []]] } };
    expect(
      state.apply({ seq: 2, base: 1, ranks: moved as Record<string, { head: [string][] }> })
    ).toEqual([{ rank: 1, splices: null }]);
    expect(state.ranks.get(1)).toEqual({ ...LOG, head: [['one']], tail: [['two']] });
  });
});

it('splices in order', () => {
  const items = ['a', 'b', 'c'];
  splice(items, [
    [0, 2, []],
    [1, 0, ['d', 'e']]
  ]);
  expect(items).toEqual(['c', 'd', 'e']);
});

it('writes a log as plain text, with what is not shown', () => {
  const log: IRankLog = {
    head: [['\x1b[31mfirst\x1b[0m']],
    tail: [['again', 412], ['long', 1, 5000], ['', 1, 0, 1234], ['end']],
    counts: counts({ left_out: 3211 })
  };
  expect(plainText(log).split('\n')).toEqual([
    'first',
    '⋯ 3,211 lines left out (all in the log) ⋯',
    'again  × 412',
    'long … 5,000 more bytes',
    '⋯ 1,234 bytes are missing here ⋯',
    'end'
  ]);
  expect(leftOutNote({ ...log, counts: counts({ left_out: 1 }) })).toContain('1 line left');
});
