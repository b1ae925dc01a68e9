/** The list of runs. */

import type { TranslationBundle } from '@jupyterlab/translation';
import { closeIcon, refreshIcon, stopIcon } from '@jupyterlab/ui-components';
import type { CommandRegistry } from '@lumino/commands';

import type { RunItem } from '../api/types';
import { momentText } from '../cost/jobline';
import {
  isNotRun,
  isRunActive,
  runDurationText,
  runMoment,
  runStateText,
  runTriggerText
} from '../models/runwords';
import { CommandIDs } from '../tokens';
import { h } from '../widgets/dom';
import { iconButton } from './buttons';
import { runsSortedBy, type IView, type RunColumn } from './view';
import { VirtualTable } from './virtualtable';

const ROW_PIXELS = 30;

export interface IRunsTableOptions {
  commands: CommandRegistry;
  trans: TranslationBundle;
  show: (change: Partial<IView>) => void;
  onEnd: () => void;
}

type Column = RunColumn | 'actions';

export class RunsTable {
  constructor(options: IRunsTableOptions) {
    this._options = options;
    const { commands, show, trans, onEnd } = options;
    this._table = new VirtualTable<RunItem, Column>({
      label: trans.__('Runs'),
      columns: [
        { key: 'state', label: trans.__('State'), width: '104px' },
        { key: 'when', label: trans.__('For'), width: '132px' },
        { key: 'schedule', label: trans.__('Schedule'), width: 'minmax(110px, 1.2fr)' },
        { key: 'took', label: trans.__('Took'), width: '96px', kind: 'number' },
        { key: 'trigger', label: trans.__('Why'), width: '108px' },
        { key: 'reason', label: trans.__('What was said'), width: 'minmax(120px, 2.4fr)' },
        { key: 'actions', label: trans.__('What can be done'), width: '68px', isFixed: true }
      ],
      rowPixels: ROW_PIXELS,
      idOf: ({ id }) => id,
      nameOf: run =>
        trans.__('%1, %2, %3', run.schedule_name, momentText(runMoment(run)), run.state),
      keyOf: run => this._keyOf(run),
      cells: run => this._cells(run),
      onSort: column => {
        if (column !== 'actions') {
          show(runsSortedBy(this._view, column));
        }
      },
      onOpen: run => this._open(run),
      onDelete: run => {
        if (!isRunActive(run)) {
          void commands.execute(CommandIDs.removeRun, { id: run.id });
        }
      },
      onEnd
    });
  }

  get node(): HTMLElement {
    return this._table.node;
  }

  update(view: IView, items: readonly RunItem[]): void {
    const { schedule, state, search } = view;
    const shown = JSON.stringify([schedule, state, search, view.runSort, view.runDown]);
    this._view = view;
    this._table.update({ items, sort: view.runSort, down: view.runDown });
    if (shown !== this._shown) {
      this._shown = shown;
      this._table.rewind();
    }
  }

  /** Time passes for what runs. */
  tick(): void {
    this._table.redraw();
  }

  dispose(): void {
    this._table.dispose();
  }

  private _open({ id }: RunItem): void {
    void this._options.commands.execute(CommandIDs.openRun, { id });
  }

  private _keyOf(run: RunItem): string {
    const took = runDurationText(run, Date.now() / 1000, this._options.trans);
    const { state, reason, attempt, stopping, slots, schedule_name: name } = run;
    return JSON.stringify([state, reason, attempt, stopping, slots, name, took, runMoment(run)]);
  }

  private _cells(run: RunItem): (Node | string)[] {
    const { commands, trans, show } = this._options;
    const { id, state, slots, attempt, schedule, stopping } = run;
    const name = run.schedule_name || schedule;
    const shown = stopping ? trans.__('stopping') : runStateText(state, trans);
    const label = slots > 1 ? trans.__('%1 × %2', shown, slots) : shown;
    const isActive = isRunActive(run);
    const of = h('button', { type: 'button', class: 'aiinfra-SchedulePage-link' }, name);
    of.dataset['focus'] = 'schedule';
    of.title = trans.__('Show the runs of %1', name);
    of.addEventListener('click', () => show({ schedule, tab: 'runs' }));
    const open = h('button', { type: 'button', class: 'aiinfra-SchedulePage-link' });
    open.dataset['focus'] = 'open';
    open.append(momentText(runMoment(run)));
    open.title = trans.__('Open run %1', id);
    open.addEventListener('click', () => this._open(run));
    const said = [attempt > 1 ? trans.__('attempt %1', attempt) : '', run.reason ?? ''];
    const text = said.filter(Boolean).join(': ');
    const does = (command: string) => (): void => void commands.execute(command, { id });
    return [
      h('span', { class: `aiinfra-RunState aiinfra-mod-${state}` }, label),
      open,
      of,
      isNotRun(run) ? '' : runDurationText(run, Date.now() / 1000, trans),
      runTriggerText(run.trigger, trans),
      h('span', { class: 'aiinfra-SchedulePage-quiet', title: text }, text),
      h(
        'span',
        { class: 'aiinfra-SchedulePage-actions' },
        isActive
          ? iconButton(stopIcon, trans.__('Cancel run %1', id), {
              name: 'cancel',
              onClick: does(CommandIDs.cancelRun),
              isEnabled: !stopping
            })
          : iconButton(closeIcon, trans.__('Delete run %1', id), {
              name: 'remove',
              onClick: does(CommandIDs.removeRun)
            }),
        iconButton(refreshIcon, trans.__('Run %1 again', id), {
          name: 'rerun',
          onClick: does(CommandIDs.rerunRun),
          isEnabled: !isNotRun(run)
        })
      )
    ];
  }

  private _options: IRunsTableOptions;
  private _view!: IView;
  private _shown = '';
  private _table: VirtualTable<RunItem, Column>;
}
