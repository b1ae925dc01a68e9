/** Who holds GPUs without using them just now, what that costs, and what is done about it. */

import type { TranslationBundle } from '@jupyterlab/translation';

import type { IdleItem, IdleJobItem, IdleKernelItem, IdleRule, PoolItem } from '../api/types';
import { hourlyText } from '../cost/text';
import { memoryText } from '../gpus/text';
import { h } from '../widgets/dom';
import type { CostPageModel } from './model';
import { Redrawn } from './redraw';
import { momentText } from './words';

/** What may be chosen, with the rule of each; another that was set is shown as it is. */
const MINUTES = [15, 30, 60, 120] as const;
const DEFAULT = 'default';
const WARN = 'warn';
const NEVER = 'never';

/** Nobody looks at it. */
export const LEFT_ALONE: IdleRule = { stop_seconds: null, warn_seconds: null, watch: false };

export interface IIdleOptions {
  model: CostPageModel;
  trans: TranslationBundle;
  openJob: (id: string) => void;
  nameOf: (job: string) => string;
}

export class Idle {
  constructor(options: IIdleOptions) {
    this._options = options;
    const { trans, model } = options;
    this._look.textContent = trans.__('Look again');
    this._look.addEventListener('click', () => void model.look());
    this.node.append(
      h(
        'div',
        { class: 'aiinfra-CostPage-head' },
        h('h2', {}, trans.__('Idle now')),
        this._when,
        this._look
      ),
      this._problem,
      this._who.node,
      this._rules.node
    );
  }

  readonly node = h('section', { class: 'aiinfra-CostPage-idle' });

  update(pools: readonly PoolItem[] | null): void {
    const { model, trans } = this._options;
    const { idle, idleProblem: problem, isLooking } = model;
    this._look.disabled = isLooking;
    this._when.textContent = isLooking
      ? trans.__('reading the GPUs…')
      : idle === null
        ? ''
        : trans.__('as of %1', momentText(idle.at));
    this._problem.hidden = problem === null;
    this._problem.textContent =
      problem === null ? '' : [problem.message, problem.hint].filter(Boolean).join('. ');
    const names = pools?.map(({ name }) => name) ?? [];
    this._who.draw(JSON.stringify([idle && { ...idle, at: 0 }, isLooking && !idle]), () =>
      this._found(idle)
    );
    this._rules.draw(JSON.stringify([idle?.rules, names]), () =>
      idle === null || names.length === 0 ? [] : [this._ruleTable(idle, names)]
    );
  }

  private _found(idle: IdleItem | null): (Node | string)[] {
    const { trans } = this._options;
    if (idle === null) {
      return [];
    }
    const { jobs, kernels, silent } = idle;
    const found = [
      ...jobs.map(job => this._job(job)),
      ...kernels.map(kernel => this._kernel(kernel)),
      ...silent.map(({ pool, problem }) =>
        h('p', { class: 'aiinfra-mod-warn' }, trans.__('%1 could not be read: %2', pool, problem))
      )
    ];
    if (jobs.length + kernels.length === 0) {
      const text = trans.__('No job and no kernel is seen to hold GPUs without using them.');
      found.unshift(h('p', { class: 'aiinfra-CostPage-quiet' }, text));
    }
    return found;
  }

  private _job(item: IdleJobItem): HTMLElement {
    const { model, openJob, trans } = this._options;
    const name = h('button', {
      type: 'button',
      class: 'aiinfra-CostPage-link',
      'data-focus': `job ${item.job}`
    });
    name.textContent = item.name || item.job;
    name.title = trans.__('Open job %1', item.job);
    name.addEventListener('click', () => openJob(item.job));
    const gpus = trans._n('%1 GPU', '%1 GPUs', item.gpus);
    const head = h('div', {}, name, ` · ${item.pool} · ${gpus} · ${this._stateText(item)}`);
    const alone = h('button', {
      type: 'button',
      class: 'aiinfra-CostPage-button',
      'data-focus': `alone ${item.job}`
    });
    alone.textContent = trans.__('Leave it alone');
    alone.title = trans.__('Do not look at this job’s GPUs any more, and never stop it for them');
    alone.addEventListener('click', () => void model.setIdle(item.job, LEFT_ALONE));
    const stops = item.stops_at;
    const said = [
      item.why,
      this._costText(item),
      stops === null
        ? trans.__('it is not stopped for it')
        : trans.__('it is stopped at %1', momentText(stops))
    ];
    return h(
      'div',
      { class: 'aiinfra-CostPage-waste' },
      h('div', {}, head, h('div', { class: 'aiinfra-CostPage-quiet' }, joined(said))),
      alone
    );
  }

  private _kernel(item: IdleKernelItem): HTMLElement {
    const { trans } = this._options;
    const user = item.user ?? trans.__('an unknown user');
    const where = item.index === null ? item.gpu : trans.__('GPU %1', item.index);
    const held = memoryText(item.memory_bytes, null, trans);
    const pid = item.pid === null ? '' : trans.__('pid %1', item.pid);
    const head = trans.__(
      'A notebook’s kernel of %1 holds %2 of %3 and computes nothing',
      user,
      held,
      `${item.pool}/${item.node} ${where}`
    );
    return h(
      'div',
      { class: 'aiinfra-CostPage-waste' },
      h(
        'div',
        {},
        h('div', {}, head),
        h(
          'div',
          { class: 'aiinfra-CostPage-quiet' },
          joined([this._costText(item), pid, item.command])
        )
      )
    );
  }

  private _stateText({ state }: IdleJobItem): string {
    const { trans } = this._options;
    const words: Record<IdleJobItem['state'], string> = {
      waits: trans.__('waits'),
      idle: trans.__('idle'),
      hung: trans.__('hung')
    };
    return words[state];
  }

  private _costText({ since, cost, hourly }: IdleJobItem | IdleKernelItem): string {
    const { trans } = this._options;
    const rate = hourlyText(hourly, trans);
    return joined([
      since === null ? '' : trans.__('since %1', momentText(since)),
      cost === null ? trans.__('cost n/a') : trans.__('%1 so far', cost.text),
      rate ?? ''
    ]);
  }

  private _ruleTable(idle: IdleItem, pools: readonly string[]): HTMLElement {
    const { trans } = this._options;
    const rules = new Map(idle.rules.map(({ name, rule }) => [name, rule]));
    const others = [...rules.keys()].filter(name => !pools.includes(name));
    const rows = [...pools, ...others].map(name =>
      h(
        'tr',
        {},
        h('th', { scope: 'row' }, this._ruleName(name, pools)),
        h('td', {}, this._ruleChoice(name, rules.get(name) ?? null))
      )
    );
    const names = [trans.__('pool or job'), trans.__('when its GPUs are idle')];
    return h(
      'table',
      { class: 'aiinfra-CostPage-table' },
      h('thead', {}, h('tr', {}, ...names.map(each => h('th', { scope: 'col' }, each)))),
      h('tbody', {}, ...rows)
    );
  }

  private _ruleName(name: string, pools: readonly string[]): string {
    const { nameOf, trans } = this._options;
    return pools.includes(name) ? name : trans.__('job %1', nameOf(name));
  }

  private _ruleChoice(name: string, rule: IdleRule | null): HTMLElement {
    const { model, trans } = this._options;
    const choices: [string, string][] = [
      [DEFAULT, trans.__('as the settings say')],
      [WARN, trans.__('it is said, and nothing is stopped')],
      ...MINUTES.map((each): [string, string] => [
        String(each * 60),
        trans.__('jobs are stopped after %1', this._minutesText(each))
      ]),
      [NEVER, trans.__('nobody looks')]
    ];
    const value = valueOf(rule);
    if (!choices.some(([known]) => known === value)) {
      const minutes = Math.round(Number(value) / 60);
      choices.push([value, trans.__('jobs are stopped after %1', this._minutesText(minutes))]);
    }
    const node = h('select', { 'data-focus': `rule ${name}` });
    node.setAttribute('aria-label', trans.__('When GPUs of %1 are idle', name));
    node.append(...choices.map(([each, text]) => h('option', { value: each }, text)));
    node.value = value;
    node.addEventListener('change', () => void model.setIdle(name, ruleOf(node.value)));
    return node;
  }

  private _minutesText(minutes: number): string {
    const { trans } = this._options;
    return minutes % 60 === 0 ? trans.__('%1 h', minutes / 60) : trans.__('%1 min', minutes);
  }

  private _options: IIdleOptions;
  private _when = h('span', { class: 'aiinfra-CostPage-quiet', role: 'status' });
  private _look = h('button', { type: 'button', class: 'aiinfra-CostPage-button' });
  private _problem = h('p', { class: 'aiinfra-mod-warn', role: 'alert', hidden: '' });
  private _who = new Redrawn(h('div', { class: 'aiinfra-CostPage-wastes' }));
  private _rules = new Redrawn(h('div', { class: 'aiinfra-CostPage-rules' }));
}

/** A rule as one of the choices. */
export function valueOf(rule: IdleRule | null): string {
  if (rule === null) {
    return DEFAULT;
  }
  if (rule.watch === false) {
    return NEVER;
  }
  return rule.stop_seconds == null ? WARN : String(rule.stop_seconds);
}

export function ruleOf(value: string): IdleRule | null {
  switch (value) {
    case DEFAULT:
      return null;
    case NEVER:
      return LEFT_ALONE;
    case WARN:
      return { stop_seconds: null, warn_seconds: null, watch: true };
    default:
      return { stop_seconds: Number(value), warn_seconds: null, watch: true };
  }
}

function joined(parts: readonly string[]): string {
  return parts.filter(Boolean).join(' · ');
}
