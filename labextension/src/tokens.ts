/** What our plugins give to each other, and to other extensions. */

import { Token } from '@lumino/coreutils';
import type { IDisposable } from '@lumino/disposable';
import type { ISignal } from '@lumino/signaling';

import type { Health } from './api/health';
import type {
  AttachRequest,
  EndedNews,
  FileItem,
  GoneNews,
  HelloNews,
  JobDetail,
  JobItem,
  JobNews,
  JobPage,
  JobsNews,
  LineReport,
  LineWords,
  LogNews,
  LogRows,
  LogSearch,
  PlanText,
  PoolItem,
  PoolKind,
  PoolsNews,
  ProblemNews,
  Topic
} from './api/types';

/** The commands other extensions may call. Those on a job take `{ id: string }`. */
export const CommandIDs = {
  check: 'aiinfra:check',
  showPanel: 'aiinfra:show-panel',
  attachPool: 'aiinfra:attach-pool',
  checkPool: 'aiinfra:check-pool',
  detachPool: 'aiinfra:detach-pool',
  openJob: 'aiinfra:open-job',
  cancelJob: 'aiinfra:cancel-job',
  rerunJob: 'aiinfra:rerun-job',
  removeJob: 'aiinfra:remove-job',
  insertCell: 'aiinfra:insert-cell',
  attachJob: 'aiinfra:attach-job',
  dryRun: 'aiinfra:dry-run',
  choosePool: 'aiinfra:choose-pool'
} as const;

/** What a search of jobs may be narrowed to. `state` is `active`, `ended` or one state. */
export interface IJobQuery {
  pool?: string;
  state?: string;
  search?: string;
  before?: string;
  limit?: number;
}

/** The pseudo-rank of the launcher is -1 in what is answered; here it may be asked for by it. */
export interface ILogQuery {
  id: string;
  rank: number;
}

/**
 * The server extension, as the front end knows it: one method a question.
 *
 * Every method rejects with a `RequestError` only.
 */
export interface IAiInfraApi {
  /** A database that cannot be reached is a report, not a rejection. */
  health(): Promise<Health>;

  kinds(): Promise<PoolKind[]>;
  pools(): Promise<PoolItem[]>;
  attachPool(request: AttachRequest): Promise<PoolItem>;
  detachPool(name: string, options?: { force?: boolean }): Promise<void>;
  /** Ask the pool itself, now. An unreachable pool says so and is no rejection. */
  checkPool(name: string): Promise<PoolItem>;

  jobs(query?: IJobQuery): Promise<JobPage>;
  job(id: string): Promise<JobDetail>;
  cancelJob(id: string, options?: { graceSeconds?: number }): Promise<JobItem>;
  rerunJob(id: string): Promise<JobItem>;
  removeJob(id: string): Promise<void>;
  plan(id: string): Promise<PlanText>;

  files(id: string): Promise<FileItem[]>;
  /** Where the browser downloads a file of a job from. */
  fileUrl(id: string, path: string): string;

  /** `count` rows from row `first` on; a negative `first` counts from the end. */
  logRows(query: ILogQuery & { first: number; count: number }): Promise<LogRows>;
  searchLog(
    query: ILogQuery & { text: string; from?: number; limit?: number; matchCase?: boolean }
  ): Promise<LogSearch>;
  /** Where the browser downloads a whole log from. */
  logUrl(query: ILogQuery): string;

  checkLine(line: string): Promise<LineReport>;
  lineWords(): Promise<LineWords>;
}

export const IAiInfraApi = new Token<IAiInfraApi>(
  'jupyter-aiinfra:IAiInfraApi',
  'The REST endpoints of the AI Infra server extension.'
);

/** Any message of the server's socket. */
export type News =
  HelloNews | PoolsNews | JobsNews | JobNews | GoneNews | LogNews | EndedNews | ProblemNews;

/** Whether the socket is open; `sleeping` while the page is hidden or nothing is watched. */
export type StreamState = 'sleeping' | 'connecting' | 'live' | 'lost';

/**
 * The one socket of this page. It reconnects by itself with growing pauses, says again what is
 * watched, and is closed while nothing is watched or the page is hidden.
 */
export interface IAiInfraStream {
  readonly state: StreamState;
  readonly stateChanged: ISignal<IAiInfraStream, StreamState>;
  readonly news: ISignal<IAiInfraStream, News>;
  /** Watch `topic` until what is returned is disposed. Many may watch the same. */
  watch(topic: Topic): IDisposable;
}

export const IAiInfraStream = new Token<IAiInfraStream>(
  'jupyter-aiinfra:IAiInfraStream',
  'What the AI Infra server extension streams: pools, jobs and logs as they change.'
);

/** The jobs this page knows, newest first, kept up to date while somebody watches. */
export interface IJobsModel {
  readonly jobs: readonly JobItem[];
  /** How many jobs are not over; `null` before that is known. */
  readonly active: number | null;
  readonly changed: ISignal<IJobsModel, void>;
  /** A job that has come to its end while this page looked on. */
  readonly ended: ISignal<IJobsModel, JobItem>;
  /** Keep the model up to date until what is returned is disposed. */
  watch(): IDisposable;
  find(id: string): JobItem | undefined;
}

/** The attached pools, kept up to date while somebody watches. `null` before they are known. */
export interface IPoolsModel {
  readonly pools: readonly PoolItem[] | null;
  readonly changed: ISignal<IPoolsModel, void>;
  watch(): IDisposable;
}

export interface IAiInfraModels {
  readonly jobs: IJobsModel;
  readonly pools: IPoolsModel;
}

export const IAiInfraModels = new Token<IAiInfraModels>(
  'jupyter-aiinfra:IAiInfraModels',
  'The pools and jobs as this page knows them.'
);
