/** What a job costs, in full: the amounts, the budgets that count it, and what if it were another. */

import type { TranslationBundle } from '@jupyterlab/translation';
import type { IDisposable } from '@lumino/disposable';

import type { BudgetItem, JobCostItem } from '../api/types';
import { idleShare, idleText, momentText } from '../cost/jobline';
import { Meter } from '../cost/meter';
import { costText, hourlyText, priceAgeText, priceRateText, shareText } from '../cost/text';
import { isActive } from '../jobstate';
import type { IBudgetsModel } from '../tokens';
import { h } from '../widgets/dom';
import type { JobPageModel } from './pagemodel';
import { fill, note } from './sections';
import { whatIfNode } from './whatif';

const HOUR = 3600;
/** Of less of its GPUs' time than this it is said that the rest is unknown. */
const MOST_KNOWN = 0.99;

export interface ICostSectionOptions {
  model: JobPageModel;
  /** The budgets of this page; without them none is told of. */
  budgets: IBudgetsModel | undefined;
  trans: TranslationBundle;
  /** Set a budget for this job; `null` where nothing can. */
  onBudget: (() => void) | null;
  /** Show this job in the page of all cost; `null` where there is none. */
  onCost: (() => void) | null;
}

/** Watches the budgets only while it is in sight. Asks what if when it is first seen. */
export class CostSection {
  constructor(options: ICostSectionOptions) {
    this._options = options;
    const { trans } = options;
    this._whatIf.append(
      h('h3', {}, trans.__('What if')),
      note(trans.__('How long this job would take, and cost, in another shape or elsewhere.')),
      this._answer
    );
    this.node.append(this._facts, this._budgets, this._buttons, this._whatIf);
    this._addButtons();
    options.budgets?.changed.connect(this._drawBudgets);
  }

  readonly node = h('div', { class: 'aiinfra-JobCost' });

  set visible(visible: boolean) {
    if (visible === this._visible) {
      return;
    }
    this._visible = visible;
    if (visible) {
      this._watching = this._options.budgets?.watch() ?? null;
      this.update();
      this._ask();
    } else {
      this._watching?.dispose();
      this._watching = null;
    }
  }

  /** Draw what is new of the job. */
  update(): void {
    this._meter.take(this._options.model.cost);
    if (this._visible) {
      const { detail } = this._options.model;
      this._set.hidden = detail !== null && !isActive(detail.item);
      this._drawFacts();
      this._drawBudgets();
      if (this._askedAt !== this._state) {
        this._ask();
      }
    }
  }

  /** To be called about once a second. */
  tick(): void {
    if (this._visible && this._meter.item?.hourly) {
      this._drawFacts();
    }
  }

  dispose(): void {
    this.visible = false;
    this._options.budgets?.changed.disconnect(this._drawBudgets);
  }

  private get _state(): string {
    return this._options.model.detail?.item.state ?? '';
  }

  private _drawFacts(): void {
    const { model, trans } = this._options;
    const { item } = this._meter;
    if (item === null) {
      this._facts.replaceChildren(h('dt', {}, trans.__('Cost')), h('dd', {}, trans.__('n/a')));
      return;
    }
    const runs = model.detail !== null && isActive(model.detail.item);
    const facts = [
      ...amountFacts(item, this._meter, runs, trans),
      ...useFacts(item, this._meter, trans),
      ...priceFacts(item, trans),
      ...tagFacts(model.detail?.tags ?? {}, trans)
    ];
    // What has not changed stays: it may be selected just now.
    const drawn = JSON.stringify(facts);
    if (drawn !== this._drawn) {
      this._drawn = drawn;
      const nodes = facts.flatMap(([name, value]) => [h('dt', {}, name), h('dd', {}, value)]);
      this._facts.replaceChildren(...nodes);
    }
  }

  private _drawBudgets = (): void => {
    const { budgets, model, trans } = this._options;
    if (!this._visible || !budgets) {
      return;
    }
    // One for the job itself is told of also when the job is over and nothing counts it any more.
    const mine = new Set(budgets.of(model.id));
    const found = (budgets.budgets ?? []).filter(
      each => mine.has(each) || (each.scope === 'job' && each.subject === model.id)
    );
    const rows = found.map(each => budgetNode(each, trans));
    const none =
      budgets.budgets === null
        ? (budgets.problem?.message ?? trans.__('loading…'))
        : trans.__('No budget counts this job.');
    this._budgets.replaceChildren(
      h('h3', {}, trans.__('Budgets')),
      rows.length > 0 ? h('ul', { class: 'aiinfra-JobCost-budgets' }, ...rows) : note(none)
    );
  };

  private _addButtons(): void {
    const { trans, onBudget, onCost } = this._options;
    const add = (node: HTMLElement, label: string, run: () => void): void => {
      node.textContent = label;
      node.addEventListener('click', run);
      this._buttons.append(node);
    };
    if (onBudget) {
      add(this._set, trans.__('Set a budget for this job…'), onBudget);
    }
    if (onCost) {
      add(newButton(), trans.__('Show in the page of cost'), onCost);
    }
  }

  /** It reads the nodes of all pools: asked for when first looked at, and when a state is new. */
  private _ask(): void {
    const { model, trans } = this._options;
    if (this._state === '' || this._askedAt === this._state) {
      return;
    }
    this._askedAt = this._state;
    void fill(this._answer, async () => whatIfNode(await model.api.whatif(model.id), trans), trans);
  }

  private _options: ICostSectionOptions;
  private _meter = new Meter();
  private _visible = false;
  private _watching: IDisposable | null = null;
  private _askedAt: string | null = null;
  private _drawn = '';
  private _facts = h('dl', { class: 'aiinfra-JobCost-facts' });
  private _budgets = h('section', {});
  private _buttons = h('p', { class: 'aiinfra-JobCost-buttons' });
  /** There is no use in one when the job is over. */
  private _set = newButton();
  private _whatIf = h('section', {});
  private _answer = h('div', {});
}

function newButton(): HTMLButtonElement {
  return h('button', { type: 'button', class: 'aiinfra-JobPage-button' });
}

type Fact = [name: string, value: string];

function amountFacts(
  item: JobCostItem,
  meter: Meter,
  runs: boolean,
  trans: TranslationBundle
): Fact[] {
  const unknown = trans.__('n/a');
  const cost = costText(meter.cost);
  const why = item.reason === '' ? '' : ` (${item.reason})`;
  const facts: Fact[] = [[runs ? trans.__('So far') : trans.__('In all'), (cost ?? unknown) + why]];
  if (runs) {
    facts.push([trans.__('An hour'), hourlyText(item.hourly, trans) ?? unknown]);
  }
  facts.push([trans.__('A step'), item.step_cost?.text ?? unknown]);
  if (runs) {
    facts.push([trans.__('When it is done'), item.projected?.text ?? unknown]);
    facts.push([
      trans.__('Done at'),
      item.finish_at === null ? unknown : momentText(item.finish_at)
    ]);
  }
  return facts;
}

function useFacts(item: JobCostItem, meter: Meter, trans: TranslationBundle): Fact[] {
  const facts: Fact[] = [];
  if (item.allocated_seconds > 0) {
    const share = idleShare(item);
    const known = (item.used_seconds + item.idle_seconds) / item.allocated_seconds;
    facts.push([trans.__('GPU time'), hoursText(item.allocated_seconds, trans)]);
    const idle =
      share === null
        ? trans.__('n/a: nobody has read its GPUs')
        : (idleText(item, meter.cost, trans) ?? trans.__('nothing'));
    const rest =
      share !== null && known < MOST_KNOWN
        ? ` ${trans.__('(of %1 it is known)', shareText(known, trans))}`
        : '';
    facts.push([trans.__('Of it idle'), idle + rest]);
  }
  if (item.node_seconds > 0) {
    facts.push([trans.__('Node time'), hoursText(item.node_seconds, trans)]);
  }
  if (item.unpriced_seconds > 0) {
    facts.push([trans.__('Without a price'), hoursText(item.unpriced_seconds, trans)]);
  }
  return facts;
}

function priceFacts({ price }: JobCostItem, trans: TranslationBundle): Fact[] {
  if (price === null) {
    return [[trans.__('Price'), trans.__('n/a')]];
  }
  const about = [
    priceRateText(price, trans),
    priceAgeText(price, trans),
    price.sku ?? '',
    price.region ?? '',
    price.confidence === null ? '' : trans.__('confidence: %1', price.confidence),
    price.source === '' ? '' : trans.__('from %1', price.source)
  ];
  return [[trans.__('Price'), about.filter(Boolean).join(' · ')]];
}

function tagFacts(tags: Readonly<Record<string, string>>, trans: TranslationBundle): Fact[] {
  const said = Object.entries(tags).map(([name, value]) => `${name}=${value}`);
  return said.length === 0 ? [] : [[trans.__('Paid by'), said.join(', ')]];
}

/** `1.25 h`, `0.003 h`: never `0.00` of something. */
function hoursText(seconds: number, trans: TranslationBundle): string {
  const hours = seconds / HOUR;
  return trans.__('%1 h', hours >= 0.1 ? hours.toFixed(2) : hours.toPrecision(2));
}

function budgetNode(budget: BudgetItem, trans: TranslationBundle): HTMLElement {
  const { share, spent, limit } = budget;
  const reach = {
    within: '',
    warned: trans.__('nearly spent'),
    spent: trans.__('spent'),
    unknown: trans.__('not known how far')
  }[budget.reach];
  const words = [
    spent === null
      ? trans.__('n/a of %1', limit.text)
      : trans.__('%1 of %2 (%3)', spent.text, limit.text, shareText(share, trans)),
    reach,
    budget.snoozed && budget.snoozed_until !== null
      ? trans.__('snoozed until %1', momentText(budget.snoozed_until))
      : '',
    budget.problem
  ];
  const meter = h('span', { class: 'aiinfra-JobCost-meter', 'aria-hidden': 'true' });
  const filled = meter.appendChild(h('span', {}));
  filled.style.width = `${Math.min(100, Math.max(0, (share ?? 0) * 100))}%`;
  return h(
    'li',
    { 'data-reach': budget.reach },
    h('span', { class: 'aiinfra-JobCost-name' }, budget.name),
    meter,
    h('span', { class: 'aiinfra-quiet' }, words.filter(Boolean).join(' · '))
  );
}
