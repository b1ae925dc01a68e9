/** Asking an endpoint from here: a form, the request that it comes to, and what was answered. */

import type { TranslationBundle } from '@jupyterlab/translation';

import type { EndpointItem } from '../api/types';
import { RequestError } from '../request';
import type { IAiInfraApi, IEndpointAnswer } from '../tokens';
import { h } from '../widgets/dom';
import { count, sizeText } from '../widgets/format';
import { badge, button, quiet } from './parts';
import { SnippetView } from './snippetview';
import {
  bodyOf,
  bodyText,
  exampleBody,
  fieldsOf,
  parsed,
  valuesOf,
  type IField
} from './tryfields';
import { TryForm } from './tryform';
import type { IView } from './view';
import { mainOf, millisecondsText } from './words';

const PATH = 'predict';
/** More of an answer would only make the page slow. */
const MOST_SHOWN = 100_000;

let made = 0;

export interface ITryItOptions {
  api: Pick<IAiInfraApi, 'callEndpoint' | 'endpointUrl'>;
  trans: TranslationBundle;
  show: (change: Partial<IView>) => void;
}

export class TryIt {
  constructor(options: ITryItOptions) {
    this._options = options;
    const { trans } = options;
    this._form = new TryForm({ trans, onChange: values => this._onForm(values) });
    this._snippets = new SnippetView(options);
    this._body.setAttribute('aria-label', trans.__('Request, as JSON'));
    this._body.setAttribute('aria-describedby', this._wrong.id);
    this._body.addEventListener('input', () => this._onBody());
    this._body.addEventListener('keydown', this._onKey);
    this._send = button(trans.__('Send'), { kind: 'main', onClick: () => void this._toggle() });
    this._send.title = trans.__('Send the request through this server (Ctrl+Enter)');
    this._reset = button(trans.__('Example'), {
      title: trans.__('Write the example of the model once more'),
      onClick: () => this._write(exampleBody(this._manifest))
    });
    const asking = h(
      'section',
      { class: 'aiinfra-EndpointPage-ask' },
      h('h3', {}, trans.__('Request')),
      this._form.node,
      this._body,
      this._wrong,
      h('div', { class: 'aiinfra-EndpointPage-row' }, this._send, this._reset, this._hint)
    );
    const answered = h(
      'section',
      { class: 'aiinfra-EndpointPage-ask' },
      h('h3', {}, trans.__('Answer')),
      this._answer
    );
    this.node.append(
      h('div', { class: 'aiinfra-EndpointPage-columns' }, asking, answered),
      this._snippets.node
    );
  }

  readonly node = h('div');

  update(item: EndpointItem, view: IView): void {
    const version = mainOf(item);
    const key = `${item.id} ${version?.digest ?? ''}`;
    if (key !== this._key) {
      const isOther = this._item?.id !== item.id;
      this._key = key;
      this._manifest = version?.manifest ?? {};
      this._fields = fieldsOf(this._manifest);
      this._form.draw(this._fields);
      if (isOther) {
        this._asking?.abort();
        this._answer.replaceChildren(quiet(this._options.trans.__('Nothing was sent yet.')));
      }
      this._shown = null;
    }
    this._item = item;
    const text = view.body === '' ? exampleBody(this._manifest) : view.body;
    if (text !== this._shown) {
      this._draw(text);
    }
    this._snippets.update(item, view, this._isRight ? text : null);
  }

  /** Show the request wherever it stands, but where it is being written. */
  private _draw(text: string): void {
    const { trans } = this._options;
    this._shown = text;
    if (this._body.value !== text && this._body !== document.activeElement) {
      this._body.value = text;
    }
    const found = parsed(text);
    this._isRight = typeof found !== 'string';
    this._wrong.textContent =
      typeof found === 'string' ? trans.__('This is no JSON: %1', found) : '';
    this._body.setAttribute('aria-invalid', String(!this._isRight));
    this._body.rows = Math.min(16, Math.max(4, text.split('\n').length));
    const values = typeof found === 'string' ? null : valuesOf(this._fields, found.value);
    this._form.show(values);
    this._hint.textContent =
      values === null && this._fields.length > 0 && this._isRight
        ? trans.__('The request is none that the fields can show.')
        : '';
    this._drawSend();
  }

  private _drawSend(): void {
    const { trans } = this._options;
    const isAsking = this._asking !== null;
    this._send.textContent = isAsking ? trans.__('Stop') : trans.__('Send');
    this._send.disabled = !isAsking && !this._isRight;
  }

  private _onForm(values: unknown[]): void {
    this._write(bodyText(bodyOf(this._fields, values)));
  }

  private _onBody(): void {
    // Empty is what says that nothing was written: the example.
    const text = this._body.value === '' ? ' ' : this._body.value;
    this._draw(text);
    this._options.show({ body: text });
  }

  private _write(text: string): void {
    this._body.value = text;
    this._draw(text);
    this._options.show({ body: text });
  }

  private _onKey = (event: KeyboardEvent): void => {
    if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      event.stopPropagation();
      if (this._asking === null && this._isRight) {
        void this._ask();
      }
    }
  };

  private async _toggle(): Promise<void> {
    if (this._asking !== null) {
      this._asking.abort();
    } else {
      await this._ask();
    }
  }

  private async _ask(): Promise<void> {
    const { api, trans } = this._options;
    const item = this._item;
    if (item === null) {
      return;
    }
    const asking = (this._asking = new AbortController());
    this._drawSend();
    this._answer.replaceChildren(quiet(trans.__('waiting for the answer…')));
    let shown: HTMLElement[];
    try {
      const { signal } = asking;
      const answer = await api.callEndpoint(item.name, PATH, { body: this._body.value, signal });
      shown = answerNodes(answer, trans);
    } catch (error) {
      if (!(error instanceof RequestError)) {
        throw error;
      }
      shown = [
        asking.signal.aborted
          ? quiet(trans.__('It was stopped before it was answered.'))
          : h(
              'p',
              { class: 'aiinfra-EndpointPage-problem' },
              trans.__('No answer: %1', error.message)
            )
      ];
    }
    if (this._asking === asking) {
      this._asking = null;
      this._drawSend();
      if (this._item?.id === item.id) {
        this._answer.replaceChildren(...shown);
      }
    }
  }

  private _options: ITryItOptions;
  private _item: EndpointItem | null = null;
  private _key = '';
  private _manifest: Readonly<Record<string, unknown>> = {};
  private _fields: IField[] = [];
  private _shown: string | null = null;
  private _isRight = false;
  private _asking: AbortController | null = null;
  private _form: TryForm;
  private _snippets: SnippetView;
  private _body = h('textarea', { class: 'aiinfra-EndpointPage-body', spellcheck: 'false' });
  private _wrong = h('p', {
    class: 'aiinfra-EndpointPage-why',
    id: `aiinfra-try-wrong-${++made}`,
    role: 'status'
  });
  private _hint = quiet('');
  private _answer = h('div', { class: 'aiinfra-EndpointPage-answer', role: 'status' });
  private _send: HTMLButtonElement;
  private _reset: HTMLButtonElement;
}

/** What was answered: how, how fast, by which version, and what. */
export function answerNodes(answer: IEndpointAnswer, trans: TranslationBundle): HTMLElement[] {
  const { status, statusText, milliseconds, version, text } = answer;
  const isGood = status >= 200 && status < 300;
  const said = [
    badge(isGood ? 'ready' : 'failed', `${status} ${statusText}`.trim()),
    millisecondsText(milliseconds, trans),
    version === null ? '' : trans.__('version %1', version),
    sizeText(new TextEncoder().encode(text).length)
  ].filter(each => each !== '');
  const head = h('p', { class: 'aiinfra-EndpointPage-row' });
  head.append(...said.map(each => (typeof each === 'string' ? h('span', {}, each) : each)));
  const found = parsed(text);
  const shown = typeof found === 'string' ? text : bodyText(found.value);
  const pre = h(
    'pre',
    { tabindex: '0', role: 'region', 'aria-label': trans.__('Answer') },
    shown.slice(0, MOST_SHOWN)
  );
  const more = shown.length - MOST_SHOWN;
  return more > 0
    ? [head, pre, quiet(trans.__('and %1 characters more', count(more)))]
    : [head, pre];
}
