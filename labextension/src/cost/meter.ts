/** What a job has cost by now, between two tellings of it. Pure: no JupyterLab in it. */

import type { Amount, JobCostItem } from '../api/types';
import { amountOf, grown } from './text';

/** So many seconds' worth what was told may be behind what is shown: news take time to come. */
const LATE_SECONDS = 10;

/**
 * Goes on counting from when it was told, by this page's own steady clock: the clocks of server and
 * browser need not agree. What is shown does not go back by the moment that the news were under way.
 */
export class Meter {
  constructor(private readonly _clock: () => number = () => performance.now() / 1000) {}

  get item(): JobCostItem | null {
    return this._item;
  }

  /** Take in what was told. The same again, told with other news, does not begin anew. */
  take(item: JobCostItem | null): void {
    const before = this._item;
    if (item !== null && before?.job === item.job && before.at === item.at) {
      return;
    }
    this._shown = item !== null && before?.job === item.job ? this.cost : [];
    this._item = item;
    this._told = this._clock();
  }

  /** What it comes to now; empty where it is unknown. */
  get cost(): readonly Amount[] {
    if (this._item === null) {
      return [];
    }
    const { cost, hourly } = this._item;
    const counted = grown(cost, hourly, this._clock() - this._told);
    return hourly === null ? counted : counted.map(each => this._notLess(each));
  }

  private _notLess(counted: Amount): Amount {
    const shown = this._shown.find(({ currency }) => currency === counted.currency);
    const hourly = this._item?.hourly;
    if (shown === undefined || hourly?.currency !== counted.currency) {
      return counted;
    }
    const behind = Number(shown.amount) - Number(counted.amount);
    const late = (Number(hourly.amount) / 3600) * LATE_SECONDS;
    return behind > 0 && behind <= late ? amountOf(Number(shown.amount), shown.currency) : counted;
  }

  private _item: JobCostItem | null = null;
  private _told = 0;
  /** What was shown when it was told. */
  private _shown: readonly Amount[] = [];
}
