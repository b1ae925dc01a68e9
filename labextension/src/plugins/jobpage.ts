import {
  ILayoutRestorer,
  type JupyterFrontEnd,
  type JupyterFrontEndPlugin
} from '@jupyterlab/application';
import { WidgetTracker, type MainAreaWidget } from '@jupyterlab/apputils';
import { ITranslator, nullTranslator, type TranslationBundle } from '@jupyterlab/translation';
import type { ReadonlyPartialJSONObject } from '@lumino/coreutils';

import type { JobPage } from '../jobpage/page';
import {
  CommandIDs,
  IAiInfraApi,
  IAiInfraModels,
  IAiInfraSettings,
  IAiInfraStream
} from '../tokens';

type Page = MainAreaWidget<JobPage>;

/** A command that opens the page of a job; pages that are open come back after a reload. */
const plugin: JupyterFrontEndPlugin<void> = {
  id: 'jupyter-aiinfra:jobpage',
  description: 'Adds the page of a job: its logs, GPUs, cost, plan, timeline and files.',
  autoStart: true,
  requires: [IAiInfraApi, IAiInfraStream],
  optional: [IAiInfraSettings, IAiInfraModels, ITranslator, ILayoutRestorer],
  activate: (
    app: JupyterFrontEnd,
    api: IAiInfraApi,
    stream: IAiInfraStream,
    settings: IAiInfraSettings | null,
    models: IAiInfraModels | null,
    translator: ITranslator | null,
    restorer: ILayoutRestorer | null
  ): void => {
    const trans = (translator ?? nullTranslator).load('jupyter_aiinfra');
    const tracker = new WidgetTracker<Page>({ namespace: 'aiinfra-jobs' });
    const opener = new Opener({ app, api, stream, models, settings, trans, tracker });
    const given = (args: ReadonlyPartialJSONObject): string | null =>
      typeof args['id'] === 'string' ? args['id'] : (models?.selection.selected?.id ?? null);

    app.commands.addCommand(CommandIDs.openJob, {
      label: trans.__('Open Job'),
      caption: trans.__('Show the log of a job, its plan, timeline and files'),
      describedBy: {
        args: {
          type: 'object',
          properties: {
            id: {
              type: 'string',
              description: trans.__('The job; the one selected in the panel when left out')
            },
            rank: { type: 'integer', description: trans.__('The rank whose log is shown first') }
          }
        }
      },
      isEnabled: args => given(args) !== null,
      execute: async args => {
        const id = given(args);
        const rank = typeof args['rank'] === 'number' ? args['rank'] : undefined;
        return id === null ? null : opener.open(id, rank);
      }
    });
    models?.selection.changed.connect(() => app.commands.notifyCommandChanged(CommandIDs.openJob));
    void restorer?.restore(tracker, {
      command: CommandIDs.openJob,
      args: ({ content }) => ({ id: content.jobId }),
      name: ({ content }) => content.jobId
    });
  }
};

interface IOpenerOptions {
  app: JupyterFrontEnd;
  api: IAiInfraApi;
  stream: IAiInfraStream;
  models: IAiInfraModels | null;
  settings: IAiInfraSettings | null;
  trans: TranslationBundle;
  tracker: WidgetTracker<Page>;
}

/** Opens pages, one a job. */
class Opener {
  constructor(options: IOpenerOptions) {
    this._options = options;
  }

  /** Show the page of a job, made if there is none. */
  async open(id: string, rank: number | undefined): Promise<Page> {
    const { app } = this._options;
    // Asked for twice at once, it is still one page.
    const opening = this._opening.get(id) ?? this._page(id, rank);
    this._opening.set(id, opening);
    try {
      const page = await opening;
      app.shell.activateById(page.id);
      return page;
    } finally {
      this._opening.delete(id);
    }
  }

  private async _page(id: string, rank: number | undefined): Promise<Page> {
    const { app, api, stream, models, settings, trans, tracker } = this._options;
    const open = tracker.find(({ content }) => content.jobId === id);
    if (open) {
      return open;
    }
    const [{ createPage }] = await Promise.all([import('../jobpage/open'), settings?.ready]);
    const page = createPage({
      api,
      stream,
      gpus: models?.gpus,
      budgets: models?.budgets,
      trans,
      id,
      rank,
      follow: settings?.get('followLog') ?? true,
      wrap: settings?.get('wrapLines') ?? false,
      commands: app.commands
    });
    await tracker.add(page);
    app.shell.add(page, 'main');
    return page;
  }

  private _options: IOpenerOptions;
  private _opening = new Map<string, Promise<Page>>();
}

export default plugin;
