/** How far budgets are spent: what they do, and how they are put off, is in the panel. */

import type { TranslationBundle } from '@jupyterlab/translation';

import type { BudgetItem } from '../api/types';
import { hourlyText, shareText } from '../cost/text';
import { h } from '../widgets/dom';
import { Redrawn } from './redraw';
import { momentText } from './words';

export interface IBudgetsOptions {
  trans: TranslationBundle;
  setBudget: () => void;
  showPanel: () => void;
}

export class Budgets {
  constructor(options: IBudgetsOptions) {
    const { trans, setBudget, showPanel } = options;
    this._trans = trans;
    const button = (text: string, run: () => void): HTMLElement => {
      const node = h('button', { type: 'button', class: 'aiinfra-CostPage-button' }, text);
      node.addEventListener('click', run);
      return node;
    };
    this._show = button(trans.__('Show in the panel'), showPanel);
    this.node.append(
      h(
        'div',
        { class: 'aiinfra-CostPage-head' },
        h('h2', {}, trans.__('Budgets')),
        button(trans.__('Set a Budget…'), setBudget),
        this._show
      ),
      this._body.node
    );
  }

  readonly node = h('section', { class: 'aiinfra-CostPage-budgets' });

  update(budgets: readonly BudgetItem[] | null): void {
    const trans = this._trans;
    this._show.hidden = !budgets?.length;
    // Up to the minute: spent a little more, a bar is the same.
    this._body.draw(JSON.stringify(budgets), () =>
      budgets === null
        ? [h('p', { class: 'aiinfra-CostPage-quiet' }, trans.__('loading…'))]
        : budgets.length === 0
          ? [h('p', { class: 'aiinfra-CostPage-quiet' }, trans.__('No budget is set.'))]
          : budgets.map(budget => budgetRow(budget, trans))
    );
  }

  private _trans: TranslationBundle;
  private _show: HTMLElement;
  private _body = new Redrawn(h('div', { class: 'aiinfra-CostPage-budgetRows' }));
}

function budgetRow(budget: BudgetItem, trans: TranslationBundle): HTMLElement {
  const { name, reach, share, spent, limit } = budget;
  const bar = h('div', {
    class: `aiinfra-CostPage-reach aiinfra-mod-${reach}`,
    role: 'meter',
    'aria-label': name,
    'aria-valuemin': '0',
    'aria-valuemax': '100',
    'aria-valuetext': shareText(share, trans)
  });
  const part = h('span');
  part.style.width = `${Math.round(Math.min(1, share ?? 0) * 100)}%`;
  bar.setAttribute('aria-valuenow', String(Math.round(Math.min(1, share ?? 0) * 100)));
  bar.append(part);
  const said = [
    reachText(budget, trans),
    trans.__('%1 of %2', spent?.text ?? trans.__('n/a'), limit.text),
    spent === null ? '' : shareText(share, trans)
  ].filter(Boolean);
  const row = h(
    'div',
    { class: 'aiinfra-CostPage-budget' },
    h('div', { class: 'aiinfra-CostPage-budgetName' }, name),
    bar,
    h('div', { class: `aiinfra-CostPage-said aiinfra-mod-${reach}` }, said.join(' · '))
  );
  const more = detailsOf(budget, trans);
  if (more.length > 0) {
    row.append(h('div', { class: 'aiinfra-CostPage-quiet' }, more.join(' · ')));
  }
  return row;
}

function reachText(
  { reach, snoozed, asks_until: asks }: BudgetItem,
  trans: TranslationBundle
): string {
  const words: Record<BudgetItem['reach'], string> = {
    within: trans.__('within'),
    warned: trans.__('nearly spent'),
    spent: trans.__('spent'),
    unknown: trans.__('unknown')
  };
  const text = words[reach];
  if (snoozed) {
    return trans.__('%1, snoozed', text);
  }
  return asks === null ? text : trans.__('%1, asks whether jobs may go on', text);
}

function detailsOf(budget: BudgetItem, trans: TranslationBundle): string[] {
  const { hourly, spent_at: spentAt, snoozed_until: until, snoozed, problem, reach } = budget;
  const rate = hourlyText(hourly, trans);
  return [
    rate === null ? '' : trans.__('its jobs cost %1', rate),
    spentAt === null || reach === 'spent' || rate === null
      ? ''
      : trans.__('spent at %1 at this pace', momentText(spentAt)),
    snoozed && until !== null ? trans.__('snoozed until %1', momentText(until)) : '',
    problem
  ].filter(Boolean);
}
