import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { Notification } from '@jupyterlab/apputils';
import { INotebookTracker } from '@jupyterlab/notebook';
import { ITranslator, nullTranslator, type TranslationBundle } from '@jupyterlab/translation';

import { RequestError } from '../request';
import { CommandIDs, IAiInfraApi } from '../tokens';

/** A command that puts the cell of a job below the active one of the active notebook. */
const plugin: JupyterFrontEndPlugin<void> = {
  id: 'jupyter-aiinfra:insert-cell',
  description: 'Inserts what a job ran as a cell.',
  autoStart: true,
  requires: [IAiInfraApi, INotebookTracker],
  optional: [ITranslator],
  activate: (
    app: JupyterFrontEnd,
    api: IAiInfraApi,
    tracker: INotebookTracker,
    translator: ITranslator | null
  ): void => {
    const trans = (translator ?? nullTranslator).load('jupyter_aiinfra');
    app.commands.addCommand(CommandIDs.insertCell, {
      label: trans.__('Insert as Cell'),
      caption: trans.__('Insert what this job ran below the active cell of the active notebook'),
      describedBy: {
        args: {
          type: 'object',
          properties: { id: { type: 'string', description: trans.__('The job') } },
          required: ['id']
        }
      },
      execute: async args => {
        const problem = await insert(app, api, tracker, args['id'] as string, trans);
        if (problem) {
          Notification.warning(problem, { autoClose: 8000 });
        }
      }
    });
  }
};

/** Insert the cell of job `id`; returns why that cannot be, or nothing. */
async function insert(
  app: JupyterFrontEnd,
  api: IAiInfraApi,
  tracker: INotebookTracker,
  id: string,
  trans: TranslationBundle
): Promise<string> {
  const panel = tracker.currentWidget;
  if (panel === null) {
    return trans.__('No notebook is open: open the one that the cell is to be inserted in');
  }
  if (panel.context.model.readOnly) {
    return trans.__('%1 cannot be edited', panel.title.label);
  }
  const { launchSource } = await import('../editor/launchline');
  let source: string;
  try {
    const { code, line } = await api.job(id);
    if (code === '') {
      return trans.__('Job %1 was not launched from a cell', id);
    }
    source = launchSource(line, code);
  } catch (error) {
    if (error instanceof RequestError) {
      return [error.message, error.hint].filter(Boolean).join('. ');
    }
    throw error;
  }
  const notebook = panel.content;
  const index = notebook.activeCell === null ? 0 : notebook.activeCellIndex + 1;
  // With its text from the beginning: it is undone in one step, and a second editor sees it whole.
  panel.context.model.sharedModel.insertCell(index, {
    cell_type: 'code',
    metadata: { trusted: true },
    source
  });
  notebook.activeCellIndex = index;
  notebook.deselectAll();
  app.shell.activateById(panel.id);
  await notebook.scrollToItem(index, 'smart');
  return '';
}

export default plugin;
