/** What a job's page knows: the job, the logs of its ranks, and whether there is news of them. */

import type { IDisposable } from '@lumino/disposable';
import { Signal, type ISignal } from '@lumino/signaling';

import type { JobCostItem, JobDetail, ProblemNews } from '../api/types';
import { CostFeed } from '../cost/costfeed';
import { isActive } from '../jobstate';
import { RequestError } from '../request';
import type { IAiInfraApi, IAiInfraStream, IProblem, News } from '../tokens';
import { launchersOf, type IHeader, type IManifest, type IRank } from '../widgets/protocol';
import { LogModel } from './logmodel';

const NOT_FOUND = 404;

/**
 * Asks for the job once as it is made, then hears what the stream says of it.
 *
 * The stream tells everything anew after a gap, so nothing is asked for when the server is back.
 */
export class JobPageModel {
  constructor(options: { api: IAiInfraApi; stream: IAiInfraStream; id: string }) {
    this.api = options.api;
    this.id = options.id;
    this._stream = options.stream;
    this._costs = new CostFeed({ api: this.api, id: this.id, onCost: () => this._tell() });
    this._stream.news.connect(this._onNews);
    this._stream.stateChanged.connect(this._onState);
    this._watching = this._stream.watch({ topic: 'job', id: this.id, rank: null });
    void this._load();
  }

  readonly api: IAiInfraApi;
  readonly id: string;

  /** The job as last told; `null` before that. */
  get detail(): JobDetail | null {
    return this._detail;
  }

  /** What it has cost, as last told; `null` before that. */
  get cost(): JobCostItem | null {
    return this._costs.item;
  }

  /** Whether somebody looks: what changes without news of the job is asked for then. */
  setSeen(seen: boolean): void {
    this._seen = seen;
    this._settleCosts();
  }

  get header(): IHeader | null {
    // The traits of the cell's widget, which the wire types leave open.
    return this._detail && (this._detail.header as unknown as IHeader);
  }

  /** In the order to show: failing ones first. */
  get ranks(): readonly IRank[] {
    return (this._detail?.ranks ?? []) as unknown as IRank[];
  }

  get manifest(): IManifest | null {
    return this._detail && (this._detail.manifest as unknown as IManifest);
  }

  /** The pseudo-ranks of the launchers that have printed anything themselves. */
  get launchers(): readonly number[] {
    return [...this._launchers].sort((one, other) => other - one);
  }

  /** The job is in the record no longer. */
  get gone(): boolean {
    return this._gone;
  }

  /** The server does not answer: all of this is what was known. */
  get away(): boolean {
    return this._stream.state === 'lost' || this._unreachable;
  }

  /** Why the job is not known, or not told of just now. */
  get problem(): IProblem | null {
    return this._problem ?? this._logProblem;
  }

  get changed(): ISignal<JobPageModel, void> {
    return this._changed;
  }

  /** The log of a rank; it is kept for as long as the page is. */
  log(rank: number): LogModel {
    let log = this._logs.get(rank);
    if (!log) {
      log = new LogModel({ api: this.api, id: this.id, rank });
      this._logs.set(rank, log);
    }
    return log;
  }

  /** Watch the log of one rank, and no other; `null` watches none. */
  watchLog(rank: number | null): void {
    if (rank === this._watchedRank) {
      return;
    }
    this._watchedRank = rank;
    this._logProblem = null;
    const before = this._watchingLog;
    this._watchingLog =
      rank === null ? null : this._stream.watch({ topic: 'log', id: this.id, rank });
    before?.dispose();
    if (rank !== null) {
      this.log(rank).begin();
    }
    for (const [other, log] of this._logs) {
      if (other !== rank) {
        log.rest();
      }
    }
  }

  dispose(): void {
    this._isDisposed = true;
    this._watching.dispose();
    this._watchingLog?.dispose();
    this._costs.dispose();
    this._stream.news.disconnect(this._onNews);
    this._stream.stateChanged.disconnect(this._onState);
    this._logs.forEach(log => log.dispose());
    Signal.clearData(this);
  }

  private async _load(): Promise<void> {
    try {
      const detail = await this.api.job(this.id);
      // What the stream said in the meantime is newer.
      this._detail ??= detail;
      this._costs.take(detail.cost);
      this._unreachable = false;
    } catch (error) {
      if (!(error instanceof RequestError)) {
        throw error;
      }
      this._gone ||= error.status === NOT_FOUND;
      this._unreachable = error.failure === 'unreachable';
      if (!this._gone && !this._unreachable) {
        this._problem = { message: error.message, hint: error.hint };
      }
    }
    this._tell();
    await this._askLaunchers();
  }

  /** A launcher has a log of its own, which is mostly empty; nothing but asking tells. */
  private async _askLaunchers(): Promise<void> {
    const state = this._detail?.item.state ?? null;
    if (state === null || state === this._askedLaunchersAt || this._gone) {
      return;
    }
    this._askedLaunchersAt = state;
    const silent = launchersOf(this.header).filter(rank => !this._launchers.has(rank));
    for (const rank of silent) {
      try {
        const rows = await this.api.logRows({ id: this.id, rank, first: -1, count: 1 });
        if (rows.total_rows > 0) {
          this._launchers.add(rank);
        }
      } catch (error) {
        if (!(error instanceof RequestError)) {
          throw error;
        }
        if (error.failure === 'unreachable') {
          this._askedLaunchersAt = null; // asked again with the next news of the job
          return;
        }
      }
    }
    this._tell();
  }

  private _onNews = (_sender: IAiInfraStream, news: News): void => {
    switch (news.type) {
      case 'job':
        if (news.detail.item.id === this.id) {
          this._detail = news.detail;
          this._costs.take(news.detail.cost);
          this._problem = null;
          this._unreachable = this._gone = false;
          this._tell();
          void this._askLaunchers();
        }
        break;
      case 'gone':
        if (news.id === this.id) {
          this._gone = true;
          this._tell();
        }
        break;
      case 'log':
        if (news.id === this.id) {
          this._logs.get(news.log.rank)?.take(news.log);
          if (this._logProblem && news.log.rank === this._watchedRank) {
            this._logProblem = null;
            this._tell();
          }
        }
        break;
      case 'problem':
        if (news.topic?.id === this.id) {
          this._onProblem(news);
        }
        break;
    }
  };

  private _onProblem({ topic, message, hint }: ProblemNews): void {
    if (topic?.topic === 'job') {
      this._problem = { message, hint };
    } else if (topic?.topic === 'log' && topic.rank === this._watchedRank) {
      this._logProblem = { message, hint };
    }
    this._tell();
  }

  private _onState = (): void => {
    if (this._stream.state === 'live') {
      this._unreachable = false;
      this._logs.forEach(log => {
        if (log.problem || log.rank === this._watchedRank) {
          log.retry();
        }
      });
    }
    this._tell();
  };

  private _settleCosts(): void {
    const goesOn = this._detail !== null && isActive(this._detail.item) && !this._gone;
    this._costs.wanted = this._seen && goesOn && !this._isDisposed;
  }

  private _tell(): void {
    this._settleCosts();
    if (!this._isDisposed) {
      this._changed.emit();
    }
  }

  private _stream: IAiInfraStream;
  private _costs: CostFeed;
  private _seen = false;
  private _watching: IDisposable;
  private _watchingLog: IDisposable | null = null;
  private _watchedRank: number | null = null;
  private _logs = new Map<number, LogModel>();
  private _detail: JobDetail | null = null;
  private _launchers = new Set<number>();
  private _askedLaunchersAt: string | null = null;
  private _gone = false;
  private _unreachable = false;
  private _problem: IProblem | null = null;
  private _logProblem: IProblem | null = null;
  private _isDisposed = false;
  private _changed = new Signal<JobPageModel, void>(this);
}
