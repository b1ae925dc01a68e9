import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ICommandPalette, Notification } from '@jupyterlab/apputils';
import { ITranslator, nullTranslator, type TranslationBundle } from '@jupyterlab/translation';
import { closeIcon, refreshIcon, stopIcon, type LabIcon } from '@jupyterlab/ui-components';
import type { CommandRegistry } from '@lumino/commands';
import type { ReadonlyPartialJSONObject } from '@lumino/coreutils';

import type { JobItem } from '../api/types';
import { isActive } from '../jobstate';
import { telling } from '../telling';
import { CommandIDs, IAiInfraModels } from '../tokens';

/** How long a removed job can be had back. */
const UNDO_SECONDS = 8;
const SHORT_MS = 5_000;

/** The rows of the panel's list, as the context menu finds them. */
const ROWS = '.aiinfra-JobRow';

interface IContext {
  models: IAiInfraModels;
  commands: CommandRegistry;
  trans: TranslationBundle;
}

interface IJobCommand {
  id: string;
  label: string;
  caption: string;
  icon: LabIcon;
  isEnabled: (job: JobItem) => boolean;
  execute: (id: string) => unknown;
}

/** Commands on a job: the one whose id is given, or the one selected in the panel. */
const plugin: JupyterFrontEndPlugin<void> = {
  id: 'jupyter-aiinfra:jobcommands',
  description: 'Adds the commands that cancel, rerun and remove jobs.',
  autoStart: true,
  requires: [IAiInfraModels],
  optional: [ITranslator, ICommandPalette],
  activate: (
    app: JupyterFrontEnd,
    models: IAiInfraModels,
    translator: ITranslator | null,
    palette: ICommandPalette | null
  ): void => {
    const { commands } = app;
    const trans = (translator ?? nullTranslator).load('jupyter_aiinfra');
    const all = jobCommands({ models, commands, trans });
    all.forEach(command => {
      commands.addCommand(command.id, commandOptions(command, models, trans));
      palette?.addItem({ command: command.id, category: trans.__('AI Infra') });
    });
    const inMenu = [CommandIDs.openJob, ...all.map(({ id }) => id)];
    inMenu.forEach((command, rank) => {
      app.contextMenu.addItem({ command, selector: ROWS, rank });
    });
    const tell = (): void => all.forEach(({ id }) => commands.notifyCommandChanged(id));
    models.jobs.changed.connect(tell);
    models.selection.changed.connect(tell);
  }
};

function jobCommands(context: IContext): IJobCommand[] {
  const { trans } = context;
  return [
    {
      id: CommandIDs.cancelJob,
      label: trans.__('Cancel Job'),
      caption: trans.__('Stop the job; also while the kernel is busy'),
      icon: stopIcon,
      isEnabled: job => isActive(job) && job.desired !== 'stop',
      execute: id => cancel(id, context)
    },
    {
      id: CommandIDs.rerunJob,
      label: trans.__('Run Job Again'),
      caption: trans.__('Launch a new job with the same code, data and options'),
      icon: refreshIcon,
      isEnabled: () => true,
      execute: id => rerun(id, context)
    },
    {
      id: CommandIDs.removeJob,
      label: trans.__('Remove Job'),
      caption: trans.__('Remove an ended job with its logs and files'),
      icon: closeIcon,
      isEnabled: job => !isActive(job),
      execute: id => remove(id, context)
    }
  ];
}

function commandOptions(
  command: IJobCommand,
  models: IAiInfraModels,
  trans: TranslationBundle
): CommandRegistry.ICommandOptions {
  const given = (args: ReadonlyPartialJSONObject): string | null =>
    typeof args['id'] === 'string' ? args['id'] : (models.selection.selected?.id ?? null);
  return {
    label: ({ isPalette }) => (isPalette ? trans.__('AI Infra: %1', command.label) : command.label),
    caption: command.caption,
    icon: command.icon,
    describedBy: {
      args: {
        type: 'object',
        properties: {
          id: {
            type: 'string',
            description: trans.__('The job; the one selected in the panel when left out')
          }
        }
      }
    },
    isEnabled: args => {
      const id = given(args);
      const job = id === null ? undefined : models.jobs.find(id);
      // A job that this page does not list may still be there: the server knows.
      return job ? command.isEnabled(job) : id !== null;
    },
    execute: args => {
      const id = given(args);
      return id === null ? undefined : command.execute(id);
    }
  };
}

/** Stop the job. */
async function cancel(id: string, { models, trans }: IContext): Promise<void> {
  await telling(trans.__('The job was not cancelled'), trans, () => models.jobs.cancel(id));
}

/** Launch the same again; the new job, if it was launched. */
async function rerun(id: string, { models, commands, trans }: IContext): Promise<JobItem | null> {
  const title = trans.__('The job was not launched again');
  const job = await telling(title, trans, () => models.jobs.rerun(id));
  if (job !== null) {
    models.selection.select(job.id);
    const open = (): void => void commands.execute(CommandIDs.openJob, { id: job.id });
    Notification.info(trans.__('“%1” was launched again.', job.name), {
      autoClose: SHORT_MS,
      actions: [{ label: trans.__('Open'), callback: open }]
    });
  }
  return job;
}

/** Hide the job, and remove it when nobody has taken that back in time; returns at once. */
function remove(id: string, { models, trans }: IContext): void {
  const name = models.jobs.find(id)?.name ?? id;
  const removal = models.jobs.remove(id, UNDO_SECONDS);
  // It goes when the time does, not when the toast's own clock says so.
  const toast = Notification.info(trans.__('“%1” was removed.', name), {
    autoClose: false,
    actions: [{ label: trans.__('Undo'), callback: () => void removal.undo() }]
  });
  const title = trans.__('The job was not removed');
  void telling(title, trans, () => removal.done.finally(() => Notification.dismiss(toast)));
}

export default plugin;
