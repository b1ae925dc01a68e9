/** Which editors hold a launch cell: told by the editors themselves, since they know each change. */

import { Compartment, type Extension, type Text } from '@codemirror/state';
import { ViewPlugin, type EditorView, type PluginValue, type ViewUpdate } from '@codemirror/view';
import type { CodeEditor } from '@jupyterlab/codeeditor';
import { Signal } from '@lumino/signaling';

import type { IAiInfraApi, IAiInfraModels, ILaunchCell, ILaunchCells, ILineCheck } from '../tokens';
import { beginsLaunch } from './launchline';
import type { LineCheck } from './linecheck';

/** Empty lines that may stand above the magic; a cell with more of them is none of ours. */
const MOST_EMPTY_LINES = 20;

/** Whether a document is a launch cell. Asked at each key: looks at the first lines only. */
export function isLaunch(doc: Text): boolean {
  const last = Math.min(doc.lines, MOST_EMPTY_LINES);
  for (let number = 1; number <= last; number += 1) {
    const { text } = doc.line(number);
    if (text.trim() !== '') {
      return beginsLaunch(text);
    }
  }
  return false;
}

class LaunchCell implements ILaunchCell {
  constructor(
    readonly model: CodeEditor.IModel,
    readonly view: EditorView,
    private readonly _options: { api: IAiInfraApi; models: IAiInfraModels; place: Compartment }
  ) {}

  check(): Promise<ILineCheck> {
    this._check ??= import('./linecheck').then(({ LineCheck }) => {
      const { api, models } = this._options;
      const source = this.model.sharedModel;
      const check = new LineCheck({ api, source, pools: models.pools });
      if (this._isClosed) {
        check.dispose();
      }
      return check;
    });
    return this._check;
  }

  draw(extension: Extension): void {
    this.view.dispatch({ effects: this._options.place.reconfigure(extension) });
  }

  get isClosed(): boolean {
    return this._isClosed;
  }

  close(): void {
    this._isClosed = true;
    void this._check?.then(check => check.dispose());
    // An editor takes no order while it is told of a change, and it is.
    void Promise.resolve().then(() => this.draw([]));
  }

  private _isClosed = false;
  private _check: Promise<LineCheck> | null = null;
}

/** All launch cells in editors of this page. */
export class LaunchCells implements ILaunchCells {
  constructor(api: IAiInfraApi, models: IAiInfraModels) {
    this._api = api;
    this._models = models;
  }

  readonly opened: Signal<ILaunchCells, ILaunchCell> = new Signal<ILaunchCells, ILaunchCell>(this);
  readonly closed: Signal<ILaunchCells, ILaunchCell> = new Signal<ILaunchCells, ILaunchCell>(this);

  get cells(): ReadonlySet<ILaunchCell> {
    return this._cells;
  }

  /** What each editor needs to be seen here. */
  extension(model: CodeEditor.IModel): Extension {
    const place = new Compartment();
    return [place.of([]), ViewPlugin.define(view => this._watch(view, model, place))];
  }

  private _watch(view: EditorView, model: CodeEditor.IModel, place: Compartment): PluginValue {
    let cell: LaunchCell | null = null;
    const look = (): void => {
      if (isLaunch(view.state.doc) === (cell !== null)) {
        return;
      }
      if (cell !== null) {
        this._close(cell);
        cell = null;
        return;
      }
      cell = new LaunchCell(model, view, { api: this._api, models: this._models, place });
      this._cells.add(cell);
      this.opened.emit(cell);
    };
    look();
    return {
      update: (update: ViewUpdate): void => {
        if (update.docChanged) {
          look();
        }
      },
      destroy: (): void => {
        if (cell !== null) {
          this._close(cell);
        }
      }
    };
  }

  private _close(cell: LaunchCell): void {
    this._cells.delete(cell);
    cell.close();
    this.closed.emit(cell);
  }

  private readonly _cells = new Set<ILaunchCell>();
  private readonly _api: IAiInfraApi;
  private readonly _models: IAiInfraModels;
}
