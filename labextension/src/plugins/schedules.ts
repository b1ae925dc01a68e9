import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ICommandPalette, Notification } from '@jupyterlab/apputils';
import { IFileBrowserFactory } from '@jupyterlab/filebrowser';
import { INotebookTracker } from '@jupyterlab/notebook';
import { ITranslator, nullTranslator, type TranslationBundle } from '@jupyterlab/translation';
import {
  closeIcon,
  copyIcon,
  editIcon,
  pauseIcon,
  refreshIcon,
  runIcon,
  stopIcon,
  type LabIcon
} from '@jupyterlab/ui-components';
import type { ReadonlyPartialJSONObject } from '@lumino/coreutils';

import { scheduleIcon } from '../icons';
import type { ScheduleVerbs } from '../scheduleverbs';
import { CommandIDs, IAiInfraApi, IAiInfraModels } from '../tokens';

/** The rows of the panel, as the context menu finds them. */
const ROWS = '.aiinfra-ScheduleRow';

interface IContext {
  app: JupyterFrontEnd;
  models: IAiInfraModels;
  trans: TranslationBundle;
  /** What the commands do, loaded with the first of them. */
  verbs: () => Promise<ScheduleVerbs>;
}

/** Commands on schedules and their runs: in menus, the palette and the toolbar of a notebook. */
const plugin: JupyterFrontEndPlugin<void> = {
  id: 'jupyter-aiinfra:schedule-commands',
  description: 'Adds the commands that schedule notebooks, and those on schedules and their runs.',
  autoStart: true,
  requires: [IAiInfraApi, IAiInfraModels],
  optional: [ITranslator, ICommandPalette, INotebookTracker, IFileBrowserFactory],
  activate: (
    app: JupyterFrontEnd,
    api: IAiInfraApi,
    models: IAiInfraModels,
    translator: ITranslator | null,
    palette: ICommandPalette | null,
    tracker: INotebookTracker | null,
    browsers: IFileBrowserFactory | null
  ): void => {
    const trans = (translator ?? nullTranslator).load('jupyter_aiinfra');
    let loaded: Promise<ScheduleVerbs> | null = null;
    const verbs = (): Promise<ScheduleVerbs> =>
      (loaded ??= import('../scheduleverbs').then(
        module =>
          new module.ScheduleVerbs({
            api,
            models,
            commands: app.commands,
            kernels: () => app.serviceManager.kernelspecs.specs,
            trans
          })
      ));
    const context = { app, models, trans, verbs };
    addNotebookCommand(context, tracker, browsers);
    const onSchedule = scheduleCommands(context);
    onSchedule.forEach(command => addScheduleCommand(command, context));
    addRunCommands(context);
    const category = trans.__('AI Infra');
    const args = { isPalette: true };
    for (const command of [CommandIDs.scheduleNotebook, ...onSchedule.map(({ id }) => id)]) {
      palette?.addItem({ command, category, args });
    }
    onSchedule.forEach(({ id: command }, rank) => {
      app.contextMenu.addItem({ command, selector: ROWS, rank, args: { fromMenu: true } });
    });
  }
};

/** Schedule a notebook: the one of a path, that is selected in the file browser, or in front. */
function addNotebookCommand(
  { app, trans, verbs }: IContext,
  tracker: INotebookTracker | null,
  browsers: IFileBrowserFactory | null
): void {
  const selected = (): string | null => {
    const item = browsers?.tracker.currentWidget?.selectedItems().next();
    return item && !item.done && item.value.type === 'notebook' ? item.value.path : null;
  };
  const pathOf = (args: ReadonlyPartialJSONObject): string | null => {
    if (typeof args['path'] === 'string') {
      return args['path'];
    }
    return args['fromBrowser'] === true
      ? selected()
      : (tracker?.currentWidget?.context.path ?? null);
  };
  app.commands.addCommand(CommandIDs.scheduleNotebook, {
    label: args =>
      args['isPalette'] ? trans.__('AI Infra: Schedule the Notebook…') : trans.__('Schedule…'),
    caption: trans.__(
      'Schedule this notebook: it runs on a pool now, at times, or after something'
    ),
    icon: scheduleIcon,
    describedBy: {
      args: {
        type: 'object',
        properties: {
          path: { type: 'string', description: 'The notebook; the one in front when left out' },
          fromBrowser: { type: 'boolean', description: 'The one selected in the file browser' }
        }
      }
    },
    isEnabled: args => pathOf(args) !== null,
    execute: async args => {
      const path = pathOf(args);
      if (path === null) {
        const message = trans.__('No notebook is open: open the one that is to be scheduled.');
        Notification.warning(message, { autoClose: 8000 });
        return null;
      }
      await saveOpen(path, tracker);
      return (await verbs()).add(app.serviceManager.contents.localPath(path));
    }
  });
}

/** What is frozen is what is on the disk: that is to be what one sees. */
async function saveOpen(path: string, tracker: INotebookTracker | null): Promise<void> {
  const panel = tracker?.find(({ context }) => context.path === path);
  if (panel?.context.model.dirty && !panel.context.model.readOnly) {
    await panel.context.save();
  }
}

interface IScheduleCommand {
  id: string;
  label: string;
  palette: string;
  icon: LabIcon;
  isVisible?: (state: string) => boolean;
  execute: (verbs: ScheduleVerbs, id: string) => unknown;
}

function scheduleCommands({ trans }: IContext): IScheduleCommand[] {
  return [
    {
      id: CommandIDs.runSchedule,
      label: trans.__('Run Now'),
      palette: trans.__('AI Infra: Run a Schedule Now…'),
      icon: runIcon,
      execute: (verbs, id) => verbs.run(id)
    },
    {
      id: CommandIDs.pauseSchedule,
      label: trans.__('Pause'),
      palette: trans.__('AI Infra: Pause a Schedule…'),
      icon: pauseIcon,
      isVisible: state => state !== 'paused',
      execute: (verbs, id) => verbs.pause(id)
    },
    {
      id: CommandIDs.resumeSchedule,
      label: trans.__('Resume'),
      palette: trans.__('AI Infra: Resume a Schedule…'),
      icon: runIcon,
      isVisible: state => state === 'paused',
      execute: (verbs, id) => verbs.resume(id)
    },
    {
      id: CommandIDs.editSchedule,
      label: trans.__('Change…'),
      palette: trans.__('AI Infra: Change a Schedule…'),
      icon: editIcon,
      execute: (verbs, id) => verbs.edit(id)
    },
    {
      id: CommandIDs.duplicateSchedule,
      label: trans.__('Duplicate…'),
      palette: trans.__('AI Infra: Duplicate a Schedule…'),
      icon: copyIcon,
      execute: (verbs, id) => verbs.duplicate(id)
    },
    {
      id: CommandIDs.removeSchedule,
      label: trans.__('Remove'),
      palette: trans.__('AI Infra: Remove a Schedule…'),
      icon: closeIcon,
      execute: (verbs, id) => verbs.remove(id)
    }
  ];
}

/** A command on the schedule that is given, that the menu is of, or that is asked for. */
function addScheduleCommand(
  command: IScheduleCommand,
  { app, models, trans, verbs }: IContext
): void {
  const inMenu = (): string | null =>
    app.contextMenuHitTest(node => node.matches(ROWS))?.dataset['schedule'] ?? null;
  app.commands.addCommand(command.id, {
    label: args => (args['isPalette'] ? command.palette : command.label),
    icon: args => (args['isPalette'] ? undefined : command.icon),
    describedBy: {
      args: {
        type: 'object',
        properties: {
          id: { type: 'string', description: trans.__('The schedule; asked for when left out') },
          fromMenu: { type: 'boolean', description: 'Take what the context menu is of' }
        }
      }
    },
    isVisible: args => {
      const id = args['fromMenu'] === true ? inMenu() : null;
      const schedule = id === null ? undefined : models.schedules.find(id);
      return schedule === undefined || (command.isVisible?.(schedule.state) ?? true);
    },
    execute: async args => {
      const loaded = await verbs();
      const given = typeof args['id'] === 'string' ? args['id'] : null;
      const found = given ?? (args['fromMenu'] === true ? inMenu() : null);
      const id = found ?? (await loaded.choose(command.palette.replace(/^.*?: /, '')));
      return id === null ? null : command.execute(loaded, id);
    }
  });
}

function addRunCommands({ app, trans, verbs }: IContext): void {
  const all: [string, string, string, LabIcon, (verbs: ScheduleVerbs, id: string) => unknown][] = [
    [
      CommandIDs.cancelRun,
      trans.__('Cancel Run'),
      trans.__('Stop the run'),
      stopIcon,
      (loaded, id) => loaded.cancelRun(id)
    ],
    [
      CommandIDs.rerunRun,
      trans.__('Run Again'),
      trans.__('Run the same version with the same values once more'),
      refreshIcon,
      (loaded, id) => loaded.rerunRun(id)
    ],
    [
      CommandIDs.removeRun,
      trans.__('Delete Run'),
      trans.__('Delete a run that is over from the record'),
      closeIcon,
      (loaded, id) => loaded.removeRun(id)
    ]
  ];
  for (const [id, label, caption, icon, execute] of all) {
    app.commands.addCommand(id, {
      label,
      caption,
      icon,
      describedBy: {
        args: {
          type: 'object',
          properties: { id: { type: 'string', description: trans.__('The run') } },
          required: ['id']
        }
      },
      execute: async args =>
        typeof args['id'] === 'string' ? execute(await verbs(), args['id']) : null
    });
  }
}

export default plugin;
