/** What a job has cost by now, between two tellings of it. Pure: no JupyterLab in it. */

import type { Amount, JobCostItem } from '../api/types';
import { grown } from './text';

/**
 * Goes on counting from when it was told, by this page's own steady clock: the clocks of server and
 * browser need not agree.
 */
export class Meter {
  constructor(private readonly _clock: () => number = () => performance.now() / 1000) {}

  get item(): JobCostItem | null {
    return this._item;
  }

  /** Take in what was told. The same again, told with other news, does not begin anew. */
  take(item: JobCostItem | null): void {
    if (item === null || this._item?.job !== item.job || this._item.at !== item.at) {
      this._item = item;
      this._told = this._clock();
    } else {
      this._item = item;
    }
  }

  /** Seconds since it was told. */
  get age(): number {
    return Math.max(0, this._clock() - this._told);
  }

  /** Whether it grows by itself. */
  get ticks(): boolean {
    return this._item !== null && this._item.hourly !== null;
  }

  /** What it comes to now; empty where it is unknown. */
  get cost(): readonly Amount[] {
    return this._item === null ? [] : grown(this._item.cost, this._item.hourly, this.age);
  }

  private _item: JobCostItem | null = null;
  private _told = 0;
}
