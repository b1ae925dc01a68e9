import type { ReadonlyJSONObject } from '@lumino/coreutils';
import { describe, expect, it } from 'vitest';

import { optionFields, readFields } from '../optionfields';

/** As the server makes it of a dataclass. */
const LOCAL = {
  $ref: '#/$defs/LocalOptions',
  $defs: {
    LocalOptions: {
      title: 'LocalOptions',
      type: 'object',
      properties: {
        python: {
          anyOf: [{ type: 'string' }, { type: 'null' }],
          default: null,
          description: 'interpreter the ranks run with'
        },
        max_procs: { anyOf: [{ type: 'integer' }, { type: 'null' }], default: null }
      },
      required: []
    }
  }
};

function only(property: ReadonlyJSONObject, more: ReadonlyJSONObject = {}): ReadonlyJSONObject {
  return { type: 'object', properties: { it: property }, ...more };
}

function read(schema: ReadonlyJSONObject, text: string | boolean): unknown {
  const { values, problems } = readFields(optionFields(schema), { it: text });
  return problems['it'] ?? values['it'];
}

describe('optionFields', () => {
  it('reads the schema of the local pool', () => {
    expect(optionFields(LOCAL)).toEqual([
      {
        name: 'python',
        title: 'Python',
        description: 'interpreter the ranks run with',
        kind: 'text',
        required: false,
        instead: [],
        initial: '',
        choices: []
      },
      {
        name: 'max_procs',
        title: 'Max procs',
        description: '',
        kind: 'integer',
        required: false,
        instead: [],
        initial: '',
        choices: []
      }
    ]);
  });

  it('puts what is required first, and keeps the order otherwise', () => {
    const property = { type: 'string' };
    const schema = {
      properties: { a: property, b: property, c: property, d: property },
      required: ['d', 'b']
    };

    expect(optionFields(schema).map(field => field.name)).toEqual(['b', 'd', 'a', 'c']);
  });

  it.each([
    [{ type: 'string', default: 'x' }, 'text', 'x'],
    [{ type: ['string', 'null'] }, 'text', ''],
    [{ type: 'integer', default: 0 }, 'integer', '0'],
    [{ type: 'number', default: 1.5 }, 'number', '1.5'],
    [{ type: 'boolean', default: true }, 'flag', true],
    [{ type: 'boolean' }, 'flag', false],
    [{ enum: ['a', 'b'], default: 'b' }, 'choice', '"b"'],
    [{ type: 'array', items: { type: 'string' }, default: ['a', 'b'] }, 'lines', 'a\nb'],
    [
      { type: 'object', additionalProperties: { type: 'string' }, default: { A: '1' } },
      'pairs',
      'A=1'
    ],
    [{ type: 'array', items: { type: 'object' }, default: [] }, 'json', '[]'],
    [{ anyOf: [{ type: 'integer' }, { type: 'string' }] }, 'json', ''],
    [{}, 'json', '']
  ])('draws %j as %s with %j in it', (property, kind, initial) => {
    expect(optionFields(only(property))).toMatchObject([{ kind, initial }]);
  });

  it('follows a reference within an alternative', () => {
    const schema = only(
      { anyOf: [{ $ref: '#/$defs/Size' }, { type: 'null' }], default: null },
      { $defs: { Size: { enum: ['small', 'large'] } } }
    );

    expect(optionFields(schema)[0]).toMatchObject({
      kind: 'choice',
      choices: [
        { value: 'small', label: 'small' },
        { value: 'large', label: 'large' }
      ]
    });
  });

  it('takes the titles of choices that have some', () => {
    const schema = only({ oneOf: [{ const: 1, title: 'One' }, { const: 2 }] });

    expect(optionFields(schema)[0]?.choices).toEqual([
      { value: 1, label: 'One' },
      { value: 2, label: '2' }
    ]);
  });

  it('makes nothing of what is no schema of an object', () => {
    expect(optionFields({})).toEqual([]);
    expect(optionFields({ $ref: '#/nowhere' })).toEqual([]);
  });
});

describe('fields of which one is to be given', () => {
  it('name each other', () => {
    const text = { type: 'string' };
    const fields = optionFields({
      properties: { hosts: text, hosts_from: text, folder: text },
      oneOf: [{ required: ['hosts'] }, { required: ['hosts_from'] }]
    });
    expect(fields.map(({ instead }) => instead)).toEqual([['Hosts from'], ['Hosts'], []]);
  });
});

describe('readFields', () => {
  it.each([
    [{ type: 'string' }, ' /usr/bin/python ', '/usr/bin/python'],
    [{ type: 'integer' }, '4', 4],
    [{ type: 'integer' }, '4.5', 'not an integer'],
    [{ type: 'integer' }, 'four', 'not an integer'],
    [{ type: 'number' }, '4.5', 4.5],
    [{ type: 'number' }, 'x', 'not a number'],
    [{ type: 'boolean' }, true, true],
    [{ type: 'boolean', default: true }, false, false],
    [{ enum: [1, '1'] }, '"1"', '1'],
    [{ enum: [1, '1'] }, '1', 1],
    [{ type: 'array', items: { type: 'string' } }, 'a\n\n b \n', ['a', 'b']],
    [
      { type: 'object', additionalProperties: { type: 'string' } },
      'A = 1\nB=x=y',
      { A: '1', B: 'x=y' }
    ],
    [{ type: 'object', additionalProperties: { type: 'string' } }, 'A', 'not a pair'],
    [{ type: 'array', items: { type: 'integer' } }, '[1, 2]', [1, 2]],
    [{ type: 'array', items: { type: 'integer' } }, '[1', 'not JSON']
  ])('reads in %j the text %j as %j', (property, text, expected) => {
    expect(read(only(property), text)).toEqual(expected);
  });

  it('leaves out what is empty or as at first', () => {
    expect(readFields(optionFields(LOCAL), { python: '  ' })).toEqual({ values: {}, problems: {} });
    expect(read(only({ type: 'integer', default: 8 }), '8')).toBeUndefined();
  });

  it('asks for what is required, and sends it also where it is as at first', () => {
    const required = { required: ['it'] };

    expect(read(only({ type: 'string' }, required), ' ')).toBe('missing');
    expect(read(only({ type: 'integer', default: 8 }, required), '8')).toBe(8);
    expect(read(only({ type: 'boolean' }, required), false)).toBe(false);
  });
});
