/** One job of the list. */

import type { TranslationBundle } from '@jupyterlab/translation';
import { Button, closeIcon, refreshIcon, stopIcon, type LabIcon } from '@jupyterlab/ui-components';
import type { ReadonlyPartialJSONObject } from '@lumino/coreutils';
import React from 'react';

import type { BudgetItem, JobItem } from '../../api/types';
import { elapsedSeconds, isActive } from '../../jobstate';
import { CommandIDs } from '../../tokens';
import { durationText } from '../../widgets/format';
import { JobNotice } from './notice';
import { shownState, STATE_ICONS, stateText } from './states';

export interface IJobRowProps {
  job: JobItem;
  /** Seconds since the epoch; for a job that is over it may stay what it was. */
  now: number;
  /** What it has cost so far; `null` where that is unknown. */
  cost: string | null;
  /** The budget that has something to say of it, where one has and it is known. */
  budget: BudgetItem | undefined;
  /** Whether it is the one row that the Tab key comes to. */
  isCurrent: boolean;
  isSelected: boolean;
  trans: TranslationBundle;
  onSelect: (id: string) => void;
  /** Execute a command on the job. */
  onCommand: (command: string, id: string) => void;
  /** Answer what is said of it. */
  onAnswer: (command: string, args: ReadonlyPartialJSONObject) => void;
}

/** Two lines, and a third where there is something to say. Drawn again only when it is another. */
export const JobRow = React.memo((props: IJobRowProps): React.JSX.Element => {
  const { job, now, cost, budget, isCurrent, isSelected, trans } = props;
  const { onSelect, onCommand, onAnswer } = props;
  const { notice } = job;
  const state = shownState(job);
  const StateIcon = STATE_ICONS[state];
  return (
    // The class is what the context menu looks for.
    <div
      className="aiinfra-JobRow"
      role="row"
      data-job={job.id}
      data-state={state}
      tabIndex={isCurrent ? 0 : -1}
      aria-selected={isSelected}
      onFocus={() => onSelect(job.id)}
      onContextMenu={() => onSelect(job.id)}
      onClick={() => onCommand(CommandIDs.openJob, job.id)}
    >
      <div className="aiinfra-JobRow-main" role="gridcell">
        <span className="aiinfra-JobRow-icon" aria-hidden="true">
          <StateIcon.react tag="span" />
        </span>
        <span className="aiinfra-JobRow-name" title={trans.__('%1 (job %2)', job.name, job.id)}>
          {job.name}
        </span>
        <span className="aiinfra-JobRow-elapsed" title={times(job, trans)}>
          {durationText(elapsedSeconds(job, now), isActive(job))}
        </span>
        <span className="aiinfra-JobRow-facts">
          <span className="aiinfra-JobRow-state">{stateText(state, trans)}</span>
          {cost !== null && (
            <span className="aiinfra-JobRow-cost" title={trans.__('What it has cost so far')}>
              {cost}
            </span>
          )}
          <span>{job.pool}</span>
          <span>{shapeText(job, trans)}</span>
          {job.notebook && <span title={job.notebook}>{fileName(job.notebook)}</span>}
        </span>
        {job.message && !(notice && job.message.includes(notice.text)) && (
          <span className="aiinfra-JobRow-message" title={job.message}>
            {job.message}
          </span>
        )}
      </div>
      <div className="aiinfra-JobRow-actions" role="gridcell">
        {actions(job, trans).map(({ command, icon, label }) => (
          <RowButton
            key={command}
            icon={icon}
            label={label}
            isReachable={isCurrent}
            onClick={() => onCommand(command, job.id)}
          />
        ))}
      </div>
      {notice && (
        <JobNotice {...{ job, notice, budget, trans, onAnswer }} isReachable={isCurrent} />
      )}
    </div>
  );
});
JobRow.displayName = 'JobRow';

interface IAction {
  command: string;
  icon: LabIcon;
  label: string;
}

function actions(job: JobItem, trans: TranslationBundle): IAction[] {
  const { name } = job;
  const rerun = {
    command: CommandIDs.rerunJob,
    icon: refreshIcon,
    label: trans.__('Run %1 again', name)
  };
  if (!isActive(job)) {
    const label = trans.__('Remove %1', name);
    return [rerun, { command: CommandIDs.removeJob, icon: closeIcon, label }];
  }
  if (job.desired === 'stop') {
    return [rerun];
  }
  const label = trans.__('Cancel %1', name);
  return [{ command: CommandIDs.cancelJob, icon: stopIcon, label }, rerun];
}

function RowButton(props: {
  icon: LabIcon;
  label: string;
  isReachable: boolean;
  onClick: () => void;
}): React.JSX.Element {
  const { icon: Icon, label, isReachable, onClick } = props;
  return (
    <Button
      minimal
      small
      className="aiinfra-IconButton"
      title={label}
      aria-label={label}
      tabIndex={isReachable ? 0 : -1}
      onClick={(event: React.MouseEvent) => {
        event.stopPropagation(); // or the row would open
        onClick();
      }}
    >
      <Icon.react tag="span" />
    </Button>
  );
}

/** How many ranks, and on how many nodes where these are several. */
function shapeText({ nodes, world }: JobItem, trans: TranslationBundle): string {
  return nodes > 1
    ? trans._n('%2 × %1 rank', '%2 × %1 ranks', world / nodes, nodes)
    : trans._n('%1 rank', '%1 ranks', world);
}

function times(job: JobItem, trans: TranslationBundle): string {
  const said = (seconds: number): string => new Date(seconds * 1000).toLocaleString();
  const lines = [trans.__('Launched %1', said(job.created_at))];
  if (job.started_at !== null) {
    lines.push(trans.__('Started %1', said(job.started_at)));
  }
  if (job.ended_at !== null) {
    lines.push(trans.__('Ended %1', said(job.ended_at)));
  }
  return lines.join('\n');
}

function fileName(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}
