import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { Dialog, ICommandPalette, showDialog } from '@jupyterlab/apputils';
import { ITranslator, nullTranslator, type TranslationBundle } from '@jupyterlab/translation';
import { Widget } from '@lumino/widgets';

import type { Report } from '../components/report';
import { RequestError } from '../request';
import { CommandIDs, IAiInfraApi } from '../tokens';

/** A command that says whether the installation works, and what to do when it does not. */
const plugin: JupyterFrontEndPlugin<void> = {
  id: 'jupyter-aiinfra:health',
  description: 'Adds a command that checks the AI Infra installation.',
  autoStart: true,
  requires: [IAiInfraApi],
  optional: [ITranslator, ICommandPalette],
  activate: (
    app: JupyterFrontEnd,
    api: IAiInfraApi,
    translator: ITranslator | null,
    palette: ICommandPalette | null
  ): void => {
    const trans = (translator ?? nullTranslator).load('jupyter_aiinfra');
    app.commands.addCommand(CommandIDs.check, {
      label: trans.__('AI Infra: Check the installation'),
      caption: trans.__('Ask the server extension for its version, database, pools and jobs'),
      describedBy: { args: { type: 'object', properties: {} } },
      execute: async () => {
        const { createReport } = await import('../components/report');
        await showDialog({
          title: trans.__('AI Infra installation'),
          body: new Widget({ node: createReport(await check(api, trans)) }),
          buttons: [Dialog.okButton({ label: trans.__('Close') })]
        });
      }
    });
    palette?.addItem({ command: CommandIDs.check, category: trans.__('AI Infra') });
  }
};

async function check(api: IAiInfraApi, trans: TranslationBundle): Promise<Report> {
  const { errorReport, healthReport } = await import('../components/report');
  try {
    return healthReport(await api.health(), trans);
  } catch (error) {
    if (error instanceof RequestError) {
      return errorReport(error, trans);
    }
    throw error;
  }
}

export default plugin;
