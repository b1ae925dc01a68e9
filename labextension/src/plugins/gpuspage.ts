import {
  ILayoutRestorer,
  type JupyterFrontEnd,
  type JupyterFrontEndPlugin
} from '@jupyterlab/application';
import { ICommandPalette, WidgetTracker, type MainAreaWidget } from '@jupyterlab/apputils';
import { ILauncher } from '@jupyterlab/launcher';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';
import type { ReadonlyPartialJSONObject } from '@lumino/coreutils';

import type { GpusPage } from '../gpuspage/page';
import { panelIcon } from '../icons';
import { CommandIDs, IAiInfraApi, IAiInfraModels, IAiInfraStream } from '../tokens';

type Page = MainAreaWidget<GpusPage>;

/** A command that opens the page of all GPUs; it is there again after a reload. */
const plugin: JupyterFrontEndPlugin<void> = {
  id: 'jupyter-aiinfra:gpuspage',
  description: 'Adds the page of GPUs: what they do, and did at any time.',
  autoStart: true,
  requires: [IAiInfraApi, IAiInfraStream, IAiInfraModels],
  optional: [ITranslator, ICommandPalette, ILauncher, ILayoutRestorer],
  activate: (
    app: JupyterFrontEnd,
    api: IAiInfraApi,
    stream: IAiInfraStream,
    models: IAiInfraModels,
    translator: ITranslator | null,
    palette: ICommandPalette | null,
    launcher: ILauncher | null,
    restorer: ILayoutRestorer | null
  ): void => {
    const trans = (translator ?? nullTranslator).load('jupyter_aiinfra');
    const tracker = new WidgetTracker<Page>({ namespace: 'aiinfra-gpus' });
    const make = async (): Promise<Page> => {
      const { createGpusPage } = await import('../gpuspage/open');
      const page = createGpusPage({
        api,
        stream,
        models,
        trans,
        openJob: id => void app.commands.execute(CommandIDs.openJob, { id }),
        attachPool: () => void app.commands.execute(CommandIDs.attachPool)
      });
      page.content.model.viewChanged.connect(() => void tracker.save(page));
      await tracker.add(page);
      app.shell.add(page, 'main');
      return page;
    };
    let opening: Promise<Page> | null = null;
    const open = async (args: ReadonlyPartialJSONObject): Promise<Page> => {
      // Asked for twice at once, it is still one page.
      opening ??= Promise.resolve(tracker.find(() => true) ?? make());
      try {
        const page = await opening;
        const { viewOf } = await import('../gpuspage/view');
        if (Object.keys(args).length > 0) {
          page.content.model.show(viewOf(args, page.content.model.view));
        }
        app.shell.activateById(page.id);
        return page;
      } finally {
        opening = null;
      }
    };

    const text = { type: 'string' } as const;
    app.commands.addCommand(CommandIDs.openGpus, {
      label: args => (args['isPalette'] ? trans.__('AI Infra: Show GPUs') : trans.__('GPUs')),
      caption: trans.__('Show what all GPUs do, and did in the last month'),
      icon: panelIcon,
      describedBy: {
        args: {
          type: 'object',
          properties: {
            pool: { ...text, description: trans.__('The pool; all of them when left out') },
            node: { ...text, description: trans.__('The node of the pool') },
            job: { ...text, description: trans.__('The job whose GPUs are to be shown') }
          }
        }
      },
      execute: ({ isPalette: _isPalette, isLauncher: _isLauncher, cwd: _cwd, ...args }) =>
        open(args)
    });
    const category = trans.__('AI Infra');
    palette?.addItem({ command: CommandIDs.openGpus, category, args: { isPalette: true } });
    launcher?.add({ command: CommandIDs.openGpus, category, rank: 1, args: { isLauncher: true } });
    void restorer?.restore(tracker, {
      command: CommandIDs.openGpus,
      args: ({ content }) => content.model.kept,
      name: () => 'gpus'
    });
  }
};

export default plugin;
