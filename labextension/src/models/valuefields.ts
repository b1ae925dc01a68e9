/** Values of a notebook's parameters as one fills them in, by their JSON schema. */

import type { ParameterForm, ValueSchema } from '../api/types';

/** What a value is filled in with; `any` where its type is not known. */
export type ValueKind = 'number' | 'choice' | 'flag' | 'date' | 'moment' | 'text' | 'json' | 'any';

export interface IValueField {
  readonly name: string;
  readonly schema: ValueSchema;
  readonly kind: ValueKind;
  readonly required: boolean;
  /** It is to be the name of a secret. */
  readonly isSecret: boolean;
  /** What may be chosen, as the text of each. */
  readonly choices: readonly string[];
  /** What the notebook has where nothing is given; empty where it has nothing. */
  readonly usual: string;
}

/** The fields of all parameters, in their order. */
export function valueFields(form: ParameterForm): IValueField[] {
  const required = new Set(form.required ?? []);
  return Object.entries(form.properties ?? {}).map(([name, schema]) => ({
    name,
    schema,
    kind: kindOf(schema),
    required: required.has(name),
    isSecret: schema.format === 'secret',
    choices: (schema.enum ?? []).map(each => JSON.stringify(each)),
    usual: usualText(schema)
  }));
}

/** The types that a value may have, beside none at all. */
export function typesOf({ type }: ValueSchema): string[] {
  const types = typeof type === 'string' ? [type] : (type ?? []);
  return types.filter(each => each !== 'null');
}

export function isNullable({ type }: ValueSchema): boolean {
  return Array.isArray(type) && type.includes('null');
}

function kindOf(schema: ValueSchema): ValueKind {
  if (schema.enum !== undefined) {
    return 'choice';
  }
  const types = typesOf(schema);
  const [type] = types;
  if (types.length !== 1 || type === undefined || schema.anyOf !== undefined) {
    return 'any';
  }
  switch (type) {
    case 'boolean':
      return 'flag';
    case 'integer':
    case 'number':
      return 'number';
    case 'array':
    case 'object':
      return 'json';
    default:
      break;
  }
  return schema.format === 'date' ? 'date' : schema.format === 'date-time' ? 'moment' : 'text';
}

function usualText(schema: ValueSchema): string {
  if (schema.default !== undefined) {
    return typeof schema.default === 'string' ? schema.default : JSON.stringify(schema.default);
  }
  return schema['x-source'] ?? '';
}

/** What stands in the field of a value; empty where none is given. */
export function textOf(field: IValueField, value: unknown): string {
  if (value === undefined) {
    return '';
  }
  if (field.kind === 'choice' || typeof value !== 'string') {
    return JSON.stringify(value);
  }
  return value === '' ? EMPTY : value;
}

/** How an empty text is given, where an empty field gives none. */
const EMPTY = '""';
const SECRET = /^secret:[A-Za-z_][\w.-]*$/;
const NOTHING = /^(null|none)$/i;

/**
 * The value that stands in a field: `undefined` where none is given, `null` where it cannot be read.
 *
 * Whether it fits is for the server to say; what is a text here is never anything else there.
 */
export function readValue(field: IValueField, text: string): { value: unknown } | null {
  const word = text.trim();
  if (word === '') {
    return { value: undefined };
  }
  if (isNullable(field.schema) && NOTHING.test(word)) {
    return { value: null };
  }
  switch (field.kind) {
    case 'number':
      return numberOf(word);
    case 'choice':
    case 'flag':
      return jsonOf(word);
    case 'json':
      return containerOf(word);
    case 'any':
      return { value: guessed(word) };
    case 'date':
    case 'moment':
      return { value: word };
    case 'text':
      return { value: word === EMPTY ? '' : SECRET.test(word) ? word : text };
  }
}

function numberOf(word: string): { value: number } | null {
  const value = Number(word);
  return Number.isFinite(value) ? { value } : null;
}

function jsonOf(word: string): { value: unknown } | null {
  try {
    return { value: JSON.parse(word) as unknown };
  } catch {
    return null;
  }
}

function containerOf(word: string): { value: unknown } | null {
  const found = jsonOf(word);
  return typeof found?.value === 'object' && found.value !== null ? found : null;
}

/** As papermill reads a word of which no type is known; lists and mappings are JSON. */
function guessed(word: string): unknown {
  if (/^(true|false)$/i.test(word)) {
    return word.toLowerCase() === 'true';
  }
  if (NOTHING.test(word)) {
    return null;
  }
  return (numberOf(word) ?? containerOf(word) ?? { value: word === EMPTY ? '' : word }).value;
}
