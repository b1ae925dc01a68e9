import {
  ILayoutRestorer,
  type JupyterFrontEnd,
  type JupyterFrontEndPlugin
} from '@jupyterlab/application';
import { WidgetTracker, type MainAreaWidget } from '@jupyterlab/apputils';
import { IEditorLanguageRegistry } from '@jupyterlab/codemirror';
import { IRenderMimeRegistry } from '@jupyterlab/rendermime';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';
import type { ReadonlyPartialJSONObject } from '@lumino/coreutils';

import type { RunPage } from '../runpage/page';
import {
  CommandIDs,
  IAiInfraApi,
  IAiInfraModels,
  IAiInfraSettings,
  IAiInfraStream
} from '../tokens';

type Page = MainAreaWidget<RunPage>;

/** A command that opens the page of a run; pages that are open come back after a reload. */
const plugin: JupyterFrontEndPlugin<void> = {
  id: 'jupyter-aiinfra:runpage',
  description: 'Adds the page of a run of a notebook: live, with its log, GPUs, cost and results.',
  autoStart: true,
  requires: [IAiInfraApi, IAiInfraStream, IAiInfraModels, IRenderMimeRegistry],
  optional: [IAiInfraSettings, IEditorLanguageRegistry, ITranslator, ILayoutRestorer],
  activate: (
    app: JupyterFrontEnd,
    api: IAiInfraApi,
    stream: IAiInfraStream,
    models: IAiInfraModels,
    rendermime: IRenderMimeRegistry,
    settings: IAiInfraSettings | null,
    languages: IEditorLanguageRegistry | null,
    translator: ITranslator | null,
    restorer: ILayoutRestorer | null
  ): void => {
    const trans = (translator ?? nullTranslator).load('jupyter_aiinfra');
    const { commands, shell } = app;
    const tracker = new WidgetTracker<Page>({ namespace: 'aiinfra-runs' });
    const make = async (id: string): Promise<Page> => {
      const [{ createRunPage }] = await Promise.all([import('../runpage/open'), settings?.ready]);
      const page = createRunPage({
        api,
        stream,
        runs: models.runs,
        gpus: models.gpus,
        budgets: models.budgets,
        rendermime: rendermime.clone(),
        languages,
        trans,
        id,
        follow: settings?.get('followLog') ?? true,
        wrap: settings?.get('wrapLines') ?? false,
        commands
      });
      await tracker.add(page);
      shell.add(page, 'main');
      return page;
    };
    const opening = new Map<string, Promise<Page>>();
    const open = async (id: string): Promise<Page> => {
      // Asked for twice at once, it is still one page.
      const found = tracker.find(({ content }) => content.runId === id);
      const asked = opening.get(id) ?? Promise.resolve(found ?? make(id));
      opening.set(id, asked);
      try {
        const page = await asked;
        shell.activateById(page.id);
        return page;
      } finally {
        opening.delete(id);
      }
    };
    const given = (args: ReadonlyPartialJSONObject): string | null =>
      typeof args['id'] === 'string' && args['id'] !== '' ? args['id'] : null;

    commands.addCommand(CommandIDs.openRun, {
      label: trans.__('Open Run'),
      caption: trans.__('Show a run of a notebook: what it shows, live, its log and its results'),
      describedBy: {
        args: {
          type: 'object',
          required: ['id'],
          properties: { id: { type: 'string', description: trans.__('The run') } }
        }
      },
      isEnabled: args => given(args) !== null,
      execute: async args => {
        const id = given(args);
        return id === null ? null : open(id);
      }
    });
    void restorer?.restore(tracker, {
      command: CommandIDs.openRun,
      args: ({ content }) => ({ id: content.runId }),
      name: ({ content }) => content.runId
    });
  }
};

export default plugin;
