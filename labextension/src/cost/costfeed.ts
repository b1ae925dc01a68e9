/** What one job has cost, as last told: with the news of the job, and where those stay away. */

import type { JobCostItem } from '../api/types';
import { RequestError } from '../request';
import type { IAiInfraApi } from '../tokens';

/** What is older is asked for anew: the part that is idle, and a price, change without other news. */
const OLD_MILLISECONDS = 30_000;

export interface ICostFeedOptions {
  api: Pick<IAiInfraApi, 'jobCosts'>;
  id: string;
  /** The cost is another now. */
  onCost: () => void;
}

/** Asks only while it is `wanted`. */
export class CostFeed {
  constructor(options: ICostFeedOptions) {
    this._options = options;
  }

  get item(): JobCostItem | null {
    return this._item;
  }

  /** Take in what came with news of the job; what is older than what is known counts less. */
  take(item: JobCostItem | null | undefined): void {
    if (item == null || (this._item !== null && item.at < this._item.at)) {
      return;
    }
    this._item = item;
    this._heardAt = performance.now();
    this._plan();
  }

  /** Whether somebody looks at it, and the job goes on. */
  set wanted(wanted: boolean) {
    if (wanted !== this._wanted) {
      this._wanted = wanted;
      this._plan();
    }
  }

  dispose(): void {
    this.wanted = false;
  }

  private _plan(): void {
    clearTimeout(this._timer);
    if (this._wanted) {
      const age = performance.now() - this._heardAt;
      this._timer = setTimeout(() => void this._ask(), Math.max(0, OLD_MILLISECONDS - age));
    }
  }

  private async _ask(): Promise<void> {
    const { api, id, onCost } = this._options;
    // Also of a question without an answer: the next one is as far away.
    this._heardAt = performance.now();
    try {
      const [item] = await api.jobCosts([id]);
      if (this._wanted && item) {
        this.take(item);
        onCost();
      }
    } catch (error) {
      if (!(error instanceof RequestError)) {
        throw error;
      }
      // That the server is away is said by the job itself; its cost goes on as last told.
    }
    this._plan();
  }

  private _options: ICostFeedOptions;
  private _item: JobCostItem | null = null;
  private _heardAt = performance.now();
  private _wanted = false;
  private _timer: ReturnType<typeof setTimeout> | undefined;
}
