/** A form of what a model takes: a field an input, of one example. */

import type { TranslationBundle } from '@jupyterlab/translation';

import { h } from '../widgets/dom';
import { cellKind, kindOf, parsed, typeText, type IField } from './tryfields';

interface ICell {
  input: HTMLInputElement | HTMLTextAreaElement;
  /** What is written; a text says what is wrong with it. */
  read: () => { value: unknown } | string;
  write: (value: unknown) => void;
}

interface IDrawn {
  cells: ICell[];
  said: HTMLElement;
  /** What the cells come to. */
  toValue: (cells: unknown[]) => unknown;
  toCells: (value: unknown) => unknown[];
}

export interface ITryFormOptions {
  trans: TranslationBundle;
  /** All that is written is right, and this is what it comes to. */
  onChange: (values: unknown[]) => void;
}

let forms = 0;

export class TryForm {
  constructor(options: ITryFormOptions) {
    this._options = options;
    this.node.setAttribute('aria-label', options.trans.__('Inputs'));
  }

  readonly node = h('div', { class: 'aiinfra-EndpointPage-fields', role: 'group' });

  /** Make the fields anew. */
  draw(fields: readonly IField[]): void {
    this._id = `aiinfra-try-${++forms}`;
    const nodes = fields.map((field, at) => this._field(field, at));
    this._drawn = nodes.map(([, drawn]) => drawn);
    this.node.replaceChildren(...nodes.map(([node]) => node));
    this.node.hidden = fields.length === 0;
  }

  /** Show these values; `null` where what is asked is none of this form. */
  show(values: readonly unknown[] | null): void {
    this.node.classList.toggle('aiinfra-mod-other', values === null);
    this._drawn.forEach(({ cells, said, toCells }, at) => {
      const all = values === null ? [] : toCells(values[at]);
      cells.forEach((cell, place) => {
        // Not while somebody writes in it.
        if (values !== null && cell.input !== document.activeElement) {
          cell.write(all[place]);
          cell.input.removeAttribute('aria-invalid');
        }
      });
      if (!cells.some(({ input }) => input === document.activeElement)) {
        said.textContent = '';
      }
    });
  }

  private _field(field: IField, at: number): [HTMLElement, IDrawn] {
    const { name } = field;
    const id = `${this._id}-${at}`;
    const kind = kindOf(field);
    const said = h('span', { class: 'aiinfra-EndpointPage-why', id: `${id}-said`, role: 'status' });
    const size = kind === 'row' ? (field.shape[0] ?? 0) : 1;
    const cells = Array.from({ length: size }, (_, place) =>
      kind === 'json' ? this._json() : this._cell(field, kind === 'row' ? place : null)
    );
    cells.forEach(({ input }, place) => {
      input.id = place === 0 ? id : `${id}-${place}`;
      input.setAttribute('aria-describedby', said.id);
      input.addEventListener('input', () => this._read());
    });
    const isRow = kind === 'row';
    const drawn: IDrawn = {
      ...{ cells, said },
      toValue: values => (isRow ? values : values[0]),
      toCells: value => (isRow && Array.isArray(value) ? (value as unknown[]) : [value])
    };
    const label = h(
      'label',
      { for: id },
      name,
      ' ',
      h('span', { class: 'aiinfra-EndpointPage-quiet' }, typeText(field))
    );
    const inputs = h('span', { class: 'aiinfra-EndpointPage-cells' });
    inputs.append(...cells.map(({ input }) => input));
    return [h('div', { class: 'aiinfra-EndpointPage-field' }, label, inputs, said), drawn];
  }

  /** One value; `place` is where it stands in a list. */
  private _cell(field: IField, place: number | null): ICell {
    const { trans } = this._options;
    const kind = cellKind(field);
    const type = { number: 'number', flag: 'checkbox', text: 'text' }[kind];
    const input = h('input', { type, ...(kind === 'number' && { step: stepOf(field) }) });
    if (place !== null) {
      input.setAttribute('aria-label', trans.__('%1, value %2', field.name, place + 1));
    }
    if (kind === 'flag') {
      return {
        input,
        read: () => ({ value: input.checked }),
        write: value => (input.checked = value === true)
      };
    }
    return {
      input,
      read: () => {
        if (kind === 'text') {
          return { value: input.value };
        }
        const isNumber = input.value.trim() !== '' && Number.isFinite(Number(input.value));
        return isNumber ? { value: Number(input.value) } : trans.__('a number is expected');
      },
      write: value => {
        const text = typeof value === 'string' || typeof value === 'number' ? String(value) : '';
        if (input.value !== text) {
          input.value = text;
        }
      }
    };
  }

  /** A value that is too large for a field of its own. */
  private _json(): ICell {
    const { trans } = this._options;
    const input = h('textarea', { rows: '3', spellcheck: 'false' });
    return {
      input,
      read: () => {
        const found = parsed(input.value);
        return typeof found === 'string' ? trans.__('This is no JSON: %1', found) : found;
      },
      write: value => (input.value = JSON.stringify(value) ?? '')
    };
  }

  private _read(): void {
    let isRight = true;
    const values = this._drawn.map(({ cells, said, toValue }) => {
      let wrong = '';
      const all = cells.map(({ input, read }) => {
        const found = read();
        if (typeof found === 'string') {
          wrong ||= found;
          input.setAttribute('aria-invalid', 'true');
          return null;
        }
        input.removeAttribute('aria-invalid');
        return found.value;
      });
      said.textContent = wrong;
      isRight &&= wrong === '';
      return toValue(all);
    });
    if (isRight) {
      this._options.onChange(values);
    }
  }

  private _options: ITryFormOptions;
  private _id = '';
  private _drawn: IDrawn[] = [];
}

function stepOf({ dtype }: IField): string {
  return dtype.includes('int') ? '1' : 'any';
}
