import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';

// Others ask for this token as they start, and it is small.
// eslint-disable-next-line jupyter/prefer-lazy-imports
import { Stream } from '../api/stream';
import { IAiInfraStream } from '../tokens';

/** The one socket of this page. It opens when something is watched, not before. */
const plugin: JupyterFrontEndPlugin<IAiInfraStream> = {
  id: 'jupyter-aiinfra:stream',
  description: 'Provides what the AI Infra server extension streams.',
  autoStart: true,
  provides: IAiInfraStream,
  activate: (app: JupyterFrontEnd): IAiInfraStream => new Stream(app.serviceManager.serverSettings)
};

export default plugin;
