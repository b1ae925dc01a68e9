import {
  ILayoutRestorer,
  type JupyterFrontEnd,
  type JupyterFrontEndPlugin
} from '@jupyterlab/application';
import { ICommandPalette, WidgetTracker, type MainAreaWidget } from '@jupyterlab/apputils';
import { ILauncher } from '@jupyterlab/launcher';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';
import type { ReadonlyPartialJSONObject } from '@lumino/coreutils';

import { scheduleIcon } from '../icons';
import type { SchedulePage } from '../schedulepage/page';
import { CommandIDs, IAiInfraApi, IAiInfraModels } from '../tokens';

type Page = MainAreaWidget<SchedulePage>;

/** A command that opens the page of schedules; it is there again after a reload. */
const plugin: JupyterFrontEndPlugin<void> = {
  id: 'jupyter-aiinfra:schedulepage',
  description: 'Adds the page of schedules: what runs by itself, when, and how its runs ended.',
  autoStart: true,
  requires: [IAiInfraApi, IAiInfraModels],
  optional: [ITranslator, ICommandPalette, ILauncher, ILayoutRestorer],
  activate: (
    app: JupyterFrontEnd,
    api: IAiInfraApi,
    models: IAiInfraModels,
    translator: ITranslator | null,
    palette: ICommandPalette | null,
    launcher: ILauncher | null,
    restorer: ILayoutRestorer | null
  ): void => {
    const trans = (translator ?? nullTranslator).load('jupyter_aiinfra');
    const { commands, shell } = app;
    const tracker = new WidgetTracker<Page>({ namespace: 'aiinfra-schedules' });
    const make = async (): Promise<Page> => {
      const { createSchedulePage } = await import('../schedulepage/open');
      const page = createSchedulePage({ api, models, commands, trans });
      page.content.model.viewChanged.connect(() => void tracker.save(page));
      await tracker.add(page);
      shell.add(page, 'main');
      return page;
    };
    let opening: Promise<Page> | null = null;
    const open = async (args: ReadonlyPartialJSONObject): Promise<Page> => {
      // Asked for twice at once, it is still one page.
      opening ??= Promise.resolve(tracker.find(() => true) ?? make());
      try {
        const page = await opening;
        const { viewOf } = await import('../schedulepage/view');
        if (Object.keys(args).length > 0) {
          page.content.model.show(viewOf(args, page.content.model.view));
        }
        shell.activateById(page.id);
        return page;
      } finally {
        opening = null;
      }
    };

    const text = { type: 'string' } as const;
    commands.addCommand(CommandIDs.openSchedules, {
      label: args =>
        args['isPalette']
          ? trans.__('AI Infra: Show Schedules')
          : args['tab'] === 'versions'
            ? trans.__('Versions')
            : trans.__('Schedules'),
      caption: trans.__('Show what runs by itself, when, and how its runs ended'),
      icon: args => (args['tab'] === 'versions' ? undefined : scheduleIcon),
      describedBy: {
        args: {
          type: 'object',
          properties: {
            schedule: { ...text, description: trans.__('The schedule; all when left out') },
            tab: { ...text, description: trans.__('schedules, runs or versions') }
          }
        }
      },
      execute: ({ isPalette: _isPalette, isLauncher: _isLauncher, cwd: _cwd, ...args }) =>
        open(args)
    });
    const category = trans.__('AI Infra');
    const command = CommandIDs.openSchedules;
    palette?.addItem({ command, category, args: { isPalette: true } });
    launcher?.add({ command, category, rank: 3, args: { isLauncher: true } });
    void restorer?.restore(tracker, {
      command,
      args: ({ content }) => content.model.kept,
      name: () => 'schedules'
    });
  }
};

export default plugin;
