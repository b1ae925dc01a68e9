import {
  ILayoutRestorer,
  type JupyterFrontEnd,
  type JupyterFrontEndPlugin
} from '@jupyterlab/application';
import { ICommandPalette, WidgetTracker, type MainAreaWidget } from '@jupyterlab/apputils';
import { ILauncher } from '@jupyterlab/launcher';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';
import type { ReadonlyPartialJSONObject } from '@lumino/coreutils';

import type { CostPage } from '../costpage/page';
import { costIcon } from '../icons';
import { CommandIDs, IAiInfraApi, IAiInfraModels } from '../tokens';

type Page = MainAreaWidget<CostPage>;

/** A command that opens the page of cost; it is there again after a reload. */
const plugin: JupyterFrontEndPlugin<void> = {
  id: 'jupyter-aiinfra:costpage',
  description: 'Adds the page of cost: what GPUs cost, by whom, and how much of it was idle.',
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
    const tracker = new WidgetTracker<Page>({ namespace: 'aiinfra-cost' });
    const make = async (): Promise<Page> => {
      const { createCostPage } = await import('../costpage/open');
      const page = createCostPage({
        api,
        models,
        trans,
        openJob: id => void commands.execute(CommandIDs.openJob, { id }),
        attachPool: () => void commands.execute(CommandIDs.attachPool),
        setBudget: () => void commands.execute(CommandIDs.setBudget),
        showPanel: () => void commands.execute(CommandIDs.showPanel),
        setPrice: name => void commands.execute(CommandIDs.setPrice, { name })
      });
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
        const { viewOf } = await import('../costpage/view');
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
    commands.addCommand(CommandIDs.openCost, {
      label: args => (args['isPalette'] ? trans.__('AI Infra: Show Cost') : trans.__('Cost')),
      caption: trans.__('Show what GPUs cost, by whom, and how much of it was idle'),
      icon: costIcon,
      describedBy: {
        args: {
          type: 'object',
          properties: {
            pool: { ...text, description: trans.__('The pool; all of them when left out') },
            job: { ...text, description: trans.__('The job; all of them when left out') },
            by: { ...text, description: trans.__('What a line of the bill is of') }
          }
        }
      },
      execute: ({ isPalette: _isPalette, isLauncher: _isLauncher, cwd: _cwd, ...args }) =>
        open(args)
    });
    const category = trans.__('AI Infra');
    palette?.addItem({ command: CommandIDs.openCost, category, args: { isPalette: true } });
    launcher?.add({ command: CommandIDs.openCost, category, rank: 2, args: { isLauncher: true } });
    void restorer?.restore(tracker, {
      command: CommandIDs.openCost,
      args: ({ content }) => content.model.kept,
      name: () => 'cost'
    });
  }
};

export default plugin;
