/** The jobs, as a section of the panel. */

import type { TranslationBundle } from '@jupyterlab/translation';
import { HTMLSelect, InputGroup } from '@jupyterlab/ui-components';
import type { CommandRegistry } from '@lumino/commands';
import type { ReadonlyPartialJSONObject } from '@lumino/coreutils';
import React, { useCallback, useEffect, useRef, useState } from 'react';

import type { JobItem } from '../../api/types';
import { costText } from '../../cost/text';
import { isActive } from '../../jobstate';
import type { JobCosts } from '../../models/jobcosts';
import type { JobList, StateFilter } from '../../models/joblist';
import { CommandIDs, type IAiInfraModels, type IProblem } from '../../tokens';
import { useSignal } from '../usesignal';
import { JobRow } from './jobrow';

export interface IJobsSectionProps {
  /** Whoever shows the section watches `models.jobs` for as long as it is in sight. */
  models: IAiInfraModels;
  list: JobList;
  /** Of these it is told by the section which jobs are shown. */
  costs: JobCosts;
  commands: CommandRegistry;
  trans: TranslationBundle;
  /** Whether it is in sight: time passes only then. */
  isVisible: boolean;
}

/** The filter, the rows, and what there is to say where there are none. */
export function JobsSection(props: IJobsSectionProps): React.JSX.Element {
  const { models, list, trans } = props;
  const grid = useRef<HTMLDivElement>(null);
  useSignal(list.changed);
  const { problem } = models.jobs;
  const clear = (): void => list.narrow({ search: '', state: '' });
  return (
    <div
      className="aiinfra-Jobs"
      onKeyDown={event => {
        if (event.key === 'Escape' && list.isNarrowed) {
          event.preventDefault();
          clear();
        }
      }}
    >
      <Filter list={list} trans={trans} onDown={() => focusRow(grid.current, 0)} />
      {problem && <Note problem={problem} />}
      {list.rows.length > 0 ? (
        <Rows {...props} grid={grid} />
      ) : (
        <NoRows models={models} list={list} trans={trans} onClear={clear} />
      )}
      {list.problem && <Note problem={list.problem} />}
      {list.more && (
        <button
          className="jp-mod-styled aiinfra-Jobs-more"
          disabled={list.isAsking}
          onClick={() => list.showMore()}
        >
          {list.isAsking ? trans.__('Asking the server…') : trans.__('Show more')}
        </button>
      )}
    </div>
  );
}

function Filter({
  list,
  trans,
  onDown
}: {
  list: JobList;
  trans: TranslationBundle;
  onDown: () => void;
}): React.JSX.Element {
  const states: [StateFilter, string][] = [
    ['', trans.__('All')],
    ['active', trans.__('Active')],
    ['ended', trans.__('Ended')],
    ['succeeded', trans.__('Succeeded')],
    ['failed', trans.__('Failed')],
    ['cancelled', trans.__('Cancelled')],
    ['lost', trans.__('Lost')]
  ];
  return (
    <div className="aiinfra-Jobs-filter">
      <InputGroup
        type="search"
        value={list.search}
        placeholder={trans.__('Filter jobs')}
        title={trans.__('Name, id, pool, notebook, user or code')}
        aria-label={trans.__('Filter jobs by name, id, pool, notebook, user or code')}
        rightIcon="ui-components:search"
        onChange={event => list.narrow({ search: event.currentTarget.value })}
        onKeyDown={event => {
          if (event.key === 'ArrowDown') {
            event.preventDefault();
            onDown();
          }
        }}
      />
      <HTMLSelect
        value={list.state}
        aria-label={trans.__('State')}
        onChange={event => list.narrow({ state: event.currentTarget.value as StateFilter })}
      >
        {states.map(([value, label]) => (
          <option key={value} value={value}>
            {label}
          </option>
        ))}
      </HTMLSelect>
    </div>
  );
}

function Rows(
  props: IJobsSectionProps & { grid: React.RefObject<HTMLDivElement> }
): React.JSX.Element {
  const { models, list, costs, commands, trans, isVisible, grid } = props;
  const { selection, budgets } = models;
  useSignal(selection.changed);
  useSignal(budgets.changed);
  useSignal(costs.changed);
  const { rows } = list;
  useEffect(() => costs.want(rows), [costs, rows]);
  const now = useNow(isVisible && rows.some(isActive));
  const selected = selection.selected?.id ?? null;
  const current = Math.max(
    0,
    rows.findIndex(({ id }) => id === selected)
  );
  const focus = useFocusKept(grid, rows, selected);
  const onSelect = useCallback((id: string) => selection.select(id), [selection]);
  const onCommand = useCallback(
    (command: string, id: string) => void commands.execute(command, { id }),
    [commands]
  );
  const onAnswer = useCallback(
    (command: string, args: ReadonlyPartialJSONObject) => void commands.execute(command, args),
    [commands]
  );
  const onKeyDown = (event: React.KeyboardEvent): void => {
    const row = event.target instanceof HTMLElement ? event.target.dataset['job'] : undefined;
    const next = target(event.key, current, rows.length);
    if (next !== null) {
      event.preventDefault();
      focusRow(grid.current, next);
    } else if (row !== undefined && event.key === 'Enter') {
      event.preventDefault();
      onCommand(CommandIDs.openJob, row);
    } else if (row !== undefined && event.key === 'Delete') {
      event.preventDefault();
      if (commands.isEnabled(CommandIDs.removeJob, { id: row })) {
        onCommand(CommandIDs.removeJob, row);
      }
    }
  };
  return (
    <div
      ref={grid}
      className="aiinfra-Jobs-list"
      role="grid"
      aria-label={trans.__('Jobs')}
      onKeyDown={onKeyDown}
      {...focus}
    >
      {rows.map((job, index) => (
        <JobRow
          key={job.id}
          job={job}
          now={isActive(job) ? now : 0}
          cost={costText(costs.of(job.id))}
          budget={job.notice ? budgets.find(job.notice.by) : undefined}
          isCurrent={index === current}
          isSelected={job.id === selected}
          trans={trans}
          onSelect={onSelect}
          onCommand={onCommand}
          onAnswer={onAnswer}
        />
      ))}
    </div>
  );
}

/** The row that a key leads to; `null` for any other key. */
function target(key: string, current: number, length: number): number | null {
  switch (key) {
    case 'ArrowDown':
      return Math.min(current + 1, length - 1);
    case 'ArrowUp':
      return Math.max(current - 1, 0);
    case 'Home':
      return 0;
    case 'End':
      return length - 1;
    default:
      return null;
  }
}

function focusRow(grid: HTMLElement | null, index: number): void {
  const row = grid?.children[index];
  if (row instanceof HTMLElement) {
    row.focus();
  }
}

/**
 * When what has the focus goes, its row gets it, or the one in that row's place.
 *
 * What is returned belongs to the list. A user who clicks elsewhere takes the focus away by an
 * event; what is no longer drawn loses it without one.
 */
function useFocusKept(
  grid: React.RefObject<HTMLElement>,
  rows: readonly JobItem[],
  selected: string | null
): { onFocus: () => void; onBlur: () => void } {
  const hasFocus = useRef(false);
  const last = useRef({ index: 0, id: null as string | null });
  useEffect(() => {
    const { id, index } = last.current;
    if (hasFocus.current && document.activeElement === document.body) {
      const found = rows.findIndex(row => row.id === id);
      focusRow(grid.current, found < 0 ? Math.min(index, rows.length - 1) : found);
    }
    last.current = { index: rows.findIndex(row => row.id === selected), id: selected };
  });
  return {
    onFocus: () => {
      hasFocus.current = true;
    },
    onBlur: () => {
      hasFocus.current = false;
    }
  };
}

/** Seconds since the epoch, anew each second while `isTicking` and the page is in sight. */
function useNow(isTicking: boolean): number {
  const [now, setNow] = useState(seconds);
  useEffect(() => {
    if (!isTicking) {
      return;
    }
    const tick = (): void => {
      if (!document.hidden) {
        setNow(seconds());
      }
    };
    tick();
    const timer = setInterval(tick, 1000);
    document.addEventListener('visibilitychange', tick);
    return () => {
      clearInterval(timer);
      document.removeEventListener('visibilitychange', tick);
    };
  }, [isTicking]);
  return now;
}

function seconds(): number {
  return Date.now() / 1000;
}

/** Why something is not known. What was known stays below it. */
function Note({ problem }: { problem: IProblem }): React.JSX.Element {
  return (
    <div className="aiinfra-Jobs-note" role="alert">
      <div>{problem.message}</div>
      {problem.hint && <div className="aiinfra-Jobs-hint">{problem.hint}</div>}
    </div>
  );
}

const LOAD = '%load_ext jupyter_aiinfra';

/** What to do first; or that the filter lets nothing through. */
function NoRows({
  models,
  list,
  trans,
  onClear
}: {
  models: IAiInfraModels;
  list: JobList;
  trans: TranslationBundle;
  onClear: () => void;
}): React.JSX.Element | null {
  useSignal(models.pools.changed);
  if (models.jobs.active === null) {
    return models.jobs.problem ? null : (
      <p className="aiinfra-Jobs-note" role="status">
        {trans.__('Asking the server for its jobs…')}
      </p>
    );
  }
  if (list.isNarrowed) {
    return (
      <div className="aiinfra-Jobs-note" role="status">
        <p>{list.isAsking ? trans.__('Searching…') : trans.__('No job matches.')}</p>
        <button className="jp-mod-styled" onClick={onClear}>
          {trans.__('Clear the filter')}
        </button>
      </div>
    );
  }
  const pool = models.pools.pools?.[0];
  return (
    <div className="aiinfra-Jobs-note">
      <p>
        {pool === undefined
          ? trans.__('No jobs yet. Attach a pool first; then run a cell that begins with')
          : trans.__('No jobs yet. Run a cell that begins with')}
      </p>
      <pre className="aiinfra-Jobs-example">{`%%accelerate ${pool?.name ?? 'here'}`}</pre>
      <p>{trans.__('and its job appears here. In a new notebook, run this one first:')}</p>
      <pre className="aiinfra-Jobs-example">{LOAD}</pre>
    </div>
  );
}
