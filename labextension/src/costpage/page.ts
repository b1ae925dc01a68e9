/** What GPUs cost, in JupyterLab's main area. */

import type { TranslationBundle } from '@jupyterlab/translation';
import type { Message } from '@lumino/messaging';
import { Widget } from '@lumino/widgets';

import type { IAiInfraApi, IAiInfraModels } from '../tokens';
import { h } from '../widgets/dom';
import { Breakdown } from './breakdown';
import { Budgets } from './budgets';
import { DaysChart } from './chart';
import { Controls } from './controls';
import { Idle } from './idle';
import { CostPageModel } from './model';
import { Prices } from './prices';
import { Tiles } from './tiles';
import { utcDaysOf } from './view';

const ID_LENGTH = 8;
const TICK_MILLISECONDS = 1_000;

export interface IPageOptions {
  api: IAiInfraApi;
  models: IAiInfraModels;
  trans: TranslationBundle;
  openJob: (id: string) => void;
  attachPool: () => void;
  setBudget: () => void;
  showPanel: () => void;
  setPrice: (pool: string) => void;
}

export class CostPage extends Widget {
  constructor(options: IPageOptions) {
    super();
    this._options = options;
    const { api, models, trans, openJob, attachPool, setBudget, showPanel, setPrice } = options;
    this.addClass('aiinfra-CostPage');
    this.model = new CostPageModel({ api, models });
    const { model } = this;
    this._controls = new Controls({ api, model, models, trans });
    this._tiles = new Tiles(trans);
    this._chart = new DaysChart({
      trans,
      onMeasure: measure => model.show({ measure }),
      onDay: day => model.show({ span: 'custom', from: day, to: day })
    });
    this._breakdown = new Breakdown({ model, trans, openJob });
    this._budgets = new Budgets({ trans, setBudget, showPanel });
    const nameOf = (id: string): string => models.jobs.find(id)?.name || id.slice(0, ID_LENGTH);
    this._idle = new Idle({ model, trans, openJob, nameOf });
    this._prices = new Prices({ trans, setPrice });
    this._attach.textContent = trans.__('Attach a Pool…');
    this._attach.addEventListener('click', attachPool);
    this._empty.append(this._emptyText, this._attach);
    this._body.setAttribute('aria-label', trans.__('Cost'));
    this._body.append(
      this._tiles.node,
      this._empty,
      this._chart.node,
      this._breakdown.node,
      this._budgets.node,
      this._idle.node,
      this._prices.node
    );
    this.node.append(this._controls.node, this._notice, this._body);
    model.changed.connect(this._onChanged, this);
    document.addEventListener('visibilitychange', this._follow);
  }

  readonly model: CostPageModel;

  override dispose(): void {
    if (this.isDisposed) {
      return;
    }
    document.removeEventListener('visibilitychange', this._follow);
    clearInterval(this._ticking);
    cancelAnimationFrame(this._frame);
    this._chart.dispose();
    this.model.dispose();
    super.dispose();
  }

  protected override onAfterShow(_message: Message): void {
    this._follow();
  }

  protected override onAfterAttach(_message: Message): void {
    this._follow();
  }

  protected override onBeforeHide(_message: Message): void {
    this._turn(false);
  }

  protected override onBeforeDetach(_message: Message): void {
    this._turn(false);
  }

  protected override onActivateRequest(_message: Message): void {
    this._body.focus({ preventScroll: true });
  }

  /** Ask and watch while this is to be seen, and only then. */
  private _follow = (): void => {
    this._turn(this.isVisible && !document.hidden);
    this._schedule();
  };

  private _turn(isOn: boolean): void {
    this.model.active = isOn;
    clearInterval(this._ticking);
    if (isOn) {
      this._ticking = setInterval(() => this._tiles.tick(), TICK_MILLISECONDS);
    }
  }

  private _onChanged = (): void => this._schedule();

  /** Many changes at once are drawn once. */
  private _schedule(): void {
    if (!this.isDisposed && this.model.active) {
      this._frame ||= requestAnimationFrame(() => {
        this._frame = 0;
        if (!this.isDisposed && this.model.active) {
          this._render();
        }
      });
    }
  }

  private _render(): void {
    const { model } = this;
    const { pools, spend, budgets } = this._options.models;
    const { answer, view } = model;
    this._controls.update();
    this._drawNotice();
    this._tiles.update(spend.now, answer);
    this._drawEmpty();
    const isEmpty = answer === null || answer.bill.lines.length === 0;
    this._chart.node.hidden = answer === null || answer.days.lines.length === 0;
    this._breakdown.node.hidden = isEmpty;
    if (answer !== null) {
      const { bill, days } = answer;
      const shown = utcDaysOf(days, Date.now() / 1000);
      const ofBill = utcDaysOf(bill, bill.end);
      const [first = '', last = ''] = [ofBill[0], ofBill.at(-1)];
      this._chart.update({ report: days, days: shown, first, last, measure: view.measure });
      this._breakdown.update(answer, view);
    }
    this._body.setAttribute('aria-busy', String(model.isLoading));
    this._budgets.update(budgets.budgets);
    this._idle.update(pools.pools);
    this._prices.update(pools.pools);
  }

  private _drawNotice(): void {
    const { problem } = this.model;
    const text = problem === null ? '' : [problem.message, problem.hint].filter(Boolean).join('. ');
    if (this._notice.textContent !== text) {
      this._notice.textContent = text;
    }
    this._notice.hidden = text === '';
  }

  private _drawEmpty(): void {
    const { trans, models } = this._options;
    const { answer } = this.model;
    const { pools } = models.pools;
    let text = '';
    if (answer === null) {
      text = this.model.problem === null ? trans.__('loading…') : '';
    } else if (answer.bill.lines.length === 0) {
      text =
        pools?.length === 0
          ? trans.__('No pool is attached: there is nothing yet that could cost.')
          : trans.__('Nothing was used in this time.');
    }
    this._attach.hidden = answer === null || pools?.length !== 0;
    this._emptyText.textContent = text;
    this._empty.hidden = text === '';
  }

  private _options: IPageOptions;
  private _controls: Controls;
  private _tiles: Tiles;
  private _chart: DaysChart;
  private _breakdown: Breakdown;
  private _budgets: Budgets;
  private _idle: Idle;
  private _prices: Prices;
  private _notice = h('div', { class: 'aiinfra-CostPage-notice', role: 'status', hidden: '' });
  private _body = h('div', { class: 'aiinfra-CostPage-body', tabindex: '0', role: 'region' });
  private _empty = h('div', { class: 'aiinfra-CostPage-empty', hidden: '' });
  private _emptyText = h('span', { role: 'status' });
  private _attach = h('button', { type: 'button', class: 'aiinfra-CostPage-button', hidden: '' });
  private _frame = 0;
  private _ticking: ReturnType<typeof setInterval> | undefined;
}
