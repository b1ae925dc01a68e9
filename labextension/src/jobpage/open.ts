/** Makes a job's page; loaded with all it needs when the first one is opened. */

import { MainAreaWidget } from '@jupyterlab/apputils';
import type { CommandRegistry } from '@lumino/commands';

import { GpusModel } from '../gpus/live';
import { panelIcon } from '../icons';
import { CommandIDs, type IGpusModel } from '../tokens';
import { JobPage, type IJobPageOptions } from './page';
import { fillToolbar } from './toolbar';

export function createPage(
  options: Omit<IJobPageOptions, 'gpus'> & {
    commands: CommandRegistry;
    gpus: IGpusModel | undefined;
  }
): MainAreaWidget<JobPage> {
  const { commands, id } = options;
  const gpus = options.gpus ?? new GpusModel(options);
  const onGpus = commands.hasCommand(CommandIDs.openGpus)
    ? (): void => void commands.execute(CommandIDs.openGpus, { job: id })
    : undefined;
  const content = new JobPage({ ...options, gpus, onGpus });
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
