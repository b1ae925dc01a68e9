/** The list of schedules. */

import type { TranslationBundle } from '@jupyterlab/translation';
import { pauseIcon, runIcon } from '@jupyterlab/ui-components';
import type { CommandRegistry } from '@lumino/commands';

import type { ScheduleItem } from '../api/types';
import { shareText } from '../cost/text';
import { scheduleIcon } from '../icons';
import { triggersText } from '../models/runwords';
import { CommandIDs, type ISchedulesModel } from '../tokens';
import { h } from '../widgets/dom';
import { iconButton, menuButton } from './buttons';
import { historyNode, successShare } from './history';
import { compareKeys } from './runlist';
import { schedulesSortedBy, type IView, type ScheduleColumn } from './view';
import { VirtualTable } from './virtualtable';
import { fileName, nextText } from './words';

const ROW_PIXELS = 34;
const MOST_BARS = 12;

export interface ISchedulesTableOptions {
  schedules: ISchedulesModel;
  commands: CommandRegistry;
  trans: TranslationBundle;
  show: (change: Partial<IView>) => void;
}

type Column = ScheduleColumn | 'actions';

export class SchedulesTable {
  constructor(options: ISchedulesTableOptions) {
    this._options = options;
    const { commands, show, trans } = options;
    this._table = new VirtualTable<ScheduleItem, Column>({
      label: trans.__('Schedules'),
      columns: [
        { key: 'name', label: trans.__('Name'), width: 'minmax(140px, 2fr)' },
        { key: 'next', label: trans.__('Next'), width: 'minmax(96px, 1fr)' },
        { key: 'when', label: trans.__('When'), width: 'minmax(110px, 1.4fr)' },
        { key: 'pool', label: trans.__('Pool'), width: 'minmax(70px, 0.8fr)' },
        { key: 'runs', label: trans.__('Last runs'), width: '84px' },
        { key: 'share', label: trans.__('Success'), width: '84px', kind: 'number' },
        { key: 'actions', label: trans.__('What can be done'), width: '96px', isFixed: true }
      ],
      rowPixels: ROW_PIXELS,
      idOf: ({ id }) => id,
      nameOf: ({ name }) => name,
      keyOf: schedule => this._keyOf(schedule),
      cells: schedule => this._cells(schedule),
      onSort: column => {
        if (column !== 'actions') {
          show(schedulesSortedBy(this._view, column));
        }
      },
      onOpen: ({ id }) => show({ schedule: id, tab: 'runs' }),
      onDelete: ({ id }) => void commands.execute(CommandIDs.removeSchedule, { id })
    });
  }

  get node(): HTMLElement {
    return this._table.node;
  }

  /** Show those that match; returns how many do. */
  update(view: IView): number {
    this._view = view;
    const items = sortedSchedules(this._matching(view), view, schedule => this._when(schedule));
    this._table.update({ items, sort: view.sort, down: view.down });
    return items.length;
  }

  dispose(): void {
    this._table.dispose();
  }

  private _matching({ find }: IView): ScheduleItem[] {
    const words = find.trim().toLowerCase();
    return (this._options.schedules.schedules ?? []).filter(({ id, name, version }) =>
      [id, name, version.notebook, version.pool].some(text => text.toLowerCase().includes(words))
    );
  }

  private _when({ version }: ScheduleItem): string {
    const { schedules, trans } = this._options;
    return triggersText(version.triggers, id => schedules.find(id)?.name ?? id, trans);
  }

  private _keyOf(schedule: ScheduleItem): string {
    const { trans } = this._options;
    const { name, state, version, last_runs: runs, problem } = schedule;
    const ended = runs.map(run => [run.id, run.state, run.ended_at]);
    const said = [nextText(schedule, trans), this._when(schedule), version.number, version.pool];
    return JSON.stringify([name, state, problem, said, ended]);
  }

  private _cells(schedule: ScheduleItem): (Node | string)[] {
    const { commands, trans, show } = this._options;
    const { id, name, state, version, last_runs: runs, problem } = schedule;
    const open = h('button', { type: 'button', class: 'aiinfra-SchedulePage-link' }, name);
    open.dataset['focus'] = 'name';
    open.title = trans.__('Show the runs of %1', name);
    open.addEventListener('click', () => show({ schedule: id, tab: 'runs' }));
    const file = h('span', { class: 'aiinfra-SchedulePage-quiet' }, fileName(version.notebook));
    file.title = version.notebook;
    const next = h('span', { 'data-state': state, class: 'aiinfra-SchedulePage-next' });
    next.append(nextText(schedule, trans));
    next.title = problem || (schedule.next_slots[0]?.text ?? '');
    if (problem !== '') {
      next.classList.add('aiinfra-mod-bad');
      next.replaceChildren(trans.__('trouble'));
    }
    const share = successShare(runs);
    const isPaused = state === 'paused';
    const run = (command: string) => (): void => void commands.execute(command, { id });
    const toggle = isPaused ? CommandIDs.resumeSchedule : CommandIDs.pauseSchedule;
    return [
      h('span', {}, open, ' ', file),
      next,
      h('span', { title: version.timezone }, this._when(schedule)),
      version.pool,
      historyNode(runs, { most: MOST_BARS, height: 20, trans }),
      share === null ? trans.__('n/a') : shareText(share, trans),
      h(
        'span',
        { class: 'aiinfra-SchedulePage-actions' },
        iconButton(runIcon, trans.__('Run %1 now', name), {
          name: 'run',
          onClick: run(CommandIDs.runSchedule)
        }),
        iconButton(
          isPaused ? scheduleIcon : pauseIcon,
          isPaused ? trans.__('Resume %1', name) : trans.__('Pause %1', name),
          { name: 'pause', onClick: run(toggle), isEnabled: isPaused || state === 'active' }
        ),
        menuButton(
          trans.__('More of %1', name),
          [
            { command: CommandIDs.editSchedule, args: { id } },
            { command: CommandIDs.duplicateSchedule, args: { id } },
            { command: CommandIDs.openSchedules, args: { schedule: id, tab: 'versions' } },
            { command: CommandIDs.removeSchedule, args: { id } }
          ],
          commands
        )
      )
    ];
  }

  private _options: ISchedulesTableOptions;
  private _view!: IView;
  private _table: VirtualTable<ScheduleItem, Column>;
}

export function sortedSchedules(
  schedules: readonly ScheduleItem[],
  { sort, down }: Pick<IView, 'sort' | 'down'>,
  whenOf: (schedule: ScheduleItem) => string
): ScheduleItem[] {
  const keyOf = (schedule: ScheduleItem): string | number => {
    switch (sort) {
      case 'name':
        return schedule.name;
      case 'next':
        // Those that do not run by themselves come last.
        return schedule.next_slots[0]?.start_at ?? Number.MAX_VALUE;
      case 'when':
        return whenOf(schedule);
      case 'pool':
        return schedule.version.pool;
      case 'runs':
        return -(schedule.last_runs[0]?.created_at ?? 0);
      case 'share':
        return successShare(schedule.last_runs) ?? 2;
    }
  };
  const turn = down ? -1 : 1;
  return schedules
    .map(schedule => ({ schedule, key: keyOf(schedule) }))
    .sort(
      (one, other) =>
        turn * compareKeys(one.key, other.key) ||
        compareKeys(one.schedule.name, other.schedule.name)
    )
    .map(({ schedule }) => schedule);
}
