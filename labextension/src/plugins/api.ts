import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';

import { parseHealth } from '../api/health';
import { request } from '../request';
import { IAiInfraApi } from '../tokens';

/** The REST endpoints, over the connection that JupyterLab itself has to its server. */
const plugin: JupyterFrontEndPlugin<IAiInfraApi> = {
  id: 'jupyter-aiinfra:api',
  description: 'Provides the REST endpoints of the AI Infra server extension.',
  autoStart: true,
  provides: IAiInfraApi,
  activate: (app: JupyterFrontEnd): IAiInfraApi => {
    const settings = app.serviceManager.serverSettings;
    return {
      health: () => request('health', { settings, parse: parseHealth })
    };
  }
};

export default plugin;
