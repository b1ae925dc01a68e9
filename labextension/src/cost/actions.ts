/** What is done about a notice, by the server. */

import type { CommandRegistry } from '@lumino/commands';

import { CommandIDs, type IAiInfraApi, type IBudgetsModel } from '../tokens';
import type { INoticeActions } from './notice';

/** The answers to what is said of a job. */
export function noticeActions(options: {
  api: Pick<IAiInfraApi, 'snoozeBudget' | 'stopBudgetJobs' | 'setIdle'>;
  commands: Pick<CommandRegistry, 'hasCommand' | 'execute'>;
  budgets?: Pick<IBudgetsModel, 'find'> | undefined;
  job: string;
}): INoticeActions {
  const { api, commands, budgets, job } = options;
  return {
    snooze: (budget, seconds) => api.snoozeBudget(budget, seconds),
    // The command asks first: a budget may count more jobs than the one that is looked at.
    stop: budget =>
      commands.hasCommand(CommandIDs.stopBudget)
        ? commands.execute(CommandIDs.stopBudget, { id: budget })
        : api.stopBudgetJobs(budget),
    leaveAlone: () => api.setIdle(job, { stop_seconds: null, warn_seconds: null, watch: false }),
    countsMore: budget => (budgets?.find(budget)?.scope ?? 'job') !== 'job'
  };
}
