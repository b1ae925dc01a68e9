/** The schedules, as a section of the panel. */

import type { TranslationBundle } from '@jupyterlab/translation';
import { addIcon, Button } from '@jupyterlab/ui-components';
import type { CommandRegistry } from '@lumino/commands';
import React, { useEffect, useState } from 'react';

import { CommandIDs, type IAiInfraModels } from '../../tokens';
import { useSignal } from '../usesignal';
import { ScheduleRow } from './schedulerow';
import { walk } from './walk';

export interface ISchedulesSectionProps {
  /** Whoever shows the section watches `models.schedules` for as long as it is in sight. */
  models: IAiInfraModels;
  commands: CommandRegistry;
  trans: TranslationBundle;
  isVisible: boolean;
}

const TICK_MILLISECONDS = 10_000;

/** The list of schedules, or how one is made where there is none. */
export function SchedulesSection(props: ISchedulesSectionProps): React.JSX.Element {
  const { models, commands, trans, isVisible } = props;
  useSignal(models.schedules.changed);
  useSignal(commands.commandChanged);
  const now = useNow(isVisible);
  const [open, setOpen] = useState<ReadonlySet<string>>(new Set());
  const { schedules, problem } = models.schedules;
  const toggle = (id: string): void => {
    const others = [...open].filter(each => each !== id);
    setOpen(new Set(open.has(id) ? others : [...others, id]));
  };
  const { scheduleNotebook, openSchedules } = CommandIDs;
  const canSchedule = commands.hasCommand(scheduleNotebook) && commands.isEnabled(scheduleNotebook);
  return (
    <div className="aiinfra-Schedules">
      {problem && (
        <div className="aiinfra-Pools-note" role="alert">
          <div>{problem.message}</div>
          {problem.hint && <div className="aiinfra-Pools-hint">{problem.hint}</div>}
        </div>
      )}
      {schedules === null && !problem && (
        <p className="aiinfra-Pools-note" role="status">
          {trans.__('Asking the server for its schedules…')}
        </p>
      )}
      {schedules?.length === 0 && (
        <p className="aiinfra-Pools-note">
          {trans.__(
            'A schedule runs a notebook by itself. Make one with the clock in the toolbar of a notebook, or by a right click on it in the file browser.'
          )}
        </p>
      )}
      {schedules !== null && schedules.length > 0 && (
        <ul className="aiinfra-Pools-list" aria-label={trans.__('Schedules')} onKeyDown={walk}>
          {schedules.map(schedule => (
            <ScheduleRow
              key={schedule.id}
              {...{ schedule, commands, trans, now }}
              nameOf={id => models.schedules.find(id)?.name ?? id}
              isOpen={open.has(schedule.id)}
              onToggle={() => toggle(schedule.id)}
            />
          ))}
        </ul>
      )}
      {schedules !== null && (
        <div className="aiinfra-Budgets-foot">
          {canSchedule && (
            <Button
              minimal
              className="aiinfra-Pools-attach"
              onClick={() => void commands.execute(scheduleNotebook)}
            >
              <addIcon.react tag="span" />
              {trans.__('Schedule the notebook…')}
            </Button>
          )}
          {commands.hasCommand(openSchedules) && (
            <Button
              minimal
              className="aiinfra-Pools-attach"
              onClick={() => void commands.execute(openSchedules)}
            >
              {trans.__('Show all runs')}
            </Button>
          )}
        </div>
      )}
    </div>
  );
}

/** The time, which goes on while one looks. */
function useNow(isVisible: boolean): number {
  const [now, setNow] = useState(() => Date.now() / 1000);
  useEffect(() => {
    if (!isVisible) {
      return;
    }
    const tick = (): void => setNow(Date.now() / 1000);
    tick();
    const timer = setInterval(tick, TICK_MILLISECONDS);
    return () => clearInterval(timer);
  }, [isVisible]);
  return now;
}
