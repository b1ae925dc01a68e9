/** The fields of a form by what a model takes, and the request that they come to. Pure. */

import type { Values } from '../api/types';

/** Longer rows of numbers are written as JSON. */
const MOST_CELLS = 16;
/** What is longer than a line is written on several. */
const LINE = 80;

/** One input of a model; `shape` is that of one example. */
export interface IField {
  name: string;
  dtype: string;
  shape: readonly (number | null)[];
}

/** `row` is a number, a text or a flag for each place of a short list; `json` is anything else. */
export type FieldKind = 'number' | 'flag' | 'text' | 'row' | 'json';

/** What a manifest says that the model takes; empty where an example may be any JSON. */
export function fieldsOf(manifest: Values): IField[] {
  const { inputs } = manifest;
  if (!Array.isArray(inputs)) {
    return [];
  }
  return inputs.flatMap((given: unknown) => {
    if (typeof given !== 'object' || given === null) {
      return [];
    }
    const { name, dtype, shape } = given as Values;
    const sizes = Array.isArray(shape) ? shape : [];
    return typeof name !== 'string'
      ? []
      : [
          {
            name,
            dtype: typeof dtype === 'string' ? dtype : 'float32',
            shape: sizes.map((size: unknown) => (typeof size === 'number' ? size : null))
          }
        ];
  });
}

/** How a value without a shape is written. */
export function cellKind({ dtype }: IField): 'number' | 'flag' | 'text' {
  return dtype === 'bool' ? 'flag' : dtype === 'string' ? 'text' : 'number';
}

export function kindOf(field: IField): FieldKind {
  const { shape } = field;
  const [size] = shape;
  if (shape.length === 0) {
    return cellKind(field);
  }
  return shape.length === 1 && size != null && size <= MOST_CELLS ? 'row' : 'json';
}

/** `float32`, `float32[2]`, `int64[any, 3]`. */
export function typeText({ dtype, shape }: IField): string {
  const sizes = shape.map(size => size ?? 'any').join(', ');
  return shape.length === 0 ? dtype : `${dtype}[${sizes}]`;
}

/** The request that a package brings as its example; the plainest where it brings none. */
export function exampleBody(manifest: Values): string {
  const { example } = manifest;
  if (example !== undefined && example !== null) {
    return bodyText({ inputs: example });
  }
  const fields = fieldsOf(manifest);
  if (fields.length === 0) {
    return bodyText({ inputs: [null] });
  }
  return bodyText(bodyOf(fields, fields.map(plain)));
}

/** A request of one example, by the value of each field. */
export function bodyOf(fields: readonly IField[], values: readonly unknown[]): { inputs: unknown } {
  if (fields.length === 1) {
    return { inputs: [values[0]] };
  }
  return { inputs: Object.fromEntries(fields.map(({ name }, at) => [name, [values[at]]])) };
}

/** JSON as people write it: short lists stand on one line. */
export function bodyText(value: unknown, indent = ''): string {
  const flat = flatText(value);
  if (flat.length + indent.length <= LINE || typeof value !== 'object' || value === null) {
    return flat;
  }
  const inner = `${indent}  `;
  const parts = Array.isArray(value)
    ? value.map((each: unknown) => bodyText(each, inner))
    : Object.entries(value).map(
        ([key, each]) => `${JSON.stringify(key)}: ${bodyText(each, inner)}`
      );
  const [open, close] = Array.isArray(value) ? ['[', ']'] : ['{', '}'];
  return `${open}\n${parts.map(part => inner + part).join(',\n')}\n${indent}${close}`;
}

function flatText(value: unknown): string {
  if (Array.isArray(value)) {
    return `[${value.map(flatText).join(', ')}]`;
  }
  if (typeof value === 'object' && value !== null) {
    const parts = Object.entries(value).map(
      ([key, each]) => `${JSON.stringify(key)}: ${flatText(each)}`
    );
    return `{${parts.join(', ')}}`;
  }
  return JSON.stringify(value) ?? 'null';
}

/** The value of each field in a request of one example; `null` where it is none of this form. */
export function valuesOf(fields: readonly IField[], body: unknown): unknown[] | null {
  if (typeof body !== 'object' || body === null || fields.length === 0) {
    return null;
  }
  const { inputs } = body as Values;
  const lists: unknown[] =
    fields.length === 1
      ? [inputs]
      : fields.map(({ name }) =>
          typeof inputs === 'object' && inputs !== null ? (inputs as Values)[name] : undefined
        );
  const values = lists.map(list => (Array.isArray(list) && list.length === 1 ? list : null));
  const isFit = values.every((list, at) => {
    const field = fields[at];
    return list !== null && field !== undefined && fits(field, list[0]);
  });
  return isFit ? values.map(list => (list as unknown[])[0]) : null;
}

/** Parse what somebody has written; a text says what is wrong with it. */
export function parsed(text: string): { value: unknown } | string {
  try {
    return { value: JSON.parse(text) as unknown };
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

function fits(field: IField, value: unknown): boolean {
  const kind = kindOf(field);
  if (kind === 'json') {
    return Array.isArray(value);
  }
  if (kind === 'row') {
    const { shape, ...rest } = field;
    return (
      Array.isArray(value) &&
      value.length === shape[0] &&
      value.every(each => fits({ ...rest, shape: [] }, each))
    );
  }
  return typeof value === { number: 'number', flag: 'boolean', text: 'string' }[kind];
}

function plain({ dtype, shape }: IField): unknown {
  const [size, ...rest] = shape;
  if (size === undefined) {
    return dtype === 'bool' ? false : dtype === 'string' ? '' : 0;
  }
  return Array.from({ length: size ?? 1 }, () => plain({ name: '', dtype, shape: rest }));
}
