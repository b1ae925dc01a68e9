/** What our plugins give to each other, and to other extensions. */

import type { Extension } from '@codemirror/state';
import type { EditorView } from '@codemirror/view';
import type { CodeEditor } from '@jupyterlab/codeeditor';
import { Token } from '@lumino/coreutils';
import type { IDisposable } from '@lumino/disposable';
import type { ISignal } from '@lumino/signaling';

import type { Health } from './api/health';
import type { GpuTopic, LiveGpus } from './gpus/live';
import type {
  AttachRequest,
  BudgetDetail,
  BudgetItem,
  BudgetRequest,
  BudgetsNews,
  CatalogItem,
  CostReport,
  CostSummary,
  EndedNews,
  EndpointDetail,
  EndpointItem,
  EndpointKey,
  EndpointKeyRequest,
  EndpointOptions,
  EndpointSamples,
  EndpointSecret,
  FileItem,
  GoneNews,
  GpuPast,
  GpuRange,
  GpusDelta,
  GpusFrame,
  HelloNews,
  IdleItem,
  IdleRule,
  JobCostItem,
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
  PreviewItem,
  PriceItem,
  PriceRequest,
  ProblemNews,
  RunItem,
  RunsPage,
  ScaleRequest,
  ScheduleDetail,
  ScheduleItem,
  ScheduleRequest,
  TagRequest,
  Topic,
  Values,
  WhatIfReport
} from './api/types';
import type { Rates } from './models/endpointrates';
import type {
  Comparison,
  NotebookContent,
  RunNotebook,
  RunNotebookNews,
  RunProgress,
  RunsNews,
  SchedulesNews,
  VersionDiff
} from './models/schedulewire';

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
  refresh: 'aiinfra:refresh',
  allowNotifications: 'aiinfra:allow-notifications',
  insertCell: 'aiinfra:insert-cell',
  attachJob: 'aiinfra:attach-job',
  dryRun: 'aiinfra:dry-run',
  choosePool: 'aiinfra:choose-pool',
  /** Takes `{ pool, node, job }`, all of which may be left out. */
  openGpus: 'aiinfra:open-gpus',
  /** Takes `{ pool, job, by }`, all of which may be left out. */
  openCost: 'aiinfra:open-cost',
  /** Takes `{ scope, subject }`, or the `{ id }` of one to change; all may be left out. */
  setBudget: 'aiinfra:set-budget',
  /** Takes `{ id, seconds }`; without seconds an hour, `null` wakes it up. */
  snoozeBudget: 'aiinfra:snooze-budget',
  /** Takes `{ id }`: ends the jobs that the budget counts. */
  stopBudget: 'aiinfra:stop-budget',
  /** Takes `{ id }`. */
  removeBudget: 'aiinfra:remove-budget',
  /** Takes `{ id }` of a job, which is never stopped for idle GPUs from then on. */
  leaveIdle: 'aiinfra:leave-idle',
  /** Takes `{ name }` of a pool. */
  setPrice: 'aiinfra:set-price',
  /** Takes `{ path }` of a notebook; that of the notebook in front where it is left out. */
  scheduleNotebook: 'aiinfra:schedule-notebook',
  // Those on a schedule take its `{ id }`.
  editSchedule: 'aiinfra:edit-schedule',
  duplicateSchedule: 'aiinfra:duplicate-schedule',
  pauseSchedule: 'aiinfra:pause-schedule',
  resumeSchedule: 'aiinfra:resume-schedule',
  runSchedule: 'aiinfra:run-schedule',
  removeSchedule: 'aiinfra:remove-schedule',
  /** Takes `{ schedule, tab }`, both of which may be left out. */
  openSchedules: 'aiinfra:open-schedules',
  // Those on a run take its `{ id }`.
  openRun: 'aiinfra:open-run',
  cancelRun: 'aiinfra:cancel-run',
  rerunRun: 'aiinfra:rerun-run',
  removeRun: 'aiinfra:remove-run',
  /** Takes `{ endpoint, tab }`, both of which may be left out. */
  openEndpoints: 'aiinfra:open-endpoints',
  // Those on an endpoint take its `{ id }`; it is asked for when left out.
  openEndpoint: 'aiinfra:open-endpoint',
  /** Takes `{ id, to }`; without `to` it ends what is tried out, or goes to the version before. */
  rollbackEndpoint: 'aiinfra:rollback-endpoint',
  promoteEndpoint: 'aiinfra:promote-endpoint',
  /** Takes `{ id, least, most }`; what is left out is asked for. */
  scaleEndpoint: 'aiinfra:scale-endpoint',
  removeEndpoint: 'aiinfra:remove-endpoint',
  /** Takes `{ endpoint }`, the name of one that gets another version; may be left out. */
  deployNotebook: 'aiinfra:deploy-notebook'
} as const;

/** What a search of jobs may be narrowed to. `state` is `active`, `ended` or one state. */
export interface IJobQuery {
  pool?: string;
  state?: string;
  search?: string;
  before?: string;
  limit?: number;
}

/** What kept requests may be narrowed to; the newest first. */
export interface ISampleQuery {
  version?: number | undefined;
  /** Only those with a status from 400 on. */
  errors?: boolean | undefined;
  /** `next` of the page before. */
  before?: string | undefined;
  limit?: number | undefined;
}

/** What runs of schedules may be narrowed to; the newest first. */
export interface IRunQuery {
  /** The id of their schedule. */
  schedule?: string | undefined;
  /** One state or several, with commas between them. */
  state?: string | undefined;
  /** In the id, the reason or the name of the schedule. */
  text?: string | undefined;
  /** Made since then, in seconds since the epoch. */
  since?: number | undefined;
  /** Those behind the run of this id. */
  before?: string | undefined;
  limit?: number | undefined;
}

/** As what the result of a run can be had. */
export type ResultForm = 'ipynb' | 'html' | 'py' | 'pdf';

/** The launchers have numbers too: -1 is that of the first node, -2 that of the second. */
export interface ILogQuery {
  id: string;
  rank: number;
}

/** Which GPUs: those of a pool, of one node of it, or of a job; see the topic `gpus`. */
export interface IGpuQuery {
  pool?: string | null | undefined;
  node?: string | null | undefined;
  job?: string | null | undefined;
}

/** Times are in seconds since the epoch. */
export interface IGpuRangeQuery extends IGpuQuery {
  /** An hour before the end where it is left out; of a job its beginning. */
  start?: number | undefined;
  /** Now where it is left out; of a job its end. */
  end?: number | undefined;
  /** Buckets at most. */
  points?: number;
  series?: readonly string[];
  /** Only these, by their UUIDs. */
  gpus?: readonly string[];
  /** What a curve is of. */
  by?: 'gpu' | 'node' | 'pool' | 'user' | 'job' | 'rank';
  /** GPUs, or the nodes themselves. */
  of?: 'gpus' | 'nodes';
}

/** What a bill may be split by. */
export type CostDimension =
  'job' | 'notebook' | 'user' | 'pool' | 'project' | 'team' | 'cost_centre' | 'day';

/** A time: by its name (`today`, `month`, `2026-11`, `DATE..DATE`), or in seconds; else today. */
export interface ICostTime {
  period?: string | undefined;
  start?: number | undefined;
  end?: number | undefined;
}

/** What of a time is asked for: split by something, and of these alone. */
export interface ICostQuery extends ICostTime {
  /** By job where it is left out. */
  by?: CostDimension;
  job?: string | undefined;
  notebook?: string | undefined;
  user?: string | undefined;
  pool?: string | undefined;
  project?: string | undefined;
  team?: string | undefined;
  cost_centre?: string | undefined;
}

/** What an endpoint has answered, whatever it was. */
export interface IEndpointAnswer {
  status: number;
  /** `OK`, `Bad Request`; may be empty. */
  statusText: string;
  /** From asking to the end of the answer, as it took from here. */
  milliseconds: number;
  /** The version that answered; `null` where that is not said. */
  version: string | null;
  /** The media type; may be empty. */
  kind: string;
  text: string;
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
  /** Aborted, it leaves nothing attached, unless that was done just before. */
  attachPool(request: AttachRequest, signal?: AbortSignal): Promise<PoolItem>;
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

  /** A fresh look; takes a second or two where nobody looks at these GPUs. */
  gpus(query: IGpuQuery & { detail?: 'gpus' | 'nodes' }): Promise<GpusFrame>;
  /** The samples after a time, by the second, as far as an hour is kept. */
  gpuHistory(query: IGpuQuery & { since: number }): Promise<GpuPast[]>;
  /** What was recorded. */
  gpuRange(query: IGpuRangeQuery, signal?: AbortSignal): Promise<GpuRange>;

  /** What an hour costs now, and what today and this month have. */
  costNow(): Promise<CostSummary>;
  /** What a time has cost; takes a second or two where there is much to bring up to date. */
  cost(query?: ICostQuery, signal?: AbortSignal): Promise<CostReport>;
  /** Of each of these jobs that is on record, 500 at most. */
  jobCosts(ids: readonly string[]): Promise<JobCostItem[]>;
  /** Where the browser downloads usage by the hour from, as CSV. */
  costExportUrl(query?: ICostTime): string;
  /** Known prices, the cheapest GPU-hour first. */
  prices(query?: { search?: string; limit?: number }): Promise<CatalogItem[]>;
  /** What a pool costs and did, the newest first; empty where nobody has said. */
  poolPrices(pool: string): Promise<PriceItem[]>;
  /** Refused, its `option` names what is wrong: `price`, `sku`, `region`, `currency`, `since`. */
  setPoolPrice(pool: string, request: PriceRequest): Promise<PriceItem>;
  /** Refused where the job has reported no steps that could be gone by. */
  whatif(id: string): Promise<WhatIfReport>;
  /** Say all tags of a job anew. */
  setTags(id: string, request: TagRequest): Promise<TagRequest>;

  budgets(): Promise<BudgetItem[]>;
  budget(id: string): Promise<BudgetDetail>;
  /** Refused, its `option` names what is wrong: `amount`, `scope`, `period`, `warn_at` and so on. */
  setBudget(request: BudgetRequest): Promise<BudgetItem>;
  /** Have it do nothing for so long; `null` wakes it up. */
  snoozeBudget(id: string, seconds: number | null): Promise<BudgetItem>;
  /** End the jobs that it counts, with time to save; resolves to their ids. */
  stopBudgetJobs(id: string): Promise<string[]>;
  removeBudget(id: string): Promise<void>;

  /** Who holds GPUs without using them: reads the GPUs, which takes a few seconds. */
  idle(pool?: string): Promise<IdleItem>;
  /** Of a pool or a job, by its id; `null` is what the settings say. */
  setIdle(name: string, rule: IdleRule | null): Promise<void>;

  schedules(options?: { removed?: boolean }): Promise<ScheduleItem[]>;
  schedule(id: string): Promise<ScheduleDetail>;
  /**
   * The next ten slots of what is not made yet, and what its notebook takes; parameters that are
   * still to be given are none's fault here. Of `schedule` where that is what is edited.
   */
  previewSchedule(
    request: ScheduleRequest,
    options?: { schedule?: string; signal?: AbortSignal }
  ): Promise<PreviewItem>;
  /** Refused, its `option` names what is wrong: a parameter, or `cron`, `pool`, `timezone` etc. */
  addSchedule(request: ScheduleRequest): Promise<ScheduleItem>;
  /** Makes a new version, of the notebook as it is now. */
  editSchedule(id: string, request: ScheduleRequest): Promise<ScheduleItem>;
  removeSchedule(id: string): Promise<void>;
  /** Put back what was removed. */
  restoreSchedule(id: string): Promise<ScheduleItem>;
  pauseSchedule(id: string, reason?: string): Promise<ScheduleItem>;
  resumeSchedule(id: string): Promise<ScheduleItem>;
  rollbackSchedule(id: string, version: number): Promise<ScheduleItem>;
  duplicateSchedule(id: string, name: string): Promise<ScheduleItem>;
  /** Ask for a run beside the slots; `parameters` go over those of the schedule. */
  runSchedule(id: string, parameters?: Values): Promise<RunItem>;
  versionDiff(id: string, from: number, to: number): Promise<VersionDiff>;

  runs(query?: IRunQuery, signal?: AbortSignal): Promise<RunsPage>;
  run(id: string): Promise<RunItem>;
  cancelRun(id: string): Promise<RunItem>;
  /** The same version with the same values once more. */
  rerun(id: string): Promise<RunItem>;
  /** Refused where the run is not over. */
  removeRun(id: string): Promise<void>;
  runNotebook(id: string): Promise<RunNotebook>;
  /** Where the browser downloads a result from. */
  runOutputUrl(id: string, form: ResultForm): string;
  compareRuns(id: string, other: string): Promise<Comparison>;

  endpoints(options?: { removed?: boolean }): Promise<EndpointItem[]>;
  endpoint(id: string): Promise<EndpointDetail>;
  /** Give all requests to what is tried out; no gate is asked. */
  promoteEndpoint(id: string): Promise<EndpointItem>;
  /** End what is tried out, or go back to the version before, or to that which is named. */
  rollbackEndpoint(id: string, options?: { to?: number; reason?: string }): Promise<EndpointItem>;
  /** Divide the requests: weights by version. Refused while a change is under way. */
  splitEndpoint(id: string, weights: Readonly<Record<string, number>>): Promise<EndpointItem>;
  scaleEndpoint(id: string, request: ScaleRequest): Promise<EndpointItem>;
  /** What the router does for it, all of it: what is left out is as in a new endpoint. */
  configureEndpoint(id: string, options: EndpointOptions): Promise<EndpointItem>;
  /** Requests that are kept with their answers, newest first. */
  endpointSamples(id: string, query?: ISampleQuery): Promise<EndpointSamples>;
  removeEndpoint(id: string): Promise<void>;
  /** Put back what was removed. */
  restoreEndpoint(id: string): Promise<EndpointItem>;
  addEndpointKey(id: string, request: EndpointKeyRequest): Promise<EndpointSecret>;
  /** A key in place of another, which holds for an hour more. */
  rotateEndpointKey(id: string, key: string): Promise<EndpointSecret>;
  revokeEndpointKey(id: string, key: string): Promise<EndpointKey>;
  /** Where this server passes calls on, for who may use it. */
  endpointUrl(name: string, path: string): string;
  /** Ask an endpoint through this server; what it refuses is an answer like any other. */
  callEndpoint(
    name: string,
    path: string,
    options: { body: string; signal?: AbortSignal }
  ): Promise<IEndpointAnswer>;
}

export const IAiInfraApi = new Token<IAiInfraApi>(
  'jupyter-aiinfra:IAiInfraApi',
  'The REST endpoints of the AI Infra server extension.'
);

/** Any message of the server's socket. */
export type News =
  | HelloNews
  | PoolsNews
  | JobsNews
  | JobNews
  | BudgetsNews
  | GoneNews
  | LogNews
  | EndedNews
  | GpusFrame
  | GpusDelta
  | SchedulesNews
  | RunsNews
  | RunNotebookNews
  | ProblemNews;

/** Whether the socket is open; `sleeping` while the page is hidden or nothing is watched. */
export type StreamState = 'sleeping' | 'connecting' | 'live' | 'lost';

export interface IWatchOptions {
  /** Go on while the page is hidden: for what tells the user of something through the browser. */
  whileHidden?: boolean;
}

/**
 * The one socket of this page. It reconnects by itself with growing pauses, says again what is
 * watched, and is closed while nothing is watched or the page is hidden.
 */
export interface IAiInfraStream {
  readonly state: StreamState;
  readonly stateChanged: ISignal<IAiInfraStream, StreamState>;
  readonly news: ISignal<IAiInfraStream, News>;
  /** Watch `topic` until what is returned is disposed. Many may watch the same. */
  watch(topic: Topic, options?: IWatchOptions): IDisposable;
  /** Ask for everything watched again, and do not wait for the next try where the server is lost. */
  refresh(): void;
}

export const IAiInfraStream = new Token<IAiInfraStream>(
  'jupyter-aiinfra:IAiInfraStream',
  'What the AI Infra server extension streams: pools, jobs and logs as they change.'
);

/** What an error says: what is wrong, and what to do about it (may be empty). */
export interface IProblem {
  readonly message: string;
  readonly hint: string;
}

/** A job, or a budget, on its way out: it is hidden, and removed when the time to think again is over. */
export interface IRemoval {
  /** Take it back. `false` when it is too late. */
  undo(): boolean;
  /** Resolves to whether it was removed; rejects where the server refused, and the job is back. */
  readonly done: Promise<boolean>;
}

/** The jobs this page knows, newest first, kept up to date while somebody watches. */
export interface IJobsModel {
  readonly jobs: readonly JobItem[];
  /** How many jobs are not over; `null` before that is known. */
  readonly active: number | null;
  /** The last of the newest jobs, all of which are known; `null` when there is none. */
  readonly oldest: JobItem | null;
  /** Whether the server has older jobs than that. */
  readonly more: boolean;
  /** How often all was told anew: what was taken in beyond `oldest` is forgotten then. */
  readonly resets: number;
  /** Why there is no news of the jobs just now; `null` when there is. */
  readonly problem: IProblem | null;
  readonly changed: ISignal<IJobsModel, void>;
  /** A job that has come to its end while this page looked on. */
  readonly ended: ISignal<IJobsModel, JobItem>;
  /** Keep the model up to date until what is returned is disposed. */
  watch(options?: IWatchOptions): IDisposable;
  find(id: string): JobItem | undefined;
  /** Take in what a request has answered. An answer that the stream has overtaken counts less. */
  take(jobs: readonly JobItem[]): void;
  /** Stop a job. It reads as stopping at once, and no longer where the server refuses. */
  cancel(id: string): Promise<void>;
  /** Launch the same again. */
  rerun(id: string): Promise<JobItem>;
  /** Hide a job now and remove it after `seconds`. A page that is left before leaves the job. */
  remove(id: string, seconds: number): IRemoval;
}

/** The list of jobs in the panel: commands that are given no job act on what is selected there. */
export interface IJobSelection {
  readonly selected: JobItem | null;
  readonly changed: ISignal<IJobSelection, void>;
  select(id: string | null): void;
}

/** The attached pools, kept up to date while somebody watches. `null` before they are known. */
export interface IPoolsModel {
  readonly pools: readonly PoolItem[] | null;
  /** Why there is no news of the pools just now; `null` when there is. */
  readonly problem: IProblem | null;
  readonly changed: ISignal<IPoolsModel, void>;
  watch(options?: IWatchOptions): IDisposable;
}

/** The budgets, kept up to date while somebody watches. `null` before they are known. */
export interface IBudgetsModel {
  readonly budgets: readonly BudgetItem[] | null;
  /** Why there is no news of the budgets just now; `null` when there is. */
  readonly problem: IProblem | null;
  readonly changed: ISignal<IBudgetsModel, void>;
  watch(options?: IWatchOptions): IDisposable;
  find(id: string): BudgetItem | undefined;
  /** Those that count a job. */
  of(job: string): BudgetItem[];
  set(request: BudgetRequest): Promise<BudgetItem>;
  /** Have one do nothing for so long; `null` wakes it up. It reads as snoozed with the answer. */
  snooze(id: string, seconds: number | null): Promise<BudgetItem>;
  /** End the jobs that it counts, with time to save; resolves to their ids. */
  stop(id: string): Promise<string[]>;
  /** Hide one now and forget it after `seconds`. Until then it acts; left before, it stays. */
  remove(id: string, seconds: number): IRemoval;
}

/**
 * What is spent now, asked for every few seconds while somebody watches, the page is visible and
 * jobs go on; every few minutes where none do.
 */
export interface ISpendModel {
  /** The last answer; `null` before there is one. */
  readonly now: CostSummary | null;
  /** Why there was no answer the last time; `null` when there was. */
  readonly problem: IProblem | null;
  readonly changed: ISignal<ISpendModel, void>;
  watch(): IDisposable;
  /** Ask now: something has changed what an hour costs. */
  refresh(): void;
}

/** The GPUs of any scope, as they are, for all of this page that shows them. */
export interface IGpusModel {
  /** The same for whoever asks for the same GPUs while one of them watches. */
  of(topic: GpuTopic): LiveGpus;
}

/**
 * The schedules, by name, kept up to date while somebody watches; `null` before they are known.
 *
 * What changes one reads so with the server's answer, and does not wait for news of it.
 */
export interface ISchedulesModel {
  readonly schedules: readonly ScheduleItem[] | null;
  /** Why there is no news of the schedules just now; `null` when there is. */
  readonly problem: IProblem | null;
  readonly changed: ISignal<ISchedulesModel, void>;
  watch(options?: IWatchOptions): IDisposable;
  find(id: string): ScheduleItem | undefined;
  /** Take in what a request has answered. */
  take(item: ScheduleItem): ScheduleItem;
  add(request: ScheduleRequest): Promise<ScheduleItem>;
  /** Make a new version. */
  edit(id: string, request: ScheduleRequest): Promise<ScheduleItem>;
  duplicate(id: string, name: string): Promise<ScheduleItem>;
  pause(id: string, reason?: string): Promise<ScheduleItem>;
  resume(id: string): Promise<ScheduleItem>;
  rollback(id: string, version: number): Promise<ScheduleItem>;
  restore(id: string): Promise<ScheduleItem>;
  /** Ask for a run beside the slots. */
  run(id: string, parameters?: Values): Promise<RunItem>;
  /** Hide one now and remove it after `seconds`. It runs until then; left before, it stays. */
  remove(id: string, seconds: number): IRemoval;
}

/** Runs of one schedule, or of all, newest first, kept up to date while somebody watches. */
export interface IRunsModel {
  /** The id of the schedule; `null`: of all. */
  readonly schedule: string | null;
  /** `null` before they are known. */
  readonly runs: readonly RunItem[] | null;
  /** Whether the server has older ones than those it tells by itself. */
  readonly more: boolean;
  /** How often all was told anew: what was taken in beyond the newest is forgotten then. */
  readonly resets: number;
  readonly problem: IProblem | null;
  readonly changed: ISignal<IRunsModel, void>;
  watch(options?: IWatchOptions): IDisposable;
  find(id: string): RunItem | undefined;
  /** Take in what a request has answered. An answer that the stream has overtaken counts less. */
  take(runs: readonly RunItem[]): void;
  /** Stop a run. It reads as stopping at once, and no longer where the server refuses. */
  cancel(id: string): Promise<RunItem>;
  rerun(id: string): Promise<RunItem>;
  /** Hide a run that is over, and delete it after `seconds`. A page that is left before leaves it. */
  remove(id: string, seconds: number): IRemoval;
}

/** The notebook of one run, kept up to date while somebody watches: live, read only. */
export interface IRunNotebookModel extends IDisposable {
  readonly id: string;
  /** Where it stands; `null` before that is known. */
  readonly progress: RunProgress | null;
  /** `null` before it is known, and where there is none; `problem` says why. */
  readonly notebook: NotebookContent | null;
  readonly problem: IProblem | null;
  /** Anything of it has changed. */
  readonly changed: ISignal<IRunNotebookModel, void>;
  /** These cells, counted from 0, have changed; `null`: all of it is another. */
  readonly cellsChanged: ISignal<IRunNotebookModel, readonly number[] | null>;
  watch(options?: IWatchOptions): IDisposable;
}

/**
 * The endpoints, by name, asked for every two seconds while somebody watches and the page is
 * visible; `null` before they are known.
 */
export interface IEndpointsModel {
  readonly endpoints: readonly EndpointItem[] | null;
  /** Why there was no answer the last time; `null` when there was. */
  readonly problem: IProblem | null;
  readonly changed: ISignal<IEndpointsModel, void>;
  /** How their counters have grown while one watched. */
  readonly rates: Rates;
  watch(): IDisposable;
  /** Ask now. */
  refresh(): void;
  /** By its id or its name. */
  find(id: string): EndpointItem | undefined;
  promote(id: string): Promise<EndpointItem>;
  rollback(id: string, to?: number): Promise<EndpointItem>;
  split(id: string, weights: Readonly<Record<string, number>>): Promise<EndpointItem>;
  scale(id: string, request: ScaleRequest): Promise<EndpointItem>;
  configure(id: string, options: EndpointOptions): Promise<EndpointItem>;
  /** Hide one now and remove it after `seconds`. It serves until then; left before, it stays. */
  remove(id: string, seconds: number): IRemoval;
  addKey(id: string, request: EndpointKeyRequest): Promise<EndpointSecret>;
  rotateKey(id: string, key: string): Promise<EndpointSecret>;
  revokeKey(id: string, key: string): Promise<EndpointKey>;
}

export interface IAiInfraModels {
  readonly jobs: IJobsModel;
  readonly pools: IPoolsModel;
  readonly gpus: IGpusModel;
  readonly selection: IJobSelection;
  readonly budgets: IBudgetsModel;
  readonly spend: ISpendModel;
  readonly schedules: ISchedulesModel;
  /** Runs of all schedules. */
  readonly runs: IRunsModel;
}

export const IAiInfraModels = new Token<IAiInfraModels>(
  'jupyter-aiinfra:IAiInfraModels',
  'The pools, jobs, GPUs, budgets and the cost as this page knows them.'
);

/** What the user may set, by the names in `schema/settings.json`. */
export interface ISettingValues {
  notifyWhenDone: boolean;
  notifyOfBudgets: boolean;
  notifyOfRuns: 'never' | 'failures' | 'all';
  notifyInBrowser: 'never' | 'when hidden' | 'always';
  showStatusBar: boolean;
  showGpusInStatusBar: boolean;
  showCostInStatusBar: boolean;
  followLog: boolean;
  wrapLines: boolean;
  cellToolbar: boolean;
  lintLaunchLine: boolean;
}

/** The user's settings; the defaults until they are loaded, and where nothing keeps settings. */
export interface IAiInfraSettings {
  /** Resolves once `get` answers what the user has set, or it is known that nobody keeps that. */
  readonly ready: Promise<void>;
  readonly changed: ISignal<IAiInfraSettings, void>;
  get<K extends keyof ISettingValues>(key: K): ISettingValues[K];
}

export const IAiInfraSettings = new Token<IAiInfraSettings>(
  'jupyter-aiinfra:IAiInfraSettings',
  'The settings of AI Infra, typed.'
);

/** What is wrong with the text of a cell from `start` up to `end`. */
export interface ILineProblem {
  readonly start: number;
  readonly end: number;
  readonly message: string;
  readonly hint: string;
}

/** What the server finds wrong with the launch line of one cell. */
export interface ILineCheck {
  /** As of the last answer; positions are those of the text that was checked. */
  readonly problems: readonly ILineProblem[];
  readonly changed: ISignal<ILineCheck, void>;
}

/** An editor whose text begins with `%%accelerate`. */
export interface ILaunchCell {
  readonly model: CodeEditor.IModel;
  readonly view: EditorView;
  readonly isClosed: boolean;
  /** Begins to check the line when first asked for, and goes on until the cell is closed. */
  check(): Promise<ILineCheck>;
  /** Put `extension` into the editor, in place of what was put there before. */
  draw(extension: Extension): void;
}

/** The launch cells in editors of this page; one that is opened later is told of. */
export interface ILaunchCells {
  readonly cells: ReadonlySet<ILaunchCell>;
  readonly opened: ISignal<ILaunchCells, ILaunchCell>;
  readonly closed: ISignal<ILaunchCells, ILaunchCell>;
}

export const ILaunchCells = new Token<ILaunchCells>(
  'jupyter-aiinfra:ILaunchCells',
  'The editors of this page that hold a %%accelerate cell.'
);
