/** Attach a notebook's kernel to a job again: its output goes on in a cell, its results come back. */

import type { CodeCell } from '@jupyterlab/cells';
import type { NotebookPanel } from '@jupyterlab/notebook';
import { OutputArea } from '@jupyterlab/outputarea';
import type { TranslationBundle } from '@jupyterlab/translation';
import { DisposableDelegate, type IDisposable } from '@lumino/disposable';
import type { Widget } from '@lumino/widgets';

import type { JobDetail } from '../api/types';
import { RequestError } from '../request';
import type { IAiInfraApi } from '../tokens';
import type { ITool } from './tools';
import { isCodeCell, isOrigin, outputsOf } from './origin';
import { isJobId } from './reference';

export interface IPlace {
  panel: NotebookPanel;
  cell: CodeCell;
}

/** The notebook and the cell that `widget` stands in; `null` when it is elsewhere. */
export function placeOf(widget: Widget, panels: readonly NotebookPanel[]): IPlace | null {
  const around = new Set<Widget>();
  for (let each: Widget | null = widget; each; each = each.parent) {
    around.add(each);
  }
  const panel = panels.find(({ content }) => around.has(content));
  const cell = panel?.content.widgets.find(each => around.has(each));
  return panel && cell && isCodeCell(cell) ? { panel, cell } : null;
}

/** Call `told` whenever it may have changed whether the kernel can attach, until disposed. */
export function watchPlace({ panel, cell }: IPlace, told: () => void): IDisposable {
  // Kept here: a cell that is being disposed has let go of its model before it tells what is in it.
  const { sessionContext } = panel;
  const { model } = cell;
  const slot = (): void => told();
  sessionContext.statusChanged.connect(slot);
  sessionContext.kernelChanged.connect(slot);
  model.stateChanged.connect(slot);
  return new DisposableDelegate(() => {
    sessionContext.statusChanged.disconnect(slot);
    sessionContext.kernelChanged.disconnect(slot);
    model.stateChanged.disconnect(slot);
  });
}

/** Why the kernel cannot attach to a job just now; empty when it can. */
export function hindrance(panel: NotebookPanel, trans: TranslationBundle): string {
  const kernel = panel.sessionContext.session?.kernel;
  if (!kernel) {
    return trans.__('No kernel: start one to attach it to the job');
  }
  // A kernel that answers a widget reads as idle although it runs a cell.
  const isRunning = panel.content.widgets.some(
    cell => isCodeCell(cell) && cell.model.executionState === 'running'
  );
  switch (isRunning ? 'busy' : kernel.status) {
    case 'idle':
      return '';
    case 'dead':
      return trans.__('The kernel is dead: restart it to attach it to the job');
    default:
      return trans.__('The kernel is busy: it can be attached to the job when it is idle');
  }
}

/** The button that attaches the notebook's kernel to job `id`, its output going into the cell. */
export function attachTool(id: string, place: IPlace, trans: TranslationBundle): ITool {
  const problem = hindrance(place.panel, trans);
  return {
    label: trans.__('Re-attach'),
    title:
      problem ||
      trans.__('Show the output in this cell again, and bring the results into the notebook'),
    isEnabled: problem === '',
    run: () => void attachToCell(id, place)
  };
}

/**
 * Let the kernel attach to job `id`, with its output in the place of the cell's.
 *
 * Resolves when the kernel has done so: after the job is over. The cell itself is not run.
 */
export async function attachToCell(id: string, { panel, cell }: IPlace): Promise<void> {
  if (!isJobId(id)) {
    return;
  }
  const { model, outputArea } = cell;
  model.sharedModel.transact(() => {
    model.clearExecution();
    cell.outputHidden = false;
  }, false);
  model.executionState = 'running';
  model.trusted = true;
  try {
    const metadata = { cellId: model.sharedModel.getId() };
    const reply = await OutputArea.execute(
      attachCode(id),
      outputArea,
      panel.sessionContext,
      metadata
    );
    model.executionCount = reply?.content.execution_count ?? null;
  } finally {
    if (!cell.isDisposed) {
      model.executionState = 'idle';
    }
  }
}

/** Prints nothing of its own: `%load_ext` would, where the extension is loaded already. */
function attachCode(id: string): string {
  return [
    'if "jupyter_aiinfra" not in get_ipython().extension_manager.loaded:',
    '    get_ipython().run_line_magic("load_ext", "jupyter_aiinfra")',
    `%jobs attach ${id}`
  ].join('\n');
}

/**
 * Attach in the notebook: in the cell that shows the job, or that it came from, or a new one.
 *
 * @returns why that cannot be, or nothing; it does not wait for the job.
 */
export async function attachInNotebook(
  id: string,
  options: { api: IAiInfraApi; panel: NotebookPanel; trans: TranslationBundle }
): Promise<string> {
  const { api, panel, trans } = options;
  if (!isJobId(id)) {
    return trans.__('“%1” is not the id of a job', String(id));
  }
  const problem = hindrance(panel, trans);
  if (problem) {
    return problem;
  }
  let detail: JobDetail;
  try {
    detail = await api.job(id);
  } catch (error) {
    if (error instanceof RequestError) {
      return [error.message, error.hint].filter(Boolean).join('. ');
    }
    throw error;
  }
  const cells = panel.content.widgets.filter(isCodeCell);
  const cell =
    cells.find(each => outputsOf(each.model).some(shown => shown.id === id)) ??
    cells.find(each => isOrigin(each.model.sharedModel.getSource(), detail));
  if (cell) {
    void attachToCell(id, { panel, cell });
  } else {
    await attachInNewCell(id, panel);
  }
  return '';
}

async function attachInNewCell(id: string, panel: NotebookPanel): Promise<void> {
  const notebook = panel.content;
  const index = notebook.activeCell === null ? 0 : notebook.activeCellIndex + 1;
  panel.context.model.sharedModel.insertCell(index, {
    cell_type: 'code',
    metadata: { trusted: true },
    source: `%load_ext jupyter_aiinfra\n%jobs attach ${id}`
  });
  notebook.activeCellIndex = index;
  notebook.deselectAll();
  await notebook.scrollToItem(index, 'smart');
  const { NotebookActions } = await import('@jupyterlab/notebook');
  void NotebookActions.run(notebook, panel.sessionContext);
}
