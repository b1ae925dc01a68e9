/** The notebook of one run, as the stream tells of it. */

import type { IDisposable } from '@lumino/disposable';
import { Signal, type ISignal } from '@lumino/signaling';

import type { IAiInfraStream, IProblem, IRunNotebookModel, IWatchOptions, News } from '../tokens';
import type { NotebookContent, RunNotebookNews, RunProgress } from './schedulewire';

/** Keeps the notebook, and takes in what cells have changed. */
export class RunNotebookModel implements IRunNotebookModel {
  constructor(options: { id: string; stream: IAiInfraStream }) {
    this.id = options.id;
    this._stream = options.stream;
    options.stream.news.connect(this._onNews);
  }

  readonly id: string;

  get progress(): RunProgress | null {
    return this._progress;
  }

  get notebook(): NotebookContent | null {
    return this._notebook;
  }

  get problem(): IProblem | null {
    return this._problem;
  }

  get changed(): ISignal<IRunNotebookModel, void> {
    return this._changed;
  }

  get cellsChanged(): ISignal<IRunNotebookModel, readonly number[] | null> {
    return this._cellsChanged;
  }

  get isDisposed(): boolean {
    return this._isDisposed;
  }

  watch(options?: IWatchOptions): IDisposable {
    return this._stream.watch({ topic: 'notebook', id: this.id, rank: null }, options);
  }

  dispose(): void {
    if (!this._isDisposed) {
      this._isDisposed = true;
      this._stream.news.disconnect(this._onNews);
      Signal.clearData(this);
    }
  }

  private _onNews = (_sender: IAiInfraStream, news: News): void => {
    if (news.type === 'notebook' && news.id === this.id) {
      this._onNotebook(news);
    } else if (
      news.type === 'problem' &&
      news.topic?.topic === 'notebook' &&
      news.topic.id === this.id
    ) {
      this._problem = { message: news.message, hint: news.hint };
      this._changed.emit();
    }
  };

  private _onNotebook(news: RunNotebookNews): void {
    const { run, live, state, cell, cells, findings } = news;
    this._progress = { run, live, state, cell, cells, findings };
    this._problem = news.problem ? { message: news.problem, hint: '' } : null;
    const changed = news.reset ? this._takeAll(news) : this._takeCells(news);
    this._changed.emit();
    if (changed === null || changed.length > 0) {
      this._cellsChanged.emit(changed);
    }
  }

  private _takeAll({ notebook }: RunNotebookNews): null {
    this._notebook = notebook;
    return null;
  }

  private _takeCells({ changes }: RunNotebookNews): number[] {
    if (this._notebook === null || changes.length === 0) {
      return []; // changes of what this page was not told are told again with all of it
    }
    const cells = [...this._notebook.cells];
    for (const [index, cell] of changes) {
      cells[index] = cell;
    }
    this._notebook = { ...this._notebook, cells };
    return changes.map(([index]) => index);
  }

  private _stream: IAiInfraStream;
  private _progress: RunProgress | null = null;
  private _notebook: NotebookContent | null = null;
  private _problem: IProblem | null = null;
  private _isDisposed = false;
  private _changed = new Signal<IRunNotebookModel, void>(this);
  private _cellsChanged = new Signal<IRunNotebookModel, readonly number[] | null>(this);
}
