import { describe, expect, it } from 'vitest';

import { ENGLISH } from '../../cost/text';
import { hoursText, lineName, lineText, shownLines } from '../lines';
import type { Column } from '../view';
import { eur, HOUR, line, nobody, report, usd } from './reports';

const shown = (sort: Column, down: boolean, search = ''): string[] =>
  shownLines(bill, { search, sort, down }, ENGLISH).map(({ name }) => name);

const bill = report([
  line('1a', { name: 'digits', cost: usd(9), idle_cost: usd(1) }),
  line('1b', { name: 'words 10', cost: usd(10), used_seconds: 2 * HOUR, idle_seconds: 0 }),
  line('1c', { name: 'words 9', cost: [], idle_cost: [], used_seconds: 0, idle_seconds: 0 }),
  nobody(null, { allocated_seconds: 5 * HOUR })
]);

describe('a line in words', () => {
  it('has its hours, shares and amounts', () => {
    expect(lineText(line('1a', { name: 'digits' }), 'job', ENGLISH)).toMatchObject({
      name: 'digits',
      detail: '1a',
      hours: '2.0',
      used: '50 %',
      idle: '25 %',
      cost: '$4.00',
      idleCost: '$1.00'
    });
  });

  it('says what is not known, and never 0', () => {
    const bare = { used_seconds: 0, idle_seconds: 0, used_cost: [], idle_cost: [], cost: [] };
    expect(lineText(line(null, bare), 'project', ENGLISH)).toMatchObject({
      name: '(none)',
      used: 'n/a',
      idle: 'n/a',
      cost: 'n/a',
      idleCost: 'n/a'
    });
    const partly = lineText(line('a', { unpriced_seconds: 60 }), 'user', ENGLISH);
    expect(partly.cost).toBe('$4.00 + unpriced');
  });

  it('names a notebook with its folder beside it', () => {
    expect(lineText(line('/home/ada/digits.ipynb'), 'notebook', ENGLISH)).toMatchObject({
      name: 'digits.ipynb',
      detail: '/home/ada'
    });
    expect(lineText(line('digits.ipynb'), 'notebook', ENGLISH)).toMatchObject({
      name: 'digits.ipynb',
      detail: ''
    });
  });

  it('has nodes without GPUs, and what nobody had', () => {
    const node = line('a', { allocated_seconds: 0, node_seconds: 90 });
    expect(lineText(node, 'pool', ENGLISH).hours).toBe('0.025 node-h');
    expect(lineText(line('a', { node_seconds: HOUR }), 'pool', ENGLISH).hours).toBe(
      '2.0 + 1.0 node-h'
    );
    expect(lineName(nobody('lab'), 'pool', ENGLISH)).toBe('lab, nobody');
    expect(lineName(nobody(null), 'user', ENGLISH)).toBe('(nobody)');
    expect(hoursText(4_320_000)).toBe('1,200.0');
  });
});

describe('the lines that are shown', () => {
  it('are sorted by any column, the unknown and nobody’s last', () => {
    expect(shown('cost', true)).toEqual(['words 10', 'digits', 'words 9', '(nobody)']);
    expect(shown('cost', false)).toEqual(['digits', 'words 10', 'words 9', '(nobody)']);
    expect(shown('hours', true)[3]).toBe('(nobody)');
    expect(shown('used', true)).toEqual(['words 10', 'digits', 'words 9', '(nobody)']);
    expect(shown('idle', true).slice(0, 2)).toEqual(['digits', 'words 10']);
    expect(shown('name', false)).toEqual(['digits', 'words 9', 'words 10', '(nobody)']);
  });

  it('do not compare two currencies', () => {
    const mixed = report([
      line('a', { cost: usd(5) }),
      line('b', { cost: eur(1) }),
      line('c', { cost: usd(7) }),
      line('d', { cost: eur(9) })
    ]);
    const names = shownLines(mixed, { search: '', sort: 'cost', down: true }, ENGLISH);
    expect(names.map(({ name }) => name)).toEqual(['d', 'b', 'c', 'a']);
  });

  it('are found by their name or id', () => {
    expect(shown('cost', true, ' WORDS ')).toEqual(['words 10', 'words 9']);
    expect(shown('cost', true, '1a')).toEqual(['digits']);
    expect(shown('cost', true, 'nothing')).toEqual([]);
  });
});
