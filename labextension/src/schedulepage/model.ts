/** What the page of schedules knows: how it is looked at, and the runs that are listed. */

import type { IDisposable } from '@lumino/disposable';
import { Signal, type ISignal } from '@lumino/signaling';

import type { ScheduleItem } from '../api/types';
import type { IAiInfraApi, IAiInfraModels } from '../tokens';
import { RunList } from './runlist';
import { FIRST_VIEW, keptOf, type IView } from './view';

/** Watches only while it is `active`. */
export class SchedulePageModel implements IDisposable {
  constructor(options: { api: IAiInfraApi; models: Pick<IAiInfraModels, 'schedules' | 'runs'> }) {
    this._models = options.models;
    this.list = new RunList({ runs: options.models.runs, api: options.api });
    this.list.changed.connect(this._tell);
    options.models.schedules.changed.connect(this._tell);
  }

  readonly list: RunList;

  get view(): IView {
    return this._view;
  }

  /** What JupyterLab keeps of the view. */
  get kept(): { [name: string]: string | boolean } {
    return keptOf(this._view);
  }

  /** The schedule that is looked at; `null` where it is none, or is not known. */
  get schedule(): ScheduleItem | null {
    const { schedule } = this._view;
    return schedule === null ? null : (this._models.schedules.find(schedule) ?? null);
  }

  /** The view is another. */
  get viewChanged(): ISignal<SchedulePageModel, void> {
    return this._viewChanged;
  }

  /** Something is to be drawn anew. */
  get changed(): ISignal<SchedulePageModel, void> {
    return this._changed;
  }

  get isDisposed(): boolean {
    return this._isDisposed;
  }

  set active(active: boolean) {
    if (active && this._watching.length === 0 && !this._isDisposed) {
      const { schedules, runs } = this._models;
      this._watching = [schedules.watch(), runs.watch()];
      this._narrow();
    } else if (!active) {
      this._watching.forEach(each => each.dispose());
      this._watching = [];
    }
  }

  show(change: Partial<IView>): void {
    const view = { ...this._view, ...change };
    if (view.tab === 'versions' && view.schedule === null) {
      view.tab = 'schedules';
    }
    this._view = view;
    this._narrow();
    this._viewChanged.emit();
    this._tell();
  }

  dispose(): void {
    if (!this._isDisposed) {
      this._isDisposed = true;
      this.active = false;
      this._models.schedules.changed.disconnect(this._tell);
      this.list.dispose();
      Signal.clearData(this);
    }
  }

  /** Runs are asked for once they are looked at. */
  private _narrow(): void {
    if (this._watching.length > 0 && (this._view.tab === 'runs' || this._view.schedule !== null)) {
      this.list.narrow(this._view);
    }
  }

  private _tell = (): void => {
    if (!this._isDisposed) {
      this._changed.emit();
    }
  };

  private _models: Pick<IAiInfraModels, 'schedules' | 'runs'>;
  private _view: IView = FIRST_VIEW;
  private _watching: IDisposable[] = [];
  private _isDisposed = false;
  private _viewChanged = new Signal<SchedulePageModel, void>(this);
  private _changed = new Signal<SchedulePageModel, void>(this);
}
