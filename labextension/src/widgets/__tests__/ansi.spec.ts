import { describe, expect, it } from 'vitest';

import { spans, stripAnsi } from '../ansi';

describe('spans', () => {
  it('leaves plain text in one piece', () => {
    expect(spans('a <b> line')).toEqual([
      { text: 'a <b> line', classes: [], color: '', background: '' }
    ]);
    expect(spans('')).toEqual([]);
  });

  it('splits where the style changes', () => {
    expect(
      spans('\x1b[1;31mred\x1b[0m not\x1b[3mi\x1b[23;9mx').map(s => [s.text, s.classes])
    ).toEqual([
      ['red', ['bold', 'fg-1']],
      [' not', []],
      ['i', ['italic']],
      ['x', ['strike']]
    ]);
  });

  it.each([
    ['97', ['fg-15']],
    ['44', ['bg-4']],
    ['103', ['bg-11']],
    ['7;31', ['inverse', 'bg-1']],
    ['38;5;9', ['fg-9']],
    ['31;39', []],
    ['1;2;22', []],
    ['38', []],
    ['38;5;999', []],
    ['200', []]
  ])('names the colours of %s', (code, classes) => {
    expect(spans(`\x1b[${code}mx`)[0]?.classes).toEqual(classes);
  });

  it.each([
    ['38;5;208', 'rgb(255, 135, 0)', ''],
    ['48;5;255', '', 'rgb(238, 238, 238)'],
    ['38;2;1;2;3', 'rgb(1, 2, 3)', ''],
    ['38;2;1;2', '', '']
  ])('mixes the colours of %s', (code, color, background) => {
    expect(spans(`\x1b[${code}mx`)).toEqual([{ text: 'x', classes: [], color, background }]);
  });
});

it('takes the colours away', () => {
  expect(stripAnsi('\x1b[1;31mred\x1b[0m not')).toBe('red not');
});
