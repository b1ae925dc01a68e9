import { describe, expect, it } from 'vitest';

import type { ValueSchema } from '../../api/types';
import { readValue, textOf, valueFields, type IValueField } from '../valuefields';

function field(schema: ValueSchema, required = false): IValueField {
  const form = { properties: { x: schema }, required: required ? ['x'] : [] };
  return valueFields(form)[0]!;
}

describe('the field of a parameter', () => {
  it.each<[string, ValueSchema, string]>([
    ['a whole number', { type: 'integer' }, 'number'],
    ['a number or nothing', { type: ['number', 'null'] }, 'number'],
    ['a literal', { type: 'string', enum: ['a', 'b'] }, 'choice'],
    ['a flag', { type: 'boolean' }, 'flag'],
    ['a day', { type: 'string', format: 'date' }, 'date'],
    ['a time', { type: 'string', format: 'date-time' }, 'moment'],
    ['a text', { type: 'string' }, 'text'],
    ['a list', { type: 'array' }, 'json'],
    ['one of two', { anyOf: [{ type: 'integer' }, { type: 'string' }] }, 'any'],
    ['anything', {}, 'any']
  ])('fits its type: %s', (_what, schema, kind) => {
    expect(field(schema).kind).toBe(kind);
  });

  it('tells what the notebook has', () => {
    expect(field({ type: 'number', default: 0.1 }).usual).toBe('0.1');
    expect(field({ type: 'string', default: 'digits' }).usual).toBe('digits');
    expect(field({ 'x-source': 'datetime.now()' }).usual).toBe('datetime.now()');
    const secret = field({ type: 'string', format: 'secret', default: 'secret:TOKEN' });
    expect([secret.isSecret, secret.usual]).toEqual([true, 'secret:TOKEN']);
    expect(field({ type: 'string' }, true).required).toBe(true);
  });
});

describe('what stands in it', () => {
  it.each<[string, ValueSchema, string, unknown]>([
    ['a number', { type: 'number' }, ' 1e-3 ', 0.001],
    ['nothing of a number', { type: ['integer', 'null'] }, 'None', null],
    ['a choice that looks like a number', { enum: ['1', 1] }, '"1"', '1'],
    ['a flag', { type: 'boolean' }, 'true', true],
    ['a day', { type: 'string', format: 'date' }, '2026-12-24', '2026-12-24'],
    ['a text that looks like code', { type: 'string' }, "__import__('os')", "__import__('os')"],
    ['a text that looks like a number', { type: 'string' }, '12', '12'],
    ['a text with its spaces', { type: 'string' }, ' a ', ' a '],
    ['an empty text', { type: 'string' }, '""', ''],
    ['a secret', { type: 'string' }, ' secret:HUB_TOKEN ', 'secret:HUB_TOKEN'],
    ['a list', { type: 'array' }, '[1, 2]', [1, 2]],
    ['what may be anything: a number', {}, '12', 12],
    ['what may be anything: a flag', {}, 'True', true],
    ['what may be anything: a mapping', {}, '{"a": 1}', { a: 1 }],
    ['what may be anything: a text', {}, 'digits', 'digits']
  ])('is a value: %s', (_what, schema, text, value) => {
    const one = field(schema);
    expect(readValue(one, text)).toEqual({ value });
    expect(readValue(one, textOf(one, value))).toEqual({ value });
  });

  it('is none where it is empty, and cannot be read where it is something else', () => {
    expect(readValue(field({ type: 'number' }), ' ')).toEqual({ value: undefined });
    expect(textOf(field({ type: 'number' }), undefined)).toBe('');
    expect(readValue(field({ type: 'number' }), 'many')).toBeNull();
    expect(readValue(field({ type: 'number' }), 'Infinity')).toBeNull();
    expect(readValue(field({ type: 'array' }), '1')).toBeNull();
    expect(readValue(field({ type: 'object' }), '{a: 1}')).toBeNull();
  });
});
