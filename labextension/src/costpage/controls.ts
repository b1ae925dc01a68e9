/** What is to be shown, chosen in one row: of when, by what, and of which alone. */

import type { TranslationBundle } from '@jupyterlab/translation';

import type { IAiInfraApi, IAiInfraModels } from '../tokens';
import { h } from '../widgets/dom';
import { kindText, shortName } from './lines';
import type { CostPageModel } from './model';
import {
  billQuery,
  daysOf,
  isDay,
  KINDS,
  SPANS,
  type Kind,
  type Narrowed,
  type Span
} from './view';

export interface IControlsOptions {
  api: IAiInfraApi;
  model: CostPageModel;
  models: IAiInfraModels;
  trans: TranslationBundle;
}

export class Controls {
  constructor(options: IControlsOptions) {
    this._options = options;
    const { model, trans } = options;
    this.node.setAttribute('aria-label', trans.__('What is shown'));
    this._spans.setAttribute('aria-label', trans.__('Time'));
    for (const span of SPANS) {
      const button = h('button', { type: 'button', 'data-span': span }, this._spanText(span));
      button.addEventListener('click', () => this._chooseSpan(span));
      this._spans.append(button);
    }
    this._from.setAttribute('aria-label', trans.__('First day'));
    this._to.setAttribute('aria-label', trans.__('Last day'));
    this._from.addEventListener('change', () => this._chooseDays());
    this._to.addEventListener('change', () => this._chooseDays());
    this._custom.append(this._from, '–', this._to);
    this._by = select(trans.__('By'), value => model.show({ by: value as Kind }));
    fill(
      this._by,
      KINDS.map(kind => [kind, kindText(kind, trans)])
    );
    this._pool = select(trans.__('Pool'), value => this._narrow('pool', value || null));
    this._export.setAttribute('download', '');
    this._export.textContent = trans.__('Download CSV');
    this._export.title = trans.__(
      'Usage by the hour, of everything in this time, as FOCUS names it'
    );
    this.node.append(
      this._spans,
      this._custom,
      h('label', {}, trans.__('By'), this._by),
      this._poolLabel,
      this._chips,
      this._export
    );
    this._poolLabel.append(trans.__('Pool'), this._pool);
  }

  readonly node = h('div', { class: 'aiinfra-CostPage-controls', role: 'group' });

  update(): void {
    const { api, model, models, trans } = this._options;
    const { view } = model;
    for (const button of this._spans.querySelectorAll('button')) {
      button.setAttribute('aria-pressed', String(button.dataset['span'] === view.span));
    }
    const now = new Date();
    const [first, last] = daysOf(view, now);
    this._custom.hidden = view.span !== 'custom';
    // Not while somebody writes a date.
    if (!this._custom.contains(document.activeElement)) {
      [this._from.value, this._to.value] = [first, last];
    }
    this._by.value = view.by;
    const { pool = '' } = view.narrowed;
    const names = (models.pools.pools ?? []).map(({ name }) => name);
    const known = [...new Set([...names, ...(pool ? [pool] : [])])];
    fill(this._pool, [['', trans.__('all pools')], ...known.map(name => [name, name] as const)]);
    this._pool.value = pool;
    this._poolLabel.hidden = known.length < 2 && pool === '';
    this._drawChips();
    this._export.href = api.costExportUrl({ period: billQuery(view, now).period });
  }

  private _chooseSpan(span: Span): void {
    const { model } = this._options;
    const [from, to] = daysOf(model.view, new Date());
    // What was shown is where choosing days begins.
    model.show(span === 'custom' ? { span, from, to } : { span });
    if (span === 'custom') {
      this.update();
      this._from.focus();
    }
  }

  private _chooseDays(): void {
    const [from, to] = [this._from.value, this._to.value];
    if (isDay(from) && isDay(to)) {
      this._options.model.show({ span: 'custom', from, to });
    }
  }

  private _narrow(kind: Kind, value: string | null): void {
    const { model } = this._options;
    const others = Object.entries(model.view.narrowed).filter(([name]) => name !== kind);
    model.show({
      narrowed: Object.fromEntries([
        ...others,
        ...(value === null ? [] : [[kind, value]])
      ]) as Narrowed
    });
  }

  /** Of what alone, each with a way back. */
  private _drawChips(): void {
    const { model, models, trans } = this._options;
    const found = KINDS.flatMap(kind => {
      const value = model.view.narrowed[kind];
      if (value === undefined || kind === 'pool') {
        return [];
      }
      const name = (kind === 'job' && models.jobs.find(value)?.name) || shortName(kind, value);
      return [[kind, trans.__('%1 %2', kindText(kind, trans), name)] as const];
    });
    const key = JSON.stringify(found);
    if (key === this._chipsKey) {
      return;
    }
    this._chipsKey = key;
    this._chips.replaceChildren(
      ...found.map(([kind, text]) => {
        const button = h(
          'button',
          { type: 'button', class: 'aiinfra-CostPage-button', title: trans.__('Show all again') },
          `${text} ✕`
        );
        button.setAttribute('aria-label', trans.__('%1 alone; show all again', text));
        button.addEventListener('click', () => this._narrow(kind, null));
        return button;
      })
    );
  }

  private _spanText(span: Span): string {
    const { trans } = this._options;
    const words: Record<Span, string> = {
      today: trans.__('Today'),
      week: trans.__('7 days'),
      month: trans.__('Month'),
      'last-month': trans.__('Last month'),
      custom: trans.__('Days…')
    };
    return words[span];
  }

  private _options: IControlsOptions;
  private _spans = h('div', { class: 'aiinfra-CostPage-spans', role: 'group' });
  private _custom = h('span', { class: 'aiinfra-CostPage-custom', hidden: '' });
  private _from = h('input', { type: 'date' });
  private _to = h('input', { type: 'date' });
  private _by: HTMLSelectElement;
  private _pool: HTMLSelectElement;
  private _poolLabel = h('label', { hidden: '' });
  private _chips = h('span', { class: 'aiinfra-CostPage-chips' });
  private _chipsKey = '[]';
  private _export = h('a', { class: 'aiinfra-CostPage-button aiinfra-CostPage-export' });
}

function select(label: string, onChange: (value: string) => void): HTMLSelectElement {
  const node = h('select', { 'aria-label': label });
  node.addEventListener('change', () => onChange(node.value));
  return node;
}

/** A select whose options change only where they differ: it may be open just now. */
function fill(node: HTMLSelectElement, choices: readonly (readonly [string, string])[]): void {
  const key = JSON.stringify(choices);
  if (node.dataset['key'] !== key) {
    node.dataset['key'] = key;
    node.replaceChildren(...choices.map(([value, label]) => h('option', { value }, label)));
  }
}
