/** What is to be shown, chosen in one row: whose GPUs, by what, and of when. */

import type { TranslationBundle } from '@jupyterlab/translation';

import { isActive } from '../jobstate';
import type { IAiInfraModels } from '../tokens';
import { h } from '../widgets/dom';
import type { GpusPageModel } from './model';
import { windowText } from './time';
import {
  isLive,
  kindOf,
  kindsOf,
  LIVE_SECONDS,
  SPANS,
  WHOLE_JOB,
  type IView,
  type Kind
} from './view';

const MOST_JOBS = 50;

interface IChoice {
  value: string;
  label: string;
}

/** A select whose options change only where they differ: it may be open just now. */
class Choice {
  constructor(label: string, onChange: (value: string) => void) {
    this.node.append(h('span', {}, label), this._select);
    // What is chosen is a part of the text of a label: its name is not to change with it.
    this._select.setAttribute('aria-label', label);
    this._select.addEventListener('change', () => onChange(this._select.value));
  }

  readonly node = h('label', { class: 'aiinfra-GpusPage-choice' });

  update(choices: readonly IChoice[], value: string): void {
    const key = JSON.stringify(choices);
    if (key !== this._key) {
      this._key = key;
      this._select.replaceChildren(
        ...choices.map(each => h('option', { value: each.value }, each.label))
      );
    }
    if (this._select.value !== value) {
      this._select.value = value;
    }
    this.node.hidden = choices.length < 2;
  }

  private _select = h('select');
  private _key = '';
}

export interface IControlsOptions {
  model: GpusPageModel;
  models: IAiInfraModels;
  trans: TranslationBundle;
  onTable: (isTable: boolean) => void;
}

export class Controls {
  constructor(options: IControlsOptions) {
    this._options = options;
    const { model, trans, onTable } = options;
    this._pool = new Choice(trans.__('Pool'), pool =>
      model.show({ pool: pool || null, node: null, job: null, by: null, ...live(model.view) })
    );
    this._node = new Choice(trans.__('Node'), node => model.show({ node: node || null, by: null }));
    this._job = new Choice(trans.__('Job'), id => this._chooseJob(id));
    this._by = new Choice(trans.__('By'), by => model.show({ by: by as Kind }));
    this._window.addEventListener('click', () => model.show({ window: null }));
    this._table.addEventListener('click', () => {
      const isTable = this._table.getAttribute('aria-pressed') !== 'true';
      this._table.setAttribute('aria-pressed', String(isTable));
      onTable(isTable);
    });
    this._table.textContent = trans.__('Show as table');
    this._spans.setAttribute('aria-label', trans.__('Time'));
    this.node.setAttribute('aria-label', trans.__('What is shown'));
    this.node.append(
      h(
        'div',
        { class: 'aiinfra-GpusPage-choices' },
        this._pool.node,
        this._node.node,
        this._job.node,
        this._by.node
      ),
      h('div', { class: 'aiinfra-GpusPage-times' }, this._window, this._spans),
      this._table
    );
  }

  readonly node = h('div', { class: 'aiinfra-GpusPage-controls', role: 'group' });

  update(): void {
    const { model, models, trans } = this._options;
    const { view } = model;
    const pools = models.pools.pools ?? [];
    this._pool.update(
      [
        { value: '', label: trans.__('All pools') },
        ...named([...pools.map(({ name }) => name), ...(view.pool ? [view.pool] : [])])
      ],
      view.job === null ? (view.pool ?? '') : ''
    );
    const nodes = view.pool !== null && view.job === null ? model.nodes() : [];
    this._node.update(
      [
        { value: '', label: trans.__('All nodes') },
        ...named([...nodes, ...(view.node ? [view.node] : [])])
      ],
      view.node ?? ''
    );
    this._job.update(this._jobs(view), view.job ?? '');
    this._by.update(
      kindsOf(view).map(value => ({ value, label: this._kindText(value) })),
      kindOf(view)
    );
    this._drawSpans(view);
    const isZoomed = view.window !== null;
    this._window.hidden = !isZoomed;
    if (view.window !== null) {
      const { start, end } = view.window;
      const text = windowText(start, end, Date.now() / 1000);
      this._window.textContent = `${text} ✕`;
      this._window.title = trans.__('Zoomed in; show all of the time again (0)');
    }
  }

  private _chooseJob(id: string): void {
    const { model, models } = this._options;
    const job = id ? models.jobs.find(id) : undefined;
    const span = job && !isActive(job) ? WHOLE_JOB : live(model.view).span;
    model.show({ job: id || null, by: null, window: null, span });
  }

  private _jobs({ job }: IView): IChoice[] {
    const { models, trans } = this._options;
    const known = [...models.jobs.jobs];
    const active = known.filter(isActive);
    const shown = [...active, ...known.filter(each => !isActive(each))].slice(0, MOST_JOBS);
    const choices = shown.map(({ id, name, state }) => ({
      value: id,
      label: trans.__('%1 (%2)', name || id, state)
    }));
    if (job !== null && !shown.some(({ id }) => id === job)) {
      const other = models.jobs.find(job);
      choices.unshift({ value: job, label: other?.name || job });
    }
    return [{ value: '', label: trans.__('All jobs') }, ...choices];
  }

  private _drawSpans(view: IView): void {
    const { model, trans } = this._options;
    const spans = [...(view.job === null ? [] : [WHOLE_JOB]), ...SPANS];
    const key = JSON.stringify([spans, view.span, view.window === null]);
    if (key === this._spansKey) {
      return;
    }
    this._spansKey = key;
    const had = this._spans.contains(document.activeElement);
    this._spans.replaceChildren(
      ...spans.map(span => {
        const isNow = span === view.span && view.window === null;
        const button = h(
          'button',
          { type: 'button', 'aria-pressed': String(isNow) },
          this._spanText(span)
        );
        button.addEventListener('click', () => model.show({ span, window: null }));
        return button;
      })
    );
    if (had) {
      this._spans.querySelector<HTMLElement>('[aria-pressed="true"]')?.focus();
    }
    this._spans.title = isLive(view) ? trans.__('Live, by the second') : '';
  }

  private _spanText(span: number): string {
    const { trans } = this._options;
    if (span === WHOLE_JOB) {
      return trans.__('Whole job');
    }
    if (span === LIVE_SECONDS) {
      return trans.__('Live');
    }
    return span > 86_400 ? trans.__('%1 d', span / 86_400) : trans.__('%1 h', span / 3_600);
  }

  private _kindText(kind: Kind): string {
    const { trans } = this._options;
    const words: Record<Kind, string> = {
      pool: trans.__('pool'),
      node: trans.__('node'),
      gpu: trans.__('GPU'),
      user: trans.__('user'),
      job: trans.__('job'),
      rank: trans.__('rank')
    };
    return words[kind];
  }

  private _options: IControlsOptions;
  private _pool: Choice;
  private _node: Choice;
  private _job: Choice;
  private _by: Choice;
  private _spans = h('div', { class: 'aiinfra-GpusPage-spans', role: 'group' });
  private _spansKey = '';
  private _window = h('button', { type: 'button', class: 'aiinfra-GpusPage-window', hidden: '' });
  private _table = h('button', {
    type: 'button',
    class: 'aiinfra-GpusPage-toggle',
    'aria-pressed': 'false'
  });
}

function named(names: readonly string[]): IChoice[] {
  return [...new Set(names)].map(name => ({ value: name, label: name }));
}

/** All of a job is no time of anything else. */
function live({ span }: IView): { span: number; window: null } {
  return { span: span === WHOLE_JOB ? LIVE_SECONDS : span, window: null };
}
