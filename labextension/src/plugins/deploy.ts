import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ICommandPalette, Notification } from '@jupyterlab/apputils';
import { INotebookTracker } from '@jupyterlab/notebook';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import type { Deploying } from '../deployform/open';
import { endpointIcon } from '../icons';
import { CommandIDs, IAiInfraApi, IAiInfraModels } from '../tokens';

/** Deploy what a notebook has: on its toolbar, in the palette, and on the page of endpoints. */
const plugin: JupyterFrontEndPlugin<void> = {
  id: 'jupyter-aiinfra:deploy',
  description: 'Adds the command that deploys what a notebook has as an endpoint.',
  autoStart: true,
  requires: [IAiInfraApi, IAiInfraModels, INotebookTracker],
  optional: [ITranslator, ICommandPalette],
  activate: (
    app: JupyterFrontEnd,
    api: IAiInfraApi,
    models: IAiInfraModels,
    tracker: INotebookTracker,
    translator: ITranslator | null,
    palette: ICommandPalette | null
  ): void => {
    const trans = (translator ?? nullTranslator).load('jupyter_aiinfra');
    let loaded: Promise<Deploying> | null = null;
    const load = (): Promise<Deploying> =>
      (loaded ??= import('../deployform/open').then(
        module =>
          new module.Deploying({
            api,
            models,
            commands: app.commands,
            trans,
            localPath: path => app.serviceManager.contents.localPath(path)
          })
      ));
    const command = CommandIDs.deployNotebook;
    app.commands.addCommand(command, {
      label: args =>
        args['isPalette'] ? trans.__('AI Infra: Deploy an Endpoint…') : trans.__('Deploy…'),
      caption: trans.__('Serve a model of this notebook at a URL, or give an endpoint a version'),
      icon: args => (args['isPalette'] ? undefined : endpointIcon),
      describedBy: {
        args: {
          type: 'object',
          properties: {
            endpoint: {
              type: 'string',
              description: trans.__('The name of the one that gets another version')
            }
          }
        }
      },
      isEnabled: args => typeof args['endpoint'] === 'string' || tracker.currentWidget !== null,
      execute: async args => {
        const panel = tracker.currentWidget;
        if (panel === null) {
          const message = trans.__('No notebook is open: open the one that has the model.');
          Notification.warning(message, { autoClose: 8000 });
          return null;
        }
        const { endpoint } = args;
        return (await load()).deploy(panel, typeof endpoint === 'string' ? endpoint : null);
      }
    });
    const category = trans.__('AI Infra');
    palette?.addItem({ command, category, args: { isPalette: true } });
  }
};

export default plugin;
