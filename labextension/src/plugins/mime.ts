import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { INotebookTracker, type NotebookPanel } from '@jupyterlab/notebook';
import { IRenderMimeRegistry, type IRenderMime } from '@jupyterlab/rendermime';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';
import { Panel } from '@lumino/widgets';

import { GPUS_MIME, JOB_MIME } from '../cell/reference';
import { IAiInfraApi, IAiInfraModels, IAiInfraStream } from '../tokens';

/** Before the renderer of widgets, whose rank is -10: the server's word outlives a kernel's. */
const RANK = -20;

/**
 * Draws the job in the output of its cell from the server, so that it needs no kernel; of GPUs the
 * widget of a kernel, or where that is gone what it showed at first.
 */
const plugin: JupyterFrontEndPlugin<void> = {
  id: 'jupyter-aiinfra:mime',
  description: 'Draws jobs and GPUs in outputs.',
  autoStart: true,
  requires: [IRenderMimeRegistry, IAiInfraApi, IAiInfraStream],
  optional: [ITranslator, INotebookTracker, IAiInfraModels],
  activate: (
    app: JupyterFrontEnd,
    rendermime: IRenderMimeRegistry,
    api: IAiInfraApi,
    stream: IAiInfraStream,
    translator: ITranslator | null,
    tracker: INotebookTracker | null,
    models: IAiInfraModels | null
  ): void => {
    const trans = (translator ?? nullTranslator).load('jupyter_aiinfra');
    const panels = (): NotebookPanel[] => {
      const open: NotebookPanel[] = [];
      tracker?.forEach(panel => open.push(panel));
      return open;
    };
    const { commands } = app;
    const gpus = models?.gpus;
    const createJob = (): Promise<IRenderMime.IRenderer> =>
      import('../cell/output').then(
        ({ JobOutput }) => new JobOutput({ api, stream, commands, trans, rendermime, panels, gpus })
      );
    const createGpus = (): Promise<IRenderMime.IRenderer> =>
      import('../cell/gpusoutput').then(({ GpusOutput }) => new GpusOutput(rendermime));
    rendermime.addFactory(
      { safe: true, mimeTypes: [JOB_MIME], createRenderer: () => new LazyRenderer(createJob) },
      RANK
    );
    rendermime.addFactory(
      { safe: true, mimeTypes: [GPUS_MIME], createRenderer: () => new LazyRenderer(createGpus) },
      RANK
    );
  }
};

/** Stands for a renderer whose code is loaded when something is to be rendered. */
class LazyRenderer extends Panel implements IRenderMime.IRenderer {
  constructor(create: () => Promise<IRenderMime.IRenderer>) {
    super();
    this._create = create;
  }

  async renderModel(model: IRenderMime.IMimeModel): Promise<void> {
    this._renderer ??= this._create();
    const renderer = await this._renderer;
    if (this.isDisposed) {
      renderer.dispose();
      return;
    }
    await renderer.renderModel(model);
    if (renderer.parent !== this) {
      this.addWidget(renderer);
    }
  }

  private _create: () => Promise<IRenderMime.IRenderer>;
  private _renderer: Promise<IRenderMime.IRenderer> | null = null;
}

export default plugin;
