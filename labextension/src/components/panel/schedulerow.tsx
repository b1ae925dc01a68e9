/** One schedule of the list: when it runs next, how its last runs ended, what can be done. */

import type { TranslationBundle } from '@jupyterlab/translation';
import {
  caretDownIcon,
  caretRightIcon,
  circleEmptyIcon,
  fastForwardIcon,
  pauseIcon,
  runIcon
} from '@jupyterlab/ui-components';
import type { CommandRegistry } from '@lumino/commands';
import React, { useId } from 'react';

import type { RunItem, ScheduleItem } from '../../api/types';
import { cronText } from '../../models/cronwords';
import { runDurationText, runMoment, runStateText, triggersText } from '../../models/runwords';
import { CommandIDs } from '../../tokens';
import { durationText } from '../../widgets/format';
import { IconButton } from './iconbutton';
import { Facts } from './nodes';
import { clockText } from './poolfacts';

export interface IScheduleRowProps {
  schedule: ScheduleItem;
  commands: CommandRegistry;
  trans: TranslationBundle;
  /** Seconds since the epoch. */
  now: number;
  nameOf: (schedule: string) => string;
  isOpen: boolean;
  onToggle: () => void;
}

/** So many of the last runs are shown. */
const DOTS = 12;

export function ScheduleRow(props: IScheduleRowProps): React.JSX.Element {
  const { schedule, commands, trans, isOpen, onToggle } = props;
  const id = useId();
  const { name, state, problem } = schedule;
  const Caret = isOpen ? caretDownIcon : caretRightIcon;
  const isPaused = state === 'paused';
  const act = (command: string): void => void commands.execute(command, { id: schedule.id });
  return (
    // The class is what the context menu looks for.
    <li className="aiinfra-ScheduleRow" data-schedule={schedule.id} data-state={state}>
      <div className="aiinfra-PoolRow-head">
        <button
          className="aiinfra-PoolRow-toggle"
          aria-expanded={isOpen}
          aria-controls={id}
          onClick={onToggle}
        >
          <Caret.react tag="span" />
          <span className="aiinfra-PoolRow-name" title={name}>
            {name}
          </span>
        </button>
        <IconButton
          icon={runIcon}
          label={trans.__('Run %1 now', name)}
          onClick={() => act(CommandIDs.runSchedule)}
        />
        <IconButton
          icon={isPaused ? fastForwardIcon : pauseIcon}
          label={isPaused ? trans.__('Resume %1', name) : trans.__('Pause %1', name)}
          onClick={() => act(isPaused ? CommandIDs.resumeSchedule : CommandIDs.pauseSchedule)}
        />
      </div>
      <div className="aiinfra-PoolRow-facts">
        <Next {...props} />
        <span>{schedule.version.pool}</span>
      </div>
      <LastRuns {...props} />
      {problem && <p className="aiinfra-PoolRow-problem">{problem}</p>}
      <div id={id} hidden={!isOpen}>
        {isOpen && <Details {...props} onAct={act} />}
      </div>
    </li>
  );
}

/** When it runs next, or why it does not. */
function Next({ schedule, trans, now, nameOf }: IScheduleRowProps): React.JSX.Element {
  const [next] = schedule.next_slots;
  const { state, version } = schedule;
  if (state === 'paused') {
    const since = schedule.paused_at;
    return (
      <span className="aiinfra-PoolRow-status" data-status="degraded" role="status">
        <pauseIcon.react tag="span" />
        {since === null
          ? trans.__('paused')
          : trans.__('paused since %1', clockText(since, new Date(now * 1000)))}
      </span>
    );
  }
  if (next !== undefined) {
    const wait = next.start_at - now;
    return (
      <span title={next.text}>
        {wait > 0
          ? trans.__('%1 (in %2)', clockText(next.start_at, new Date(now * 1000)), shortText(wait))
          : trans.__('due now')}
      </span>
    );
  }
  return (
    <span className="aiinfra-PoolRow-status" data-status="unknown" role="status">
      <circleEmptyIcon.react tag="span" />
      {state === 'ended' && version.triggers.length > 0
        ? trans.__('has ended')
        : triggersText(version.triggers, nameOf, trans)}
    </span>
  );
}

/** `6 h`, `3 min`, `2 d`: as long as it is to wait, without what nobody waits for. */
function shortText(seconds: number): string {
  const text = durationText(seconds, true);
  return seconds < 60 ? text : text.split(' ').slice(0, 2).join(' ');
}

/** A mark for each of the last runs, the newest at the end; each opens its run. */
function LastRuns({ schedule, commands, trans, now }: IScheduleRowProps): React.JSX.Element {
  const runs = schedule.last_runs.slice(0, DOTS).reverse();
  if (runs.length === 0) {
    return <p className="aiinfra-ScheduleRow-none">{trans.__('It has not run yet.')}</p>;
  }
  const good = runs.filter(({ state }) => state === 'succeeded').length;
  return (
    <div
      className="aiinfra-ScheduleRow-runs"
      role="group"
      aria-label={trans.__(
        'Last runs, the newest at the end: %1 of %2 succeeded',
        good,
        runs.length
      )}
    >
      {runs.map((run, place) => (
        <button
          key={run.id}
          className="aiinfra-RunDot"
          data-state={run.state}
          tabIndex={place === runs.length - 1 ? 0 : -1}
          title={runText(run, now, trans)}
          aria-label={runText(run, now, trans)}
          onClick={() => void commands.execute(CommandIDs.openRun, { id: run.id })}
        >
          <span />
        </button>
      ))}
      <span className="aiinfra-ScheduleRow-last">{lastText(runs.at(-1)!, now, trans)}</span>
    </div>
  );
}

function lastText(run: RunItem, now: number, trans: TranslationBundle): string {
  const state = run.stopping ? trans.__('stopping…') : runStateText(run.state, trans);
  return trans.__('%1 %2', state, clockText(runMoment(run), new Date(now * 1000)));
}

function runText(run: RunItem, now: number, trans: TranslationBundle): string {
  const words = [lastText(run, now, trans), runDurationText(run, now, trans), run.reason];
  return words.filter(Boolean).join(' · ');
}

function Details({
  schedule,
  commands,
  trans,
  now,
  nameOf,
  onAct
}: IScheduleRowProps & { onAct: (command: string) => void }): React.JSX.Element {
  const { version } = schedule;
  const when = version.triggers
    .map(each =>
      each.kind === 'cron'
        ? (each.lines ?? []).map(line => cronText(line, trans) ?? line).join('; ')
        : triggersText([each], nameOf, trans)
    )
    .join(' · ');
  const values = Object.entries(version.parameters).map(
    ([name, value]) => `${name} = ${JSON.stringify(value)}`
  );
  const facts: [string, string | null][] = [
    [trans.__('Runs'), when || trans.__('only when asked to')],
    [trans.__('Time zone'), version.timezone],
    [trans.__('Notebook'), version.notebook.split('/').at(-1) ?? ''],
    [trans.__('Parameters'), values.join(', ') || null],
    [
      trans.__('Version'),
      trans.__('%1, of %2', version.number, clockText(version.created_at, new Date(now * 1000)))
    ]
  ];
  const buttons: [string, string][] = [
    [CommandIDs.editSchedule, trans.__('Change…')],
    [CommandIDs.duplicateSchedule, trans.__('Duplicate…')],
    [CommandIDs.removeSchedule, trans.__('Remove')]
  ];
  return (
    <div className="aiinfra-PoolDetails">
      <Facts facts={facts.filter((fact): fact is [string, string] => fact[1] !== null)} />
      <div className="aiinfra-ScheduleRow-buttons">
        {buttons.map(([command, label]) => (
          <button
            key={command}
            className="jp-mod-styled aiinfra-TextButton"
            onClick={() => onAct(command)}
          >
            {label}
          </button>
        ))}
        {commands.hasCommand(CommandIDs.openSchedules) && (
          <button
            className="jp-mod-styled aiinfra-TextButton"
            onClick={() =>
              void commands.execute(CommandIDs.openSchedules, { schedule: schedule.id })
            }
          >
            {trans.__('Show its runs')}
          </button>
        )}
      </div>
    </div>
  );
}
