/**
 * A pool kind's options, from JSON schema to the fields of a form and back to values.
 *
 * What a schema says beyond this is the server's to check: it is the one that knows the kind.
 */

import type { ReadonlyJSONObject, ReadonlyJSONValue } from '@lumino/coreutils';
import { JSONExt } from '@lumino/coreutils';

/**
 * What a field takes. `lines` is a list of texts, one a line; `pairs` an object of texts, one
 * `NAME=VALUE` a line; `json` anything else, written as JSON.
 */
export type FieldKind =
  'text' | 'integer' | 'number' | 'flag' | 'choice' | 'lines' | 'pairs' | 'json';

export interface IOptionField {
  readonly name: string;
  readonly title: string;
  readonly description: string;
  readonly kind: FieldKind;
  readonly required: boolean;
  /** The titles of the fields that may be given instead; exactly one of all these is to be. */
  readonly instead: readonly string[];
  /** What the field shows at first. */
  readonly initial: string | boolean;
  /** What may be chosen; only of a `choice`. */
  readonly choices: readonly { readonly value: ReadonlyJSONValue; readonly label: string }[];
}

/** What stands in the fields, by name: text as typed, or whether it is ticked. */
export type FieldTexts = Readonly<Record<string, string | boolean>>;

/** Why a field cannot be read. The form puts it in the user's language. */
export type FieldProblem =
  'missing' | 'not an integer' | 'not a number' | 'not a pair' | 'not JSON';

/** The schema's properties as fields, the required ones first, else in the schema's order. */
export function optionFields(schema: ReadonlyJSONObject): IOptionField[] {
  const whole = resolve(schema, schema);
  const required = new Set(asArray(whole['required']));
  const fields = Object.entries(asObject(whole['properties'])).map(([name, given]) =>
    field(name, narrow(asObject(given), schema), required.has(name))
  );
  const either = asArray(whole['oneOf']).flatMap(each => asArray(asObject(each)['required']));
  const linked = fields.map(each =>
    either.includes(each.name) ? { ...each, instead: titlesBeside(each, fields, either) } : each
  );
  return [...linked.filter(each => each.required), ...linked.filter(each => !each.required)];
}

/**
 * Read the fields. What is empty or as at first is left out, so that the server's own default
 * counts, also where that changes later.
 */
export function readFields(
  fields: readonly IOptionField[],
  texts: FieldTexts
): { values: ReadonlyJSONObject; problems: Readonly<Record<string, FieldProblem>> } {
  const values: Record<string, ReadonlyJSONValue> = {};
  const problems: Record<string, FieldProblem> = {};
  for (const each of fields) {
    const text = texts[each.name] ?? each.initial;
    const empty = typeof text === 'string' && text.trim() === '';
    if (empty && each.required) {
      problems[each.name] = 'missing';
    } else if (!empty && (each.required || text !== each.initial)) {
      const read = READERS[each.kind](text, each);
      if ('problem' in read) {
        problems[each.name] = read.problem;
      } else {
        values[each.name] = read.value;
      }
    }
  }
  return { values, problems };
}

function titlesBeside(
  { name }: IOptionField,
  fields: readonly IOptionField[],
  either: readonly ReadonlyJSONValue[]
): string[] {
  const others = fields.filter(each => either.includes(each.name) && each.name !== name);
  return others.map(({ title }) => title);
}

type Read = { value: ReadonlyJSONValue } | { problem: FieldProblem };

const READERS: Record<FieldKind, (text: string | boolean, field: IOptionField) => Read> = {
  text: text => ({ value: String(text).trim() }),
  integer: text =>
    /^[-+]?\d+$/.test(String(text).trim())
      ? { value: Number(text) }
      : { problem: 'not an integer' },
  number: text =>
    Number.isFinite(Number(text)) ? { value: Number(text) } : { problem: 'not a number' },
  flag: text => ({ value: text === true }),
  choice: (text, { choices }) => {
    const chosen = choices.find(choice => key(choice.value) === text);
    return chosen ? { value: chosen.value } : { problem: 'missing' };
  },
  lines: text => ({ value: lines(text) }),
  pairs: text => {
    const pairs = lines(text).map(line => /^([^=]+)=(.*)$/.exec(line));
    return pairs.every(pair => pair !== null)
      ? { value: Object.fromEntries(pairs.map(pair => [pair[1]!.trim(), pair[2]!.trim()])) }
      : { problem: 'not a pair' };
  },
  json: text => {
    try {
      return { value: JSON.parse(String(text)) as ReadonlyJSONValue };
    } catch {
      return { problem: 'not JSON' };
    }
  }
};

/** What a choice is called in the field's value: its JSON, so that 1 and "1" stay apart. */
export function key(value: ReadonlyJSONValue): string {
  return JSON.stringify(value);
}

function lines(text: string | boolean): string[] {
  return String(text)
    .split('\n')
    .map(line => line.trim())
    .filter(line => line !== '');
}

function field(name: string, schema: ReadonlyJSONObject, required: boolean): IOptionField {
  const choices = choicesOf(schema);
  const kind = choices.length > 0 ? 'choice' : kindOf(schema);
  return {
    name,
    title: asText(schema['title']) || titled(name),
    description: asText(schema['description']),
    kind,
    required,
    instead: [],
    initial: initial(kind, schema['default'] ?? null),
    choices
  };
}

function kindOf(schema: ReadonlyJSONObject): FieldKind {
  switch (schema['type']) {
    case 'string':
      return 'text';
    case 'integer':
      return 'integer';
    case 'number':
      return 'number';
    case 'boolean':
      return 'flag';
    case 'array':
      return asObject(schema['items'])['type'] === 'string' ? 'lines' : 'json';
    case 'object':
      return asObject(schema['additionalProperties'])['type'] === 'string' ? 'pairs' : 'json';
    default:
      return 'json';
  }
}

function choicesOf(schema: ReadonlyJSONObject): IOptionField['choices'] {
  const named = asArray(schema['oneOf'] ?? schema['anyOf']).map(asObject);
  if (named.length > 0 && named.every(each => 'const' in each)) {
    return named.map(each => ({
      value: each['const']!,
      label: asText(each['title']) || plain(each['const']!)
    }));
  }
  return asArray(schema['enum'])
    .filter(value => value !== null)
    .map(value => ({ value, label: plain(value) }));
}

function initial(kind: FieldKind, given: ReadonlyJSONValue): string | boolean {
  if (kind === 'flag') {
    return given === true;
  }
  if (given === null) {
    return '';
  }
  switch (kind) {
    case 'choice':
      return key(given);
    case 'lines':
      return asArray(given).map(plain).join('\n');
    case 'pairs':
      return Object.entries(asObject(given))
        .map(([name, value]) => `${name}=${plain(value)}`)
        .join('\n');
    case 'json':
      return key(given);
    default:
      return plain(given);
  }
}

/** The schema with its reference followed, and without the alternative of null. */
function narrow(schema: ReadonlyJSONObject, root: ReadonlyJSONObject): ReadonlyJSONObject {
  const direct = resolve(schema, root);
  const alternatives = asArray(direct['anyOf'] ?? direct['oneOf']).map(asObject);
  const others = alternatives.filter(each => each['type'] !== 'null');
  if (others.length === 1 && !('const' in others[0]!)) {
    const outer = Object.entries(direct).filter(([name]) => name !== 'anyOf' && name !== 'oneOf');
    return { ...narrow(others[0]!, root), ...Object.fromEntries(outer) };
  }
  if (Array.isArray(direct['type'])) {
    const types = asArray(direct['type']).filter(type => type !== 'null');
    return types.length === 1 ? { ...direct, type: types[0]! } : direct;
  }
  return direct;
}

/** What `$ref` points to within `root`, under what stands beside it; a schema without one, as is. */
function resolve(schema: ReadonlyJSONObject, root: ReadonlyJSONObject): ReadonlyJSONObject {
  const { $ref: reference, ...rest } = schema;
  if (typeof reference !== 'string' || !reference.startsWith('#/')) {
    return schema;
  }
  const found = reference
    .slice(2)
    .split('/')
    .reduce<ReadonlyJSONObject>((at, name) => asObject(at[name]), root);
  return { ...found, ...rest };
}

function asObject(value: ReadonlyJSONValue | undefined): ReadonlyJSONObject {
  return value !== undefined && JSONExt.isObject(value) ? value : {};
}

function asArray(value: ReadonlyJSONValue | undefined): readonly ReadonlyJSONValue[] {
  return value !== undefined && JSONExt.isArray(value) ? value : [];
}

function asText(value: ReadonlyJSONValue | undefined): string {
  return typeof value === 'string' ? value : '';
}

function plain(value: ReadonlyJSONValue): string {
  return typeof value === 'string' ? value : key(value);
}

/** `max_procs` as `Max procs`. */
function titled(name: string): string {
  const words = name.replace(/_/g, ' ');
  return words.charAt(0).toUpperCase() + words.slice(1);
}
