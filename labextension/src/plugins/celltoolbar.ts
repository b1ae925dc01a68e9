import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ICommandPalette, Notification } from '@jupyterlab/apputils';
import type { Cell } from '@jupyterlab/cells';
import { INotebookTracker, type NotebookPanel } from '@jupyterlab/notebook';
import { ITranslator, nullTranslator, type TranslationBundle } from '@jupyterlab/translation';
import { PanelLayout } from '@lumino/widgets';

import type { LineWords } from '../api/types';
import type { CellToolbar } from '../cell/toolbar';
import { beginsLaunch } from '../editor/launchline';
import { RequestError } from '../request';
import {
  CommandIDs,
  IAiInfraApi,
  IAiInfraModels,
  IAiInfraSettings,
  ILaunchCells,
  type ILaunchCell
} from '../tokens';

/** A toolbar above each launch cell of a notebook, and commands for the active one. */
const plugin: JupyterFrontEndPlugin<void> = {
  id: 'jupyter-aiinfra:cell-toolbar',
  description: 'Adds a pool picker and a dry run to %%accelerate cells.',
  autoStart: true,
  requires: [IAiInfraApi, IAiInfraModels, IAiInfraSettings, ILaunchCells, INotebookTracker],
  optional: [ITranslator, ICommandPalette],
  activate: (
    app: JupyterFrontEnd,
    api: IAiInfraApi,
    models: IAiInfraModels,
    settings: IAiInfraSettings,
    cells: ILaunchCells,
    tracker: INotebookTracker,
    translator: ITranslator | null,
    palette: ICommandPalette | null
  ): void => {
    const trans = (translator ?? nullTranslator).load('jupyter_aiinfra');
    const toolbars = new Toolbars({ api, models, settings, cells, tracker, trans });
    const describedBy = { args: { type: 'object', properties: {} } } as const;
    app.commands.addCommand(CommandIDs.dryRun, {
      label: trans.__('Dry Run of the Training Cell'),
      caption: trans.__('Show what the active %1 cell would send and run', '%%accelerate'),
      describedBy,
      isEnabled: () => isLaunchCell(tracker.activeCell),
      execute: async () => {
        const { currentWidget: panel, activeCell: cell } = tracker;
        const problem =
          panel && cell ? await begin(panel, cell, trans) : trans.__('No notebook is open');
        if (problem) {
          Notification.warning(problem, { autoClose: 8000 });
        }
      }
    });
    app.commands.addCommand(CommandIDs.choosePool, {
      label: trans.__('Choose the Pool of the Training Cell'),
      caption: trans.__('Go to the pool picker of the active %1 cell', '%%accelerate'),
      describedBy,
      isEnabled: () => toolbars.of(tracker.activeCell) !== undefined,
      execute: () => toolbars.of(tracker.activeCell)?.choosePool()
    });
    for (const command of [CommandIDs.dryRun, CommandIDs.choosePool]) {
      palette?.addItem({ command, category: trans.__('AI Infra') });
    }
  }
};

function isLaunchCell(cell: Cell | null): boolean {
  return cell?.model.type === 'code' && beginsLaunch(cell.model.sharedModel.getSource());
}

/** Begin a dry run of `cell`; answers why that cannot be, or nothing. */
async function begin(panel: NotebookPanel, cell: Cell, trans: TranslationBundle): Promise<string> {
  const { sessionContext } = panel;
  const { rendermime } = panel.content;
  const { dryRun, hindrance } = await import('../cell/dryrun');
  const problem = hindrance(sessionContext, trans);
  if (problem === '') {
    const source = cell.model.sharedModel.getSource();
    void dryRun({ source, sessionContext, rendermime, trans });
  }
  return problem;
}

interface IToolbarsOptions {
  api: IAiInfraApi;
  models: IAiInfraModels;
  settings: IAiInfraSettings;
  cells: ILaunchCells;
  tracker: INotebookTracker;
  trans: TranslationBundle;
}

/** Gives each launch cell of a notebook its toolbar, as long as the setting says so. */
class Toolbars {
  constructor(private readonly _options: IToolbarsOptions) {
    const { cells, settings } = _options;
    cells.opened.connect((_, cell) => void this._open(cell));
    cells.closed.connect((_, cell) => this._close(cell));
    cells.cells.forEach(cell => void this._open(cell));
    settings.changed.connect(() => {
      for (const cell of cells.cells) {
        this._close(cell);
        void this._open(cell);
      }
    });
  }

  of(cell: Cell | null): CellToolbar | undefined {
    return cell === null ? undefined : this._byWidget.get(cell);
  }

  private async _open(cell: ILaunchCell): Promise<void> {
    const { settings, models, trans } = this._options;
    await settings.ready;
    if (!settings.get('cellToolbar')) {
      return;
    }
    const [{ CellToolbar }, words, check] = await Promise.all([
      import('../cell/toolbar'),
      this._words(),
      settings.get('lintLaunchLine') ? cell.check() : null
    ]);
    const found = this._find(cell);
    if (found === null || cell.isClosed || this._bars.has(cell) || !settings.get('cellToolbar')) {
      return;
    }
    const { panel, widget } = found;
    const dryRun = (): Promise<string> => begin(panel, widget, trans);
    const bar = new CellToolbar({ cell, pools: models.pools, words, check, trans, dryRun });
    this._bars.set(cell, bar);
    this._byWidget.set(widget, bar);
    bar.disposed.connect(() => {
      this._bars.delete(cell);
      this._byWidget.delete(widget);
    });
    // In the flow, between the cell's header and its input: JupyterLab's own toolbar floats there.
    (widget.layout as PanelLayout).insertWidget(1, bar);
  }

  private _close(cell: ILaunchCell): void {
    this._bars.get(cell)?.dispose();
  }

  private _find(cell: ILaunchCell): { panel: NotebookPanel; widget: Cell } | null {
    let found: { panel: NotebookPanel; widget: Cell } | null = null;
    this._options.tracker.forEach(panel => {
      // A notebook may be shown twice, with the same models: the editor tells which one this is.
      const widget = panel.content.widgets.find(
        each => each.model === cell.model && each.node.contains(cell.view.dom)
      );
      found = widget ? { panel, widget } : found;
    });
    return found;
  }

  /** The words of a launch line; without them the picker still works on a line that begins so. */
  private async _words(): Promise<LineWords | null> {
    this._known ??= this._options.api.lineWords();
    try {
      return await this._known;
    } catch (error) {
      this._known = null;
      if (error instanceof RequestError) {
        return null;
      }
      throw error;
    }
  }

  private readonly _bars = new Map<ILaunchCell, CellToolbar>();
  private readonly _byWidget = new WeakMap<Cell, CellToolbar>();
  private _known: Promise<LineWords> | null = null;
}

export default plugin;
