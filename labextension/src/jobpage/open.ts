/** Makes a job's page; loaded with all it needs when the first one is opened. */

import { MainAreaWidget } from '@jupyterlab/apputils';
import type { CommandRegistry } from '@lumino/commands';
import type { ReadonlyPartialJSONObject } from '@lumino/coreutils';

import { noticeActions } from '../cost/actions';
import { GpusModel } from '../gpus/live';
import { panelIcon } from '../icons';
import { CommandIDs, type IGpusModel } from '../tokens';
import { JobPage, type IJobPageOptions } from './page';
import { fillToolbar } from './toolbar';

export function createPage(
  options: Omit<IJobPageOptions, 'gpus' | 'actions' | 'onGpus' | 'onBudget' | 'onCost'> & {
    commands: CommandRegistry;
    gpus: IGpusModel | undefined;
  }
): MainAreaWidget<JobPage> {
  const { api, commands, id } = options;
  const gpus = options.gpus ?? new GpusModel(options);
  const does = (command: string, args: ReadonlyPartialJSONObject): (() => void) | undefined =>
    commands.hasCommand(command) ? (): void => void commands.execute(command, args) : undefined;
  const content = new JobPage({
    ...options,
    gpus,
    actions: noticeActions({ api, commands, budgets: options.budgets, job: id }),
    onGpus: does(CommandIDs.openGpus, { job: id }),
    onBudget: does(CommandIDs.setBudget, { scope: 'job', subject: id }),
    onCost: does(CommandIDs.openCost, { job: id })
  });
  content.title.icon = panelIcon;
  content.title.closable = true;
  const widget = new MainAreaWidget({ content });
  widget.id = pageId(options.id);
  fillToolbar(widget.toolbar, { model: content.model, ...options });
  return widget;
}

/** The id of the page of a job; there is one page a job. */
export function pageId(job: string): string {
  return `aiinfra-job-${job}`;
}
