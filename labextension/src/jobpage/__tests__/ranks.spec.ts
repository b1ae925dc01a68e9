import { nullTranslator } from '@jupyterlab/translation';
import { describe, expect, it } from 'vitest';

import type { INode, IRank } from '../../widgets/protocol';
import { ranksNode } from '../ranks';

const trans = nullTranslator.load('jupyter_aiinfra');

function rank(number: number, changes: Partial<IRank> = {}): IRank {
  return {
    rank: number,
    state: 'running',
    node: 'node-a',
    failed: false,
    progress: null,
    ...changes
  };
}

function cells(node: HTMLElement): string[][] {
  return [...node.querySelectorAll('tr')].map(row =>
    [...row.querySelectorAll('th, td')].map(cell => cell.textContent ?? '')
  );
}

describe('the table of ranks', () => {
  it('has a row a rank in order, and says in words which one is slow', () => {
    const slow = { step: 1228, step_seconds: 0.71, behind: 12, slow: true };
    const fast = { step: 1240, step_seconds: 0.0042, behind: 0, slow: false };
    const node = ranksNode(
      [rank(1, { progress: slow }), rank(0, { progress: fast }), rank(2)],
      trans
    );
    expect(cells(node)).toEqual([
      ['Rank', 'State', 'Node', 'Step', 'Time of a step', 'Steps behind', 'Remark'],
      ['0', 'running', 'node-a', '1,240', '4.2 ms', '0', ''],
      ['1', 'running', 'node-a', '1,228', '0.71 s', '12', 'slow'],
      ['2', 'running', 'node-a', '', '', '', '']
    ]);
    expect(node.querySelectorAll('th[scope="row"]')).toHaveLength(3);
  });

  it('leaves a time that is not known empty', () => {
    const first = { step: 1, step_seconds: null, behind: 0, slow: false };
    expect(cells(ranksNode([rank(0, { progress: first })], trans))[1]?.[4]).toBe('');
  });

  it('tells how to report steps where nobody does', () => {
    const node = ranksNode([rank(0)], trans);
    expect(node.textContent).toContain('from jupyter_aiinfra import step');
    expect(cells(node)[0]).toEqual(['Rank', 'State', 'Node']);
  });
});

describe('the table of nodes', () => {
  it('stands above where there are several, with how each is in words, and its ranks', () => {
    const ranks = [rank(0), rank(1), rank(2, { node: 'node-b' }), rank(3, { node: 'node-b' })];
    const nodes: INode[] = [
      { name: 'node-a', health: 'live', since: null, reason: '' },
      { name: 'node-b', health: 'unreachable', since: null, reason: 'timed out' },
      { name: 'node-c', health: 'lost', since: null, reason: '' }
    ];
    expect(cells(ranksNode(ranks, trans, nodes)).slice(0, 4)).toEqual([
      ['Node', 'State', 'Ranks'],
      ['node-a', 'live', '0–1'],
      ['node-b', 'does not answer: timed out', '2–3'],
      ['node-c', 'given up by the others', '']
    ]);
    const since = cells(ranksNode(ranks, trans, [{ ...nodes[0]!, since: 7 }, nodes[1]!]));
    expect(since[0]).toEqual(['Node', 'State', 'Since', 'Ranks']);
    expect(since[2]).toEqual(['node-b', 'does not answer: timed out', '', '2–3']);
    expect(ranksNode(ranks, trans, nodes.slice(1, 2)).textContent).not.toContain('timed out');
  });
});
