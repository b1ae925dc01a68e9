/** The bill as a table: a line each, found by its text, sorted by any column. */

import type { TranslationBundle } from '@jupyterlab/translation';

import type { CostReport } from '../api/types';
import { h } from '../widgets/dom';
import { hoursText, lineText, shownLines, type ILineText } from './lines';
import type { CostPageModel, IAnswer } from './model';
import { Redrawn } from './redraw';
import { COLUMNS, sortedBy, type Column, type IView, type Kind } from './view';

/** More lines than these are drawn when they are asked for. */
const FIRST_LINES = 100;
const MORE_LINES = 500;

const MOMENT = new Intl.DateTimeFormat(undefined, {
  month: 'short',
  day: 'numeric',
  hour: '2-digit',
  minute: '2-digit',
  hour12: false
});

export interface IBreakdownOptions {
  model: CostPageModel;
  trans: TranslationBundle;
  openJob: (id: string) => void;
}

export class Breakdown {
  constructor(options: IBreakdownOptions) {
    this._options = options;
    const { trans } = options;
    this._search.placeholder = trans.__('Search…');
    this._search.setAttribute('aria-label', trans.__('Search in the lines of the bill'));
    this._search.addEventListener('input', () => {
      this._most = FIRST_LINES;
      this._draw();
    });
    this._more.addEventListener('click', () => {
      this._most += MORE_LINES;
      this._draw();
    });
    this._body = new Redrawn(
      h('div', { class: 'aiinfra-CostPage-tables', tabindex: '0', role: 'region' })
    );
    this._body.node.setAttribute('aria-label', trans.__('The bill'));
    this.node.append(
      h(
        'div',
        { class: 'aiinfra-CostPage-head' },
        h('h2', {}, trans.__('The bill')),
        this._when,
        this._search
      ),
      this._notes,
      this._body.node,
      this._more
    );
  }

  readonly node = h('section', { class: 'aiinfra-CostPage-bill' });

  update(answer: IAnswer, view: IView): void {
    if (answer !== this._answer) {
      this._answer = answer;
      this._number += 1;
    }
    this._view = view;
    this._draw();
  }

  private _draw(): void {
    const { _answer: answer, _view: view } = this;
    if (answer === null || view === null) {
      return;
    }
    const { trans } = this._options;
    const { bill } = answer;
    const [start, end] = [bill.start, bill.end].map(at => MOMENT.format(new Date(at * 1000)));
    this._when.textContent = trans.__('%1 to %2', start ?? '', end ?? '');
    this._notes.replaceChildren(...notesOf(bill, trans).map(text => h('p', {}, text)));
    const search = this._search.value;
    const { sort, down } = view;
    const lines = shownLines(bill, { search, sort, down }, trans);
    const shown = lines.slice(0, this._most);
    this._body.draw(JSON.stringify([this._number, search, sort, down, this._most]), () => [
      this._table(bill, shown, lines.length)
    ]);
    const more = lines.length - shown.length;
    this._more.hidden = more === 0;
    this._more.textContent = trans._n('Show %1 more line', 'Show %1 more lines', more);
    this._search.hidden = bill.lines.length === 0;
    this._body.node.hidden = bill.lines.length === 0;
  }

  private _table(bill: CostReport, lines: readonly ILineText[], found: number): HTMLElement {
    const { trans } = this._options;
    const rows = lines.map(line => this._row(bill, line));
    if (found === 0) {
      const text = trans.__('Nothing has this in its name.');
      rows.push(h('tr', {}, h('td', { colspan: String(COLUMNS.length) }, text)));
    }
    const total = lineText(bill.total, bill.by, trans);
    const foot = h('tr', {}, h('th', { scope: 'row' }, trans.__('all')), ...cellsOf(total));
    return h(
      'table',
      { class: 'aiinfra-CostPage-table aiinfra-mod-bill' },
      h('thead', {}, h('tr', {}, ...COLUMNS.map(column => this._head(column)))),
      h('tbody', {}, ...rows),
      h('tfoot', {}, foot)
    );
  }

  private _head(column: Column): HTMLElement {
    const { model } = this._options;
    const { sort, down } = model.view;
    const button = h('button', {
      type: 'button',
      class: 'aiinfra-CostPage-sort',
      'data-focus': `head ${column}`
    });
    button.append(this._columnText(column));
    button.addEventListener('click', () => model.show(sortedBy(model.view, column)));
    const isSorted = sort === column;
    if (isSorted) {
      button.append(h('span', { 'aria-hidden': 'true' }, down ? ' ▾' : ' ▴'));
    }
    const order = isSorted ? (down ? 'descending' : 'ascending') : 'none';
    return h('th', { scope: 'col', 'aria-sort': order }, button);
  }

  private _row(bill: CostReport, text: ILineText): HTMLElement {
    const name = h('th', { scope: 'row' }, this._name(bill, text));
    if (text.detail) {
      name.append(h('span', { class: 'aiinfra-CostPage-quiet' }, ` ${text.detail}`));
    }
    const kind = text.line.unallocated ? ' aiinfra-mod-nobody' : '';
    return h('tr', { class: `aiinfra-CostPage-line${kind}` }, name, ...cellsOf(text));
  }

  /** A job is opened; anything else is looked into. */
  private _name({ by }: CostReport, { line, name }: ILineText): HTMLElement | string {
    const { model, openJob, trans } = this._options;
    const { key } = line;
    if (key === null || line.unallocated) {
      return name;
    }
    const button = h('button', {
      type: 'button',
      class: 'aiinfra-CostPage-link',
      'data-focus': `line ${key}`
    });
    button.textContent = name;
    if (by === 'job') {
      button.title = trans.__('Open job %1', key);
      button.addEventListener('click', () => openJob(key));
    } else {
      button.title = trans.__('Show the jobs of %1', name);
      const { narrowed } = model.view;
      button.addEventListener('click', () =>
        model.show({ by: 'job', narrowed: { ...narrowed, [by as Kind]: key } })
      );
    }
    return button;
  }

  private _columnText(column: Column): string {
    const { trans } = this._options;
    const words: Record<Column, string> = {
      name: trans.__('name'),
      hours: trans.__('GPU-hours'),
      used: trans.__('used'),
      idle: trans.__('idle'),
      cost: trans.__('cost'),
      idleCost: trans.__('of it idle')
    };
    return words[column];
  }

  private _options: IBreakdownOptions;
  private _when = h('span', { class: 'aiinfra-CostPage-quiet' });
  private _search = h('input', { type: 'search', class: 'aiinfra-CostPage-search' });
  private _notes = h('div', { class: 'aiinfra-CostPage-notes' });
  private _body: Redrawn;
  private _more = h('button', { type: 'button', class: 'aiinfra-CostPage-button', hidden: '' });
  private _answer: IAnswer | null = null;
  private _number = 0;
  private _view: IView | null = null;
  private _most = FIRST_LINES;
}

function cellsOf({ hours, used, idle, cost, idleCost }: ILineText): HTMLElement[] {
  return [hours, used, idle, cost, idleCost].map(text => h('td', {}, text));
}

/** What there is to say beside the lines: time that has no price, and that nobody measured. */
export function notesOf({ total }: CostReport, trans: TranslationBundle): string[] {
  const found = [];
  if (total.unpriced_seconds > 0) {
    found.push(
      trans.__(
        '%1 hours have no price and are in no amount. Say what they cost, also afterwards: %pool price NAME --price 2.49/gpu-h --since DATE',
        hoursText(total.unpriced_seconds)
      )
    );
  }
  const unknown = total.allocated_seconds - total.used_seconds - total.idle_seconds;
  if (total.allocated_seconds > 0 && unknown > 0.01 * total.allocated_seconds) {
    const share = Math.round((100 * unknown) / total.allocated_seconds);
    found.push(
      trans.__(
        'Of %1 % of the GPU time it is not known whether it was used: nobody read the GPUs.',
        share
      )
    );
  }
  return found;
}
