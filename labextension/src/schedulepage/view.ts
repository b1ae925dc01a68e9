/** What the page of schedules shows, and how it is sorted. Values, and no state. */

import type { RunState } from '../api/types';

export const TABS = ['schedules', 'runs', 'versions'] as const;
export type Tab = (typeof TABS)[number];

export const SCHEDULE_COLUMNS = ['name', 'next', 'when', 'pool', 'runs', 'share'] as const;
export type ScheduleColumn = (typeof SCHEDULE_COLUMNS)[number];

export const RUN_COLUMNS = ['state', 'when', 'schedule', 'took', 'trigger', 'reason'] as const;
export type RunColumn = (typeof RUN_COLUMNS)[number];

/** What runs may be narrowed to: all, those that are not over, or one state. */
export type StateFilter = '' | 'active' | RunState;

export const STATES: readonly StateFilter[] = [
  '',
  'active',
  'succeeded',
  'failed',
  'cancelled',
  'lost',
  'skipped',
  'missed'
];

export interface IView {
  tab: Tab;
  /** The schedule whose runs and versions are shown; `null`: of all of them. */
  schedule: string | null;
  /** What is looked for in the schedules, and in the runs. */
  find: string;
  search: string;
  state: StateFilter;
  sort: ScheduleColumn;
  down: boolean;
  runSort: RunColumn;
  runDown: boolean;
}

export const FIRST_VIEW: IView = {
  tab: 'schedules',
  schedule: null,
  find: '',
  search: '',
  state: '',
  sort: 'name',
  down: false,
  runSort: 'when',
  runDown: true
};

/** A view as it was kept by JupyterLab, or as a command was given it. */
export function viewOf(given: Record<string, unknown>, before: IView = FIRST_VIEW): IView {
  const text = (name: string, other: string): string =>
    typeof given[name] === 'string' ? given[name] : other;
  const flag = (name: string, other: boolean): boolean =>
    typeof given[name] === 'boolean' ? given[name] : other;
  const isNamed = 'schedule' in given;
  const schedule = isNamed ? text('schedule', '') || null : before.schedule;
  // Who names a schedule wants to see it, not the list that it stands in.
  const first = isNamed && schedule !== null ? 'runs' : before.tab;
  const tab = TABS.find(each => each === given['tab']) ?? first;
  return {
    tab: tab === 'versions' && schedule === null ? 'schedules' : tab,
    schedule,
    find: text('find', before.find),
    search: text('search', before.search),
    state: STATES.find(each => each === given['state']) ?? before.state,
    sort: SCHEDULE_COLUMNS.find(each => each === given['sort']) ?? before.sort,
    down: flag('down', before.down),
    runSort: RUN_COLUMNS.find(each => each === given['runSort']) ?? before.runSort,
    runDown: flag('runDown', before.runDown)
  };
}

/** What JupyterLab keeps of it. */
export function keptOf(view: IView): { [name: string]: string | boolean } {
  return { ...view, schedule: view.schedule ?? '' };
}

/** The order after a click on the head of a column: moments begin with the newest, names with A. */
export function schedulesSortedBy(view: IView, column: ScheduleColumn): Partial<IView> {
  return { sort: column, down: view.sort === column ? !view.down : false };
}

export function runsSortedBy(view: IView, column: RunColumn): Partial<IView> {
  const isFirstDown = column === 'when' || column === 'took';
  return { runSort: column, runDown: view.runSort === column ? !view.runDown : isFirstDown };
}
