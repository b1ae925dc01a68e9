/** Some of what the router does for an endpoint, as a form of its page. */

import type { TranslationBundle } from '@jupyterlab/translation';

import type { EndpointItem, EndpointOptions } from '../api/types';
import { telling } from '../telling';
import type { IEndpointsModel } from '../tokens';
import { h } from '../widgets/dom';
import { button } from './parts';

type OptionOf<T> = {
  [K in keyof EndpointOptions]: EndpointOptions[K] extends T ? K : never;
}[keyof EndpointOptions];

interface IShown {
  label: string;
  help?: string;
}

/** An option and how it is filled in. */
export type IOption = IShown &
  (
    | {
        kind: 'number';
        name: OptionOf<number>;
        /** What one of the option is in what stands there: 100 for a share in percent. */
        times?: number;
        least: number;
        most: number;
        isWhole?: boolean;
      }
    | { kind: 'text'; name: OptionOf<string>; pattern: string }
    | { kind: 'lines'; name: OptionOf<string[]>; placeholder: string }
    | { kind: 'flag'; name: OptionOf<boolean> }
  );

export interface IOptionsFormOptions {
  endpoints: Pick<IEndpointsModel, 'configure'>;
  trans: TranslationBundle;
  /** What it is about, to who cannot see it. */
  label: string;
  /** What the button says. */
  send: string;
  options: readonly IOption[];
}

interface IField {
  option: IOption;
  control: HTMLInputElement | HTMLTextAreaElement;
  /** What it was last told to be. */
  told: string;
}

/** What is typed and not yet sent stays as it was typed, whatever the server tells. */
export class OptionsForm {
  constructor(options: IOptionsFormOptions) {
    this._options = options;
    const { trans, label, send } = options;
    this._fields = options.options.map(option => ({
      option,
      control: controlOf(option),
      told: ''
    }));
    this._send = h(
      'button',
      { type: 'submit', class: 'aiinfra-EndpointPage-button aiinfra-mod-main' },
      send
    );
    this._back = button(trans.__('Reset'), { onClick: () => this._reset() });
    this.node.setAttribute('aria-label', label);
    this.node.append(
      ...this._fields.map((field, place) => labelled(field, `${label} ${place}`)),
      h('div', { class: 'aiinfra-EndpointPage-row' }, this._send, this._back)
    );
    this.node.addEventListener('input', () => this._draw());
    this.node.addEventListener('submit', event => {
      event.preventDefault();
      void this._configure();
    });
  }

  readonly node = h('form', { class: 'aiinfra-EndpointPage-options' });

  update(item: EndpointItem): void {
    const isOther = item.id !== this._item?.id;
    this._item = item;
    for (const field of this._fields) {
      const told = textOf(field.option, item.options);
      const isTyped = !isOther && valueOf(field) !== field.told;
      field.told = told;
      if (!isTyped && valueOf(field) !== told) {
        put(field, told);
      }
    }
    this._draw();
  }

  private get _changed(): IField[] {
    return this._fields.filter(field => valueOf(field) !== field.told);
  }

  private _draw(): void {
    const isSame = this._changed.length === 0;
    this._send.disabled = isSame || this._isSending;
    this._back.disabled = isSame || this._isSending;
  }

  private _reset(): void {
    this._fields.forEach(field => put(field, field.told));
    this._draw();
  }

  private async _configure(): Promise<void> {
    const { endpoints, trans } = this._options;
    const item = this._item;
    // Enter sends a form whose button is disabled, too.
    if (item === null || this._isSending || this._changed.length === 0) {
      return;
    }
    const sent = this._changed.map(field => [field, valueOf(field)] as const);
    const options = { ...item.options };
    for (const [{ option }, text] of sent) {
      Object.assign(options, { [option.name]: readOption(option, text) });
    }
    this._isSending = true;
    this._draw();
    const title = trans.__('It was not changed');
    const answer = await telling(title, trans, () => endpoints.configure(item.id, options));
    this._isSending = false;
    if (answer !== null && this._item?.id === item.id) {
      // What was sent is no longer of whoever types: it follows what is told from here on.
      for (const [field, text] of sent) {
        if (valueOf(field) === text) {
          put(field, field.told);
        }
      }
      this.update(answer);
    }
    this._draw();
  }

  private _options: IOptionsFormOptions;
  private _fields: IField[];
  private _send: HTMLButtonElement;
  private _back: HTMLButtonElement;
  private _item: EndpointItem | null = null;
  private _isSending = false;
}

function controlOf(option: IOption): HTMLInputElement | HTMLTextAreaElement {
  switch (option.kind) {
    case 'number': {
      const { times = 1, least, most, isWhole } = option;
      return h('input', {
        type: 'number',
        required: '',
        min: String(least * times),
        max: String(most * times),
        step: isWhole && times === 1 ? '1' : 'any'
      });
    }
    case 'text':
      return h('input', {
        type: 'text',
        required: '',
        pattern: option.pattern,
        title: option.help ?? '',
        spellcheck: 'false',
        autocomplete: 'off'
      });
    case 'lines':
      return h('textarea', {
        rows: '2',
        placeholder: option.placeholder,
        spellcheck: 'false'
      });
    case 'flag':
      return h('input', { type: 'checkbox' });
  }
}

function labelled({ option, control }: IField, name: string): HTMLElement {
  const { label, help } = option;
  const isFlag = option.kind === 'flag';
  const text = h('span', {}, label);
  const node = h('label', {}, ...(isFlag ? [control, text] : [text, control]));
  node.dataset['kind'] = option.kind;
  if (help !== undefined) {
    const id = `aiinfra-option-${name.replaceAll(/\W+/g, '-')}`;
    node.append(h('span', { id, class: 'aiinfra-EndpointPage-quiet' }, help));
    control.setAttribute('aria-label', label);
    control.setAttribute('aria-describedby', id);
  }
  return node;
}

function valueOf({ option, control }: IField): string {
  if (control instanceof HTMLInputElement && option.kind === 'flag') {
    return control.checked ? 'yes' : '';
  }
  return option.kind === 'lines' ? linesOf(control.value).join('\n') : control.value.trim();
}

function put({ option, control }: IField, text: string): void {
  if (control instanceof HTMLInputElement && option.kind === 'flag') {
    control.checked = text !== '';
  } else {
    control.value = text;
  }
}

/** An option as it stands in its field. */
export function textOf(option: IOption, options: EndpointOptions): string {
  switch (option.kind) {
    case 'number':
      return digits(options[option.name] * (option.times ?? 1));
    case 'text':
      return options[option.name];
    case 'lines':
      return options[option.name].join('\n');
    case 'flag':
      return options[option.name] ? 'yes' : '';
  }
}

/** What stands in a field as the option that it is of. */
export function readOption(option: IOption, text: string): number | string | string[] | boolean {
  switch (option.kind) {
    case 'number': {
      const value = Number(text) / (option.times ?? 1);
      return option.isWhole ? Math.round(value) : Number(digits(value));
    }
    case 'text':
      return text.trim();
    case 'lines':
      return linesOf(text);
    case 'flag':
      return text !== '';
  }
}

/** `0.1 * 3` is `0.3`: what a share comes to in percent is no longer exact. */
function digits(value: number): string {
  return String(Number(value.toPrecision(12)));
}

function linesOf(text: string): string[] {
  return text
    .split('\n')
    .map(line => line.trim())
    .filter(line => line !== '');
}
