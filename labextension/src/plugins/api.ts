import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';

// Others ask for this token as they start, and it is small.
// eslint-disable-next-line jupyter/prefer-lazy-imports
import { ApiClient } from '../api/client';
import { IAiInfraApi } from '../tokens';

/** The REST endpoints, over the connection that JupyterLab itself has to its server. */
const plugin: JupyterFrontEndPlugin<IAiInfraApi> = {
  id: 'jupyter-aiinfra:api',
  description: 'Provides the REST endpoints of the AI Infra server extension.',
  autoStart: true,
  provides: IAiInfraApi,
  activate: (app: JupyterFrontEnd): IAiInfraApi => new ApiClient(app.serviceManager.serverSettings)
};

export default plugin;
