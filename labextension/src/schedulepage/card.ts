/** The schedule whose runs and versions are shown: what it is, and what can be done with it. */

import type { TranslationBundle } from '@jupyterlab/translation';
import type { CommandRegistry } from '@lumino/commands';

import type { RunItem, ScheduleItem } from '../api/types';
import { momentText } from '../cost/jobline';
import { Redrawn } from '../costpage/redraw';
import { triggersText } from '../models/runwords';
import { CommandIDs, type ISchedulesModel } from '../tokens';
import { h } from '../widgets/dom';
import { historyNode } from './history';
import { policyFacts, scheduleStateText } from './words';

const MOST_BARS = 60;
const MOST_SLOTS = 3;

export interface ICardOptions {
  schedules: ISchedulesModel;
  commands: CommandRegistry;
  trans: TranslationBundle;
  onBack: () => void;
}

export class Card {
  constructor(options: ICardOptions) {
    this._options = options;
  }

  readonly node = h('section', { class: 'aiinfra-SchedulePage-card', hidden: '' });

  /** Show this schedule with the newest of its runs; `null` shows none. */
  update(schedule: ScheduleItem | null, runs: readonly RunItem[]): void {
    this.node.hidden = schedule === null;
    if (schedule === null) {
      return;
    }
    const newest = runs.length > 0 ? runs : schedule.last_runs;
    const ended = newest.slice(0, MOST_BARS).map(run => [run.id, run.state, run.ended_at]);
    const plain = { ...schedule, last_runs: [] };
    this._redrawn.draw(JSON.stringify([plain, ended]), () => this._make(schedule, newest));
    this.node.setAttribute('aria-label', schedule.name);
  }

  private _make(schedule: ScheduleItem, runs: readonly RunItem[]): HTMLElement[] {
    const { schedules, trans, onBack } = this._options;
    const { name, state, version, problem, paused_by: by } = schedule;
    const back = h('button', { type: 'button', class: 'aiinfra-SchedulePage-button' });
    back.dataset['focus'] = 'back';
    back.append(trans.__('‹ All schedules'));
    back.addEventListener('click', onBack);
    const stateText =
      state === 'paused' && by !== null
        ? trans.__('paused by %1', by)
        : scheduleStateText(state, trans);
    const badge = h('span', { class: `aiinfra-RunState aiinfra-mod-${state}` }, stateText);
    const slots = schedule.next_slots
      .slice(0, MOST_SLOTS)
      .map(({ start_at: at }) => momentText(at));
    const facts: [string, string][] = [
      [trans.__('Notebook'), version.notebook],
      [trans.__('Pool'), version.pool],
      [
        trans.__('When'),
        triggersText(version.triggers, id => schedules.find(id)?.name ?? id, trans)
      ],
      [trans.__('Time zone'), version.timezone],
      [trans.__('Next'), slots.length > 0 ? slots.join(', ') : trans.__('nothing is due')],
      [trans.__('Version'), String(version.number)],
      ...policyFacts(version, trans)
    ];
    const list = h('dl', { class: 'aiinfra-SchedulePage-facts' });
    list.append(
      ...facts.map(([term, value]) => h('div', {}, h('dt', {}, term), h('dd', {}, value)))
    );
    const history = h('div', { class: 'aiinfra-SchedulePage-history' });
    history.append(historyNode(runs, { most: MOST_BARS, height: 40, trans }));
    return [
      h(
        'div',
        { class: 'aiinfra-SchedulePage-title' },
        back,
        h('h2', {}, name),
        badge,
        this._buttons(schedule)
      ),
      ...(problem
        ? [h('p', { class: 'aiinfra-SchedulePage-problem', role: 'alert' }, problem)]
        : []),
      h('div', { class: 'aiinfra-SchedulePage-about' }, list, history)
    ];
  }

  private _buttons({ id, state }: ScheduleItem): HTMLElement {
    const { commands, trans } = this._options;
    const isPaused = state === 'paused';
    const all: [string, string][] = [
      [CommandIDs.runSchedule, trans.__('Run now')],
      isPaused
        ? [CommandIDs.resumeSchedule, trans.__('Resume')]
        : [CommandIDs.pauseSchedule, trans.__('Pause')],
      [CommandIDs.editSchedule, trans.__('Edit…')],
      [CommandIDs.duplicateSchedule, trans.__('Duplicate…')],
      [CommandIDs.removeSchedule, trans.__('Delete')]
    ];
    const buttons = all
      .filter(([command]) => commands.hasCommand(command))
      .map(([command, label], place) => {
        const button = h('button', { type: 'button', class: 'aiinfra-SchedulePage-button' }, label);
        // The place and not the command: who pauses has the focus on what resumes.
        button.dataset['focus'] = `button ${place}`;
        button.addEventListener('click', () => void commands.execute(command, { id }));
        return button;
      });
    return h('span', { class: 'aiinfra-SchedulePage-buttons' }, ...buttons);
  }

  private _options: ICardOptions;
  private _redrawn = new Redrawn(this.node);
}
