/** The page of schedules and their runs, in JupyterLab's main area. */

import type { TranslationBundle } from '@jupyterlab/translation';
import type { CommandRegistry } from '@lumino/commands';
import type { Message } from '@lumino/messaging';
import { Widget } from '@lumino/widgets';

import type { RunItem } from '../api/types';
import { isRunActive, runStateText } from '../models/runwords';
import type { IAiInfraApi, IAiInfraModels } from '../tokens';
import { h } from '../widgets/dom';
import { count } from '../widgets/format';
import { TabBar } from '../widgets/tabs';
import { Card } from './card';
import { SchedulePageModel } from './model';
import { RunsTable } from './runstable';
import { SchedulesTable } from './schedulestable';
import { Versions } from './versions';
import { STATES, type IView, type StateFilter, type Tab } from './view';

const TICK_MILLISECONDS = 1_000;

export interface ISchedulePageOptions {
  api: IAiInfraApi;
  models: IAiInfraModels;
  commands: CommandRegistry;
  trans: TranslationBundle;
}

let pages = 0;

export class SchedulePage extends Widget {
  constructor(options: ISchedulePageOptions) {
    super();
    this._options = options;
    const { api, models, commands, trans } = options;
    this.addClass('aiinfra-SchedulePage');
    this.model = new SchedulePageModel({ api, models });
    const { schedules } = models;
    const show = (change: Partial<IView>): void => this.model.show(change);
    const id = `aiinfra-schedules-${++pages}`;
    this._panel.id = `${id}-panel`;
    this._tabs = new TabBar({
      id,
      panel: this._panel,
      onSelect: tab => show({ tab: tab as Tab }),
      label: trans.__('Schedules and runs')
    });
    this._card = new Card({
      ...{ schedules, commands, trans },
      onBack: () => show({ schedule: null, tab: 'schedules' })
    });
    this._schedules = new SchedulesTable({ schedules, commands, trans, show });
    this._runs = new RunsTable({
      ...{ commands, trans, show },
      onEnd: () => this.model.list.showMore()
    });
    this._versions = new Versions({ api, schedules, trans });
    this._build();
    this.model.changed.connect(this._onChanged);
    document.addEventListener('visibilitychange', this._follow);
  }

  readonly model: SchedulePageModel;

  override dispose(): void {
    if (!this.isDisposed) {
      document.removeEventListener('visibilitychange', this._follow);
      clearInterval(this._ticking);
      cancelAnimationFrame(this._frame);
      this._schedules.dispose();
      this._runs.dispose();
      this.model.dispose();
      super.dispose();
    }
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
    this._search.focus({ preventScroll: true });
  }

  private _build(): void {
    const { trans } = this._options;
    this._search.addEventListener('input', () => {
      const { value } = this._search;
      this.model.show(this.model.view.tab === 'runs' ? { search: value } : { find: value });
    });
    this._state.setAttribute('aria-label', trans.__('State'));
    this._state.append(
      ...STATES.map(state => h('option', { value: state }, stateWord(state, trans)))
    );
    this._state.addEventListener('change', () =>
      this.model.show({ state: this._state.value as StateFilter })
    );
    this._again.append(trans.__('Try again'));
    this._again.addEventListener('click', () => this.model.list.retry());
    this._notice.append(this._said, this._again);
    const bar = h('div', { class: 'aiinfra-SchedulePage-bar' });
    bar.append(this._tabs.node, this._search, this._state, this._found);
    this._panel.append(this._empty, this._schedules.node, this._runs.node, this._versions.node);
    this.node.append(this._notice, this._card.node, bar, this._panel);
  }

  /** Ask and watch while this is to be seen, and only then. */
  private _follow = (): void => {
    this._turn(this.isVisible && !document.hidden);
    this._onChanged();
  };

  private _turn(isOn: boolean): void {
    this.model.active = isOn;
    this._isOn = isOn;
    clearInterval(this._ticking);
    if (isOn) {
      this._ticking = setInterval(() => {
        if (this.model.view.tab === 'runs' && this.model.list.rows.some(isRunActive)) {
          this._runs.tick();
        }
      }, TICK_MILLISECONDS);
    }
  }

  /** Many changes at once are drawn once. */
  private _onChanged = (): void => {
    if (!this.isDisposed && this._isOn) {
      this._frame ||= requestAnimationFrame(() => {
        this._frame = 0;
        if (!this.isDisposed && this._isOn) {
          this._render();
        }
      });
    }
  };

  private _render(): void {
    const { view, schedule, list } = this.model;
    const { tab } = view;
    this._drawTabs();
    this._keepHistory();
    this._card.update(schedule, this._history?.runs ?? []);
    this._schedules.node.hidden = tab !== 'schedules';
    this._runs.node.hidden = tab !== 'runs';
    this._versions.node.hidden = tab !== 'versions';
    this._state.hidden = tab !== 'runs';
    this._search.hidden = tab === 'versions';
    this._drawSearch();
    let found = 0;
    if (tab === 'schedules') {
      found = this._schedules.update(view);
    } else if (tab === 'runs') {
      found = list.rows.length;
      this._runs.update(view, list.rows);
    } else {
      this._versions.update(schedule);
    }
    this._drawFound(found);
    this._drawEmpty(found);
    this._drawNotice();
  }

  /** The newest runs of the schedule, as they were before they were narrowed or sorted. */
  private _keepHistory(): void {
    const { view, list } = this.model;
    const { schedule, search, state, runSort, runDown } = view;
    if (schedule !== this._history?.schedule) {
      this._history = null;
    }
    const isAll = search.trim() === '' && state === '' && runSort === 'when' && runDown;
    if (schedule !== null && isAll && list.isKnown) {
      this._history = { schedule, runs: list.rows };
    }
  }

  private _drawTabs(): void {
    const { trans } = this._options;
    const { view } = this.model;
    const labels: Record<Tab, string> = {
      schedules: trans.__('Schedules'),
      runs: trans.__('Runs'),
      versions: trans.__('Versions')
    };
    const shown: Tab[] = view.schedule === null ? ['schedules', 'runs'] : ['runs', 'versions'];
    const tab = shown.includes(view.tab) ? view.tab : 'runs';
    if (tab !== view.tab) {
      this.model.show({ tab });
      return;
    }
    this._tabs.update(
      shown.map(key => ({ key, label: labels[key], bad: false })),
      tab
    );
  }

  private _drawSearch(): void {
    const { trans } = this._options;
    const { tab, find, search, state } = this.model.view;
    const [text, label] =
      tab === 'runs'
        ? [search, trans.__('Find runs by schedule, id or what was said')]
        : [find, trans.__('Find schedules by name, notebook or pool')];
    if (this._search.value !== text) {
      this._search.value = text;
    }
    this._search.placeholder = trans.__('Find…');
    this._search.title = label;
    this._search.setAttribute('aria-label', label);
    this._state.value = state;
  }

  private _drawFound(found: number): void {
    const { trans } = this._options;
    const { view, list } = this.model;
    let text = '';
    if (view.tab === 'schedules') {
      text = trans._n('%1 schedule', '%1 schedules', found);
    } else if (view.tab === 'runs') {
      const shown = count(found);
      text = list.more && found > 0 ? trans.__('%1 and more', shown) : trans.__('%1 runs', shown);
    }
    if (this._found.textContent !== text) {
      this._found.textContent = text;
    }
    this._panel.setAttribute('aria-busy', String(view.tab === 'runs' && list.isAsking));
  }

  private _drawEmpty(found: number): void {
    const { trans, models } = this._options;
    const { view, list, schedule } = this.model;
    const { schedules } = models.schedules;
    let text = '';
    if (view.schedule !== null && schedule === null) {
      text =
        schedules === null ? trans.__('loading…') : trans.__('This schedule has been removed.');
    } else if (view.tab === 'schedules' && found === 0) {
      text =
        schedules === null
          ? trans.__('loading…')
          : schedules.length === 0
            ? trans.__(
                'Nothing is scheduled. “Schedule…” in the toolbar of a notebook has it run by itself.'
              )
            : trans.__('No schedule has this in its name, notebook or pool.');
    } else if (view.tab === 'runs' && found === 0 && list.problem === null) {
      const isNarrowed = view.search.trim() !== '' || view.state !== '';
      text = !list.isKnown
        ? trans.__('loading…')
        : isNarrowed
          ? trans.__('No run matches.')
          : trans.__('Nothing has run yet.');
    }
    this._empty.textContent = text;
    this._empty.hidden = text === '';
  }

  private _drawNotice(): void {
    const { models } = this._options;
    const { view, list } = this.model;
    const problem =
      (view.tab === 'runs' ? list.problem : null) ??
      models.schedules.problem ??
      (view.tab === 'runs' ? models.runs.problem : null);
    const text = problem === null ? '' : [problem.message, problem.hint].filter(Boolean).join('. ');
    if (this._said.textContent !== text) {
      this._said.textContent = text;
    }
    this._again.hidden = problem !== list.problem || view.tab !== 'runs';
    this._notice.hidden = text === '';
  }

  private _options: ISchedulePageOptions;
  private _tabs: TabBar;
  private _card: Card;
  private _schedules: SchedulesTable;
  private _runs: RunsTable;
  private _versions: Versions;
  private _notice = h('div', { class: 'aiinfra-SchedulePage-notice', hidden: '' });
  private _said = h('span', { role: 'status' });
  private _again = h('button', { type: 'button', class: 'aiinfra-SchedulePage-button' });
  private _search = h('input', { type: 'search', class: 'aiinfra-SchedulePage-search' });
  private _state = h('select', { class: 'aiinfra-SchedulePage-select' });
  private _found = h('span', { class: 'aiinfra-SchedulePage-quiet', role: 'status' });
  private _panel = h('div', { class: 'aiinfra-SchedulePage-panel', role: 'tabpanel' });
  private _empty = h('p', { class: 'aiinfra-SchedulePage-empty', hidden: '' });
  private _history: { schedule: string; runs: readonly RunItem[] } | null = null;
  private _isOn = false;
  private _frame = 0;
  private _ticking: ReturnType<typeof setInterval> | undefined;
}

function stateWord(state: StateFilter, trans: TranslationBundle): string {
  if (state === '') {
    return trans.__('All');
  }
  return state === 'active' ? trans.__('not over') : runStateText(state, trans);
}
