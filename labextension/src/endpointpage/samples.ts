/** Requests to an endpoint that were kept with their answers, and how many are. */

import type { TranslationBundle } from '@jupyterlab/translation';

import type { EndpointItem, EndpointSample } from '../api/types';
import { Redrawn } from '../costpage/redraw';
import { timeText } from '../jobpage/timeline';
import { RequestError } from '../request';
import type { IAiInfraApi, IEndpointsModel } from '../tokens';
import { h } from '../widgets/dom';
import { count, sizeText } from '../widgets/format';
import { OptionsForm, type IOption } from './optionsform';
import { badge, button, copyButton, quiet, swatch, table, type IHead } from './parts';
import { millisecondsText } from './words';

const PAGE = 50;
/** A body of so many characters stands in one line. */
const SHORT = 120;

export interface ISamplesOptions {
  api: Pick<IAiInfraApi, 'endpointSamples'>;
  endpoints: Pick<IEndpointsModel, 'configure'>;
  trans: TranslationBundle;
}

/** Asked for when it is first looked at, and when it is asked to: no sample changes. */
export class Samples {
  constructor(options: ISamplesOptions) {
    this._options = options;
    const { trans } = options;
    const label = (text: string, control: HTMLElement): HTMLElement =>
      h('label', {}, text, control);
    this._version.setAttribute('aria-label', trans.__('Of version'));
    this._version.addEventListener('change', () => this._ask());
    this._errors.addEventListener('change', () => this._ask());
    const bar = h(
      'div',
      { class: 'aiinfra-EndpointPage-row' },
      label(trans.__('Of'), this._version),
      h('label', {}, this._errors, trans.__('only errors')),
      button(trans.__('Read again'), { name: 'read', onClick: () => this._ask() }),
      this._found
    );
    this._form = new OptionsForm({
      endpoints: options.endpoints,
      trans,
      label: trans.__('Which requests are kept'),
      send: trans.__('Keep'),
      options: kept(trans)
    });
    this.node.append(this._form.node, this._kept, bar, this._list, this._detail);
  }

  readonly node = h('div', { class: 'aiinfra-EndpointPage-samples' });

  update(item: EndpointItem): void {
    const isOther = item.id !== this._item?.id;
    this._item = item;
    this._drawVersions(item, isOther);
    this._drawKept(item);
    this._form.update(item);
    if (isOther) {
      this._ask();
    }
  }

  private _drawVersions({ versions }: EndpointItem, isOther: boolean): void {
    const { trans } = this._options;
    const chosen = isOther ? '' : this._version.value;
    const numbers = versions.map(({ number }) => String(number)).reverse();
    this._versionsDrawn.draw(JSON.stringify(numbers), () => [
      h('option', { value: '' }, trans.__('all versions')),
      ...numbers.map(number => h('option', { value: number }, trans.__('version %1', number)))
    ]);
    this._version.value = chosen;
  }

  private _drawKept({ options }: EndpointItem): void {
    const { trans } = this._options;
    const { sampling, samples, sample_days: days, redact } = options;
    const left =
      redact.length === 0
        ? trans.__('Only what looks like a secret is left out.')
        : trans.__('Left out: %1, and what looks like a secret.', redact.join(', '));
    const text =
      sampling === 0
        ? trans.__('No request is kept.')
        : trans.__(
            '%1 of the requests are kept with their answers: %2 at most, for %3 days. %4',
            `${Number((sampling * 100).toFixed(4))} %`,
            count(samples),
            days,
            left
          );
    if (this._kept.textContent !== text) {
      this._kept.textContent = text;
    }
  }

  /** Ask for the newest, or for those `before`, which are added to those that are shown. */
  private _ask(before?: string): void {
    const id = this._item?.id;
    if (id === undefined) {
      return;
    }
    const { api, trans } = this._options;
    const number = Number(this._version.value);
    const asking = api.endpointSamples(id, {
      limit: PAGE,
      ...(number > 0 && { version: number }),
      ...(this._errors.checked && { errors: true }),
      ...(before !== undefined && { before })
    });
    this._asking = asking;
    if (before === undefined) {
      this._show('');
      this._list.replaceChildren(quiet(trans.__('loading…')));
    }
    asking.then(
      ({ samples, found, next }) => {
        if (asking === this._asking) {
          this._all = before === undefined ? samples : [...this._all, ...samples];
          this._draw(found, next);
        }
      },
      (error: unknown) => {
        if (!(error instanceof RequestError)) {
          throw error;
        }
        if (asking === this._asking) {
          const said = [error.message, error.hint].filter(Boolean).join('. ');
          this._found.textContent = '';
          this._list.replaceChildren(
            h('p', { class: 'aiinfra-EndpointPage-problem', role: 'alert' }, said)
          );
        }
      }
    );
  }

  private _draw(found: number, next: string | null): void {
    const { trans } = this._options;
    this._found.textContent = trans.__('%1 of %2', count(this._all.length), count(found));
    if (this._all.length === 0) {
      this._list.replaceChildren(quiet(trans.__('None of these is kept.')));
      return;
    }
    const rows = this._all.map(sample => this._cells(sample));
    this._list.replaceChildren(table(trans.__('Kept requests'), this._heads(), rows));
    if (next !== null) {
      this._list.append(
        button(trans.__('Show older'), { name: 'older', onClick: () => this._ask(next) })
      );
    }
  }

  private _heads(): IHead[] {
    const { trans } = this._options;
    return [
      { text: trans.__('When') },
      { text: trans.__('Version') },
      { text: trans.__('Status') },
      { text: trans.__('Took'), isNumber: true },
      { text: trans.__('Path') },
      { text: trans.__('Key') },
      { text: trans.__('Request'), isNumber: true },
      { text: trans.__('Answer'), isNumber: true },
      { text: trans.__('What can be done'), isUnseen: true }
    ];
  }

  private _cells(sample: EndpointSample): (Node | string)[] {
    const { trans } = this._options;
    const { id, at, version, status, milliseconds, path, key } = sample;
    const size = (bytes: number | null): string =>
      bytes === null ? trans.__('n/a') : sizeText(bytes);
    const show = button(trans.__('Show'), {
      name: `sample ${id}`,
      label: trans.__('Show what was asked at %1', timeText(at)),
      onClick: () => this._show(this._shown === id ? '' : id)
    });
    show.setAttribute('aria-expanded', 'false');
    show.dataset['sample'] = id;
    return [
      timeText(at),
      h('span', {}, swatch(version), String(version)),
      badge(status < 400 ? 'ready' : 'failed', String(status)),
      millisecondsText(milliseconds, trans),
      path,
      key ?? trans.__('none'),
      size(sample.request_bytes),
      size(sample.answer_bytes),
      show
    ];
  }

  /** Show both bodies of a sample below the table; of none where the id is empty. */
  private _show(id: string): void {
    const { trans } = this._options;
    this._shown = id;
    for (const node of this._list.querySelectorAll<HTMLElement>('[data-sample]')) {
      const isShown = node.dataset['sample'] === id;
      node.setAttribute('aria-expanded', String(isShown));
      node.textContent = isShown ? trans.__('Hide') : trans.__('Show');
    }
    const sample = this._all.find(each => each.id === id);
    if (sample === undefined) {
      this._detail.replaceChildren();
      return;
    }
    const { at, request, answer, hidden, replica } = sample;
    this._detail.replaceChildren(
      h('h3', {}, trans.__('Asked at %1', timeText(at))),
      ...(hidden ? [quiet(trans.__('Something was left out of it.'))] : []),
      quiet(trans.__('Answered by replica %1.', replica)),
      this._body(trans.__('Request'), request),
      this._body(trans.__('Answer'), answer)
    );
  }

  private _body(title: string, value: unknown): HTMLElement {
    const { trans } = this._options;
    if (value === null || value === undefined) {
      const said = trans.__('Only its size is known: it was no JSON, or too large.');
      return h('div', {}, h('h4', {}, title), quiet(said));
    }
    const short = JSON.stringify(value);
    const text = short.length > SHORT ? JSON.stringify(value, null, 2) : short;
    return h(
      'div',
      {},
      h(
        'div',
        { class: 'aiinfra-EndpointPage-row' },
        h('h4', {}, title),
        copyButton(() => text, trans.__('Copy “%1”', title), trans)
      ),
      h('pre', { tabindex: '0', role: 'region', 'aria-label': title }, text)
    );
  }

  private _options: ISamplesOptions;
  private _item: EndpointItem | null = null;
  private _all: readonly EndpointSample[] = [];
  /** The sample whose bodies are shown; empty: none. */
  private _shown = '';
  /** The last question: the answer of an earlier one counts no more. */
  private _asking: Promise<unknown> | null = null;
  private _version = h('select');
  private _versionsDrawn = new Redrawn(this._version);
  private _errors = h('input', { type: 'checkbox' });
  private _form: OptionsForm;
  private _kept = h('p', { class: 'aiinfra-EndpointPage-quiet', role: 'status' });
  private _found = h('span', { class: 'aiinfra-EndpointPage-quiet', role: 'status' });
  private _list = h('div');
  private _detail = h('section', { class: 'aiinfra-EndpointPage-bodies' });
}

function kept(trans: TranslationBundle): IOption[] {
  return [
    {
      kind: 'number',
      name: 'sampling',
      label: trans.__('Percent of requests'),
      help: trans.__('Evenly, with their answers.'),
      times: 100,
      least: 0,
      most: 1
    },
    {
      kind: 'number',
      name: 'samples',
      label: trans.__('At most'),
      help: trans.__('The oldest go; 0 drops all.'),
      least: 0,
      most: 1e6,
      isWhole: true
    },
    {
      kind: 'number',
      name: 'sample_days',
      label: trans.__('For days'),
      help: trans.__('Older ones go.'),
      least: 0.001,
      most: 3650
    },
    {
      kind: 'lines',
      name: 'redact',
      label: trans.__('Left out'),
      help: trans.__('A name or JSON pointer a line; of those that are there, too, for good.'),
      placeholder: ['email', '/inputs/0/name'].join('\n')
    }
  ];
}
