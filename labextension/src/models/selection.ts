/** Which job is selected in the panel's list. */

import { Signal, type ISignal } from '@lumino/signaling';

import type { JobItem } from '../api/types';
import type { IJobSelection, IJobsModel } from '../tokens';

/** Remembers an id, so that what it answers is the job as it is now, or none once it is removed. */
export class JobSelection implements IJobSelection {
  constructor(jobs: IJobsModel) {
    this._jobs = jobs;
  }

  get selected(): JobItem | null {
    return (this._id !== null && this._jobs.find(this._id)) || null;
  }

  get changed(): ISignal<IJobSelection, void> {
    return this._changed;
  }

  select(id: string | null): void {
    if (id !== this._id) {
      this._id = id;
      this._changed.emit();
    }
  }

  private _jobs: IJobsModel;
  private _id: string | null = null;
  private _changed = new Signal<IJobSelection, void>(this);
}
