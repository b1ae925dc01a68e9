import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { Notification } from '@jupyterlab/apputils';
import { INotebookTracker, type NotebookPanel } from '@jupyterlab/notebook';
import type { Kernel } from '@jupyterlab/services';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';
import type { PanelLayout } from '@lumino/widgets';

import type { JobBanner } from '../cell/banner';
import type { IJobContext } from '../cell/livejob';
import { beginsLaunch } from '../editor/launchline';
import { RequestError } from '../request';
import { CommandIDs, IAiInfraApi, IAiInfraModels, IAiInfraStream } from '../tokens';

/** Offers a cell the job it has begun before a reload or a restart, and a command for any job. */
const plugin: JupyterFrontEndPlugin<void> = {
  id: 'jupyter-aiinfra:cell-banner',
  description: 'Offers to re-attach the jobs of a notebook after a reload or a restart.',
  autoStart: true,
  requires: [INotebookTracker, IAiInfraApi, IAiInfraStream],
  optional: [ITranslator, IAiInfraModels],
  activate: (
    app: JupyterFrontEnd,
    tracker: INotebookTracker,
    api: IAiInfraApi,
    stream: IAiInfraStream,
    translator: ITranslator | null,
    models: IAiInfraModels | null
  ): void => {
    const trans = (translator ?? nullTranslator).load('jupyter_aiinfra');
    const { commands, serviceManager } = app;
    const gpus = models?.gpus;
    const banners = new Banners({ api, stream, commands, trans, gpus }, path =>
      serviceManager.contents.localPath(path)
    );
    tracker.forEach(panel => banners.follow(panel));
    tracker.widgetAdded.connect((_, panel) => banners.follow(panel));
    commands.addCommand(CommandIDs.attachJob, {
      label: trans.__('Attach to Job'),
      caption: trans.__('Show the output of the job in the active notebook, and fetch its results'),
      describedBy: {
        args: {
          type: 'object',
          properties: { id: { type: 'string', description: trans.__('The job') } },
          required: ['id']
        }
      },
      execute: async args => {
        const panel = tracker.currentWidget;
        const { attachInNotebook } = await import('../cell/attach');
        const problem =
          panel === null
            ? trans.__('No notebook is open: open the one that the job is to be attached to')
            : await attachInNotebook(args['id'] as string, { api, panel, trans });
        if (problem) {
          Notification.warning(problem, { autoClose: 8000 });
        }
      }
    });
  }
};

/** Looks for jobs to offer when a notebook is opened and when its kernel begins anew. */
class Banners {
  constructor(context: IJobContext, localPath: (path: string) => string) {
    this._context = context;
    this._localPath = localPath;
  }

  follow(panel: NotebookPanel): void {
    void Promise.all([panel.context.ready, panel.revealed]).then(() => this._look(panel));
    panel.sessionContext.statusChanged.connect((_, status: Kernel.Status) => {
      if (status === 'restarting' || status === 'autorestarting') {
        void this._look(panel);
      }
    });
  }

  private async _look(panel: NotebookPanel): Promise<void> {
    const cells = panel.isDisposed ? [] : [...(panel.content.model?.cells ?? [])];
    if (!cells.some(({ sharedModel }) => beginsLaunch(sharedModel.getSource()))) {
      return;
    }
    const [{ findOrphans }, { JobBanner }] = await Promise.all([
      import('../cell/orphans'),
      import('../cell/banner')
    ]);
    try {
      const orphans = await findOrphans(panel, {
        api: this._context.api,
        path: this._localPath(panel.context.path),
        isDismissed: id => this._dismissed.has(id),
        now: Date.now() / 1000
      });
      for (const { cell, detail } of orphans) {
        await cell.ready;
        if (cell.isDisposed || this._banners.get(cell)?.isDisposed === false) {
          continue;
        }
        const onDismiss = (): void => void this._dismissed.add(detail.item.id);
        const place = { panel, cell };
        const banner = new JobBanner({ ...this._context, place, detail, onDismiss });
        this._banners.set(cell, banner);
        (cell.layout as PanelLayout).addWidget(banner);
      }
    } catch (error) {
      // A server that has no jobs to tell of is no fault of the notebook: the panel says what is.
      if (!(error instanceof RequestError)) {
        throw error;
      }
    }
  }

  private _context: IJobContext;
  private _localPath: (path: string) => string;
  private _banners = new WeakMap<object, JobBanner>();
  private _dismissed = new Set<string>();
}

export default plugin;
