/** The endpoints of the server extension, one method each. */

import { URLExt } from '@jupyterlab/coreutils';
import type { ServerConnection } from '@jupyterlab/services';

import { NAMESPACE, request } from '../request';
import type {
  IAiInfraApi,
  ICostQuery,
  ICostTime,
  IEndpointAnswer,
  IGpuQuery,
  IGpuRangeQuery,
  IJobQuery,
  ILogQuery,
  IRunQuery,
  ISampleQuery,
  ResultForm
} from '../tokens';
import type { Comparison, RunNotebook, VersionDiff } from '../models/schedulewire';
import { callEndpoint } from './endpointcall';
import { parseHealth, type Health } from './health';
import type {
  AttachRequest,
  BudgetDetail,
  BudgetItem,
  BudgetRequest,
  BudgetsNews,
  CatalogItem,
  CostReport,
  CostSummary,
  EndpointDetail,
  EndpointItem,
  EndpointKey,
  EndpointKeyRequest,
  EndpointOptions,
  EndpointSamples,
  EndpointSecret,
  FileItem,
  GpuPast,
  GpuRange,
  GpusFrame,
  IdleItem,
  IdleRule,
  JobCostItem,
  JobDetail,
  JobItem,
  JobPage,
  LineReport,
  LineWords,
  LogRows,
  LogSearch,
  PlanText,
  PoolItem,
  PoolKind,
  PreviewItem,
  PriceItem,
  PriceRequest,
  RunItem,
  RunsPage,
  ScaleRequest,
  ScheduleDetail,
  ScheduleItem,
  ScheduleRequest,
  TagRequest,
  Values as ParameterValues,
  WhatIfReport
} from './types';

/** The pseudo-rank whose log is what the launcher itself printed. */
const LAUNCHER = -1;

type Values = Record<string, string | number | boolean | null | undefined>;

/** Talks REST to the server that `settings` name. */
export class ApiClient implements IAiInfraApi {
  constructor(settings: ServerConnection.ISettings) {
    this._settings = settings;
  }

  health(): Promise<Health> {
    return request('health', { settings: this._settings, parse: parseHealth });
  }

  kinds(): Promise<PoolKind[]> {
    return this._list('kinds');
  }

  pools(): Promise<PoolItem[]> {
    return this._list('pools');
  }

  attachPool(body: AttachRequest, signal?: AbortSignal): Promise<PoolItem> {
    return this._object('pools', 'POST', body, signal);
  }

  detachPool(name: string, { force = false }: { force?: boolean } = {}): Promise<void> {
    return this._nothing(join('pools', name) + query({ force: force || undefined }), 'DELETE');
  }

  checkPool(name: string): Promise<PoolItem> {
    return this._object(join('pools', name, 'check'), 'POST');
  }

  jobs(asked: IJobQuery = {}): Promise<JobPage> {
    return this._object(`jobs${query({ ...asked })}`);
  }

  job(id: string): Promise<JobDetail> {
    return this._object(join('jobs', id));
  }

  cancelJob(id: string, { graceSeconds }: { graceSeconds?: number } = {}): Promise<JobItem> {
    const body = graceSeconds === undefined ? {} : { grace_seconds: graceSeconds };
    return this._object(join('jobs', id, 'cancel'), 'POST', body);
  }

  rerunJob(id: string): Promise<JobItem> {
    return this._object(join('jobs', id, 'rerun'), 'POST');
  }

  removeJob(id: string): Promise<void> {
    return this._nothing(join('jobs', id), 'DELETE');
  }

  plan(id: string): Promise<PlanText> {
    return this._object(join('jobs', id, 'plan'));
  }

  files(id: string): Promise<FileItem[]> {
    return this._list(join('jobs', id, 'files'));
  }

  fileUrl(id: string, path: string): string {
    return this._url(join('jobs', id, 'files', ...path.split('/')));
  }

  logRows({
    id,
    rank,
    first,
    count
  }: ILogQuery & { first: number; count: number }): Promise<LogRows> {
    return this._object(join('jobs', id, 'logs', rankName(rank), 'rows') + query({ first, count }));
  }

  searchLog({
    id,
    rank,
    text,
    from,
    limit,
    matchCase
  }: ILogQuery & {
    text: string;
    from?: number;
    limit?: number;
    matchCase?: boolean;
  }): Promise<LogSearch> {
    const asked = query({ query: text, from, limit, case: matchCase });
    return this._object(join('jobs', id, 'logs', rankName(rank), 'search') + asked);
  }

  logUrl({ id, rank }: ILogQuery): string {
    return this._url(join('jobs', id, 'logs', rankName(rank)));
  }

  checkLine(line: string): Promise<LineReport> {
    return this._object('launch-line', 'POST', { line });
  }

  lineWords(): Promise<LineWords> {
    return this._object('launch-line');
  }

  gpus(asked: IGpuQuery & { detail?: 'gpus' | 'nodes' }): Promise<GpusFrame> {
    return this._object(`gpus${query({ ...asked })}`);
  }

  gpuHistory(asked: IGpuQuery & { since: number }): Promise<GpuPast[]> {
    return this._list(`gpus/history${query({ ...asked })}`);
  }

  gpuRange({ series, gpus, ...asked }: IGpuRangeQuery, signal?: AbortSignal): Promise<GpuRange> {
    const values = { ...asked, series: series?.join(','), gpus: gpus?.join(',') };
    return this._object(`gpus/range${query(values)}`, 'GET', undefined, signal);
  }

  costNow(): Promise<CostSummary> {
    return this._object('cost/now');
  }

  cost(asked: ICostQuery = {}, signal?: AbortSignal): Promise<CostReport> {
    return this._object(`cost${query({ ...asked })}`, 'GET', undefined, signal);
  }

  jobCosts(ids: readonly string[]): Promise<JobCostItem[]> {
    return this._list(`cost/jobs${query({ ids: ids.join(',') })}`);
  }

  costExportUrl(asked: ICostTime = {}): string {
    return this._url('cost/export') + query({ ...asked });
  }

  prices(asked: { search?: string; limit?: number } = {}): Promise<CatalogItem[]> {
    return this._list(`cost/prices${query({ ...asked })}`);
  }

  poolPrices(pool: string): Promise<PriceItem[]> {
    return this._list(join('pools', pool, 'price'));
  }

  setPoolPrice(pool: string, body: PriceRequest): Promise<PriceItem> {
    return this._object(join('pools', pool, 'price'), 'POST', body);
  }

  whatif(id: string): Promise<WhatIfReport> {
    return this._object(join('jobs', id, 'whatif'));
  }

  setTags(id: string, body: TagRequest): Promise<TagRequest> {
    return this._object(join('jobs', id, 'tags'), 'PUT', body);
  }

  async budgets(): Promise<BudgetItem[]> {
    return (await this._object<BudgetsNews>('budgets')).budgets;
  }

  budget(id: string): Promise<BudgetDetail> {
    return this._object(join('budgets', id));
  }

  setBudget(body: BudgetRequest): Promise<BudgetItem> {
    return this._object('budgets', 'POST', body);
  }

  snoozeBudget(id: string, seconds: number | null): Promise<BudgetItem> {
    return this._object(join('budgets', id, 'snooze'), 'POST', { seconds });
  }

  async stopBudgetJobs(id: string): Promise<string[]> {
    const path = join('budgets', id, 'stop');
    return (await this._object<{ stopped: string[] }>(path, 'POST')).stopped;
  }

  removeBudget(id: string): Promise<void> {
    return this._nothing(join('budgets', id), 'DELETE');
  }

  idle(pool?: string): Promise<IdleItem> {
    return this._object(`idle${query({ pool })}`);
  }

  setIdle(name: string, rule: IdleRule | null): Promise<void> {
    return this._nothing(join('idle', name), 'PUT', { rule });
  }

  async schedules({ removed }: { removed?: boolean } = {}): Promise<ScheduleItem[]> {
    const path = `schedules${query({ removed: removed || undefined })}`;
    return (await this._object<{ schedules: ScheduleItem[] }>(path)).schedules;
  }

  schedule(id: string): Promise<ScheduleDetail> {
    return this._object(join('schedules', id));
  }

  previewSchedule(
    body: ScheduleRequest,
    { schedule, signal }: { schedule?: string; signal?: AbortSignal } = {}
  ): Promise<PreviewItem> {
    return this._object(`schedule-preview${query({ schedule })}`, 'POST', body, signal);
  }

  addSchedule(body: ScheduleRequest): Promise<ScheduleItem> {
    return this._object('schedules', 'POST', body);
  }

  editSchedule(id: string, body: ScheduleRequest): Promise<ScheduleItem> {
    return this._object(join('schedules', id), 'PUT', body);
  }

  removeSchedule(id: string): Promise<void> {
    return this._nothing(join('schedules', id), 'DELETE');
  }

  restoreSchedule(id: string): Promise<ScheduleItem> {
    return this._object(join('schedules', id, 'restore'), 'POST');
  }

  pauseSchedule(id: string, reason = ''): Promise<ScheduleItem> {
    return this._object(join('schedules', id, 'pause'), 'POST', { reason });
  }

  resumeSchedule(id: string): Promise<ScheduleItem> {
    return this._object(join('schedules', id, 'resume'), 'POST');
  }

  rollbackSchedule(id: string, version: number): Promise<ScheduleItem> {
    return this._object(join('schedules', id, 'rollback'), 'POST', { number: version });
  }

  duplicateSchedule(id: string, name: string): Promise<ScheduleItem> {
    return this._object(join('schedules', id, 'duplicate'), 'POST', { name });
  }

  runSchedule(id: string, parameters: ParameterValues = {}): Promise<RunItem> {
    return this._object(join('schedules', id, 'run'), 'POST', { parameters });
  }

  versionDiff(id: string, from: number, to: number): Promise<VersionDiff> {
    return this._object(join('schedules', id, 'diff') + query({ from, to }));
  }

  runs(asked: IRunQuery = {}, signal?: AbortSignal): Promise<RunsPage> {
    return this._object(`runs${query({ ...asked })}`, 'GET', undefined, signal);
  }

  run(id: string): Promise<RunItem> {
    return this._object(join('runs', id));
  }

  cancelRun(id: string): Promise<RunItem> {
    return this._object(join('runs', id, 'cancel'), 'POST');
  }

  rerun(id: string): Promise<RunItem> {
    return this._object(join('runs', id, 'rerun'), 'POST');
  }

  removeRun(id: string): Promise<void> {
    return this._nothing(join('runs', id), 'DELETE');
  }

  runNotebook(id: string): Promise<RunNotebook> {
    return this._object(join('runs', id, 'notebook'));
  }

  runOutputUrl(id: string, form: ResultForm): string {
    return this._url(join('runs', id, 'output')) + query({ form });
  }

  compareRuns(id: string, other: string): Promise<Comparison> {
    return this._object(join('runs', id, 'compare', other));
  }

  async endpoints({ removed }: { removed?: boolean } = {}): Promise<EndpointItem[]> {
    const path = `endpoints${query({ removed: removed || undefined })}`;
    return (await this._object<{ endpoints: EndpointItem[] }>(path)).endpoints;
  }

  endpoint(id: string): Promise<EndpointDetail> {
    return this._object(join('endpoint', id));
  }

  promoteEndpoint(id: string): Promise<EndpointItem> {
    return this._object(join('endpoint', id, 'promote'), 'POST');
  }

  rollbackEndpoint(
    id: string,
    { to, reason = '' }: { to?: number; reason?: string } = {}
  ): Promise<EndpointItem> {
    return this._object(join('endpoint', id, 'rollback'), 'POST', { to: to ?? null, reason });
  }

  splitEndpoint(id: string, weights: Readonly<Record<string, number>>): Promise<EndpointItem> {
    return this._object(join('endpoint', id, 'traffic'), 'POST', { weights });
  }

  scaleEndpoint(id: string, body: ScaleRequest): Promise<EndpointItem> {
    return this._object(join('endpoint', id, 'scale'), 'POST', body);
  }

  configureEndpoint(id: string, body: EndpointOptions): Promise<EndpointItem> {
    return this._object(join('endpoint', id, 'options'), 'PUT', body);
  }

  endpointSamples(id: string, asked: ISampleQuery = {}): Promise<EndpointSamples> {
    return this._object(join('endpoint', id, 'samples') + query({ ...asked }));
  }

  removeEndpoint(id: string): Promise<void> {
    return this._nothing(join('endpoint', id), 'DELETE');
  }

  restoreEndpoint(id: string): Promise<EndpointItem> {
    return this._object(join('endpoint', id, 'restore'), 'POST');
  }

  addEndpointKey(id: string, body: EndpointKeyRequest): Promise<EndpointSecret> {
    return this._object(join('endpoint', id, 'keys'), 'POST', body);
  }

  rotateEndpointKey(id: string, key: string): Promise<EndpointSecret> {
    return this._object(join('endpoint', id, 'keys', key, 'rotate'), 'POST');
  }

  revokeEndpointKey(id: string, key: string): Promise<EndpointKey> {
    return this._object(join('endpoint', id, 'keys', key), 'DELETE');
  }

  endpointUrl(name: string, path: string): string {
    return this._url(join('endpoints', name, ...path.split('/')));
  }

  callEndpoint(
    name: string,
    path: string,
    options: { body: string; signal?: AbortSignal }
  ): Promise<IEndpointAnswer> {
    return callEndpoint(this.endpointUrl(name, path), { ...options, settings: this._settings });
  }

  private _object<T extends object>(
    path: string,
    method = 'GET',
    body?: unknown,
    signal?: AbortSignal
  ): Promise<T> {
    return request(path, {
      settings: this._settings,
      parse: parseObject<T>,
      init: { ...init(method, body), ...(signal && { signal }) }
    });
  }

  private _list<T>(path: string): Promise<T[]> {
    return request(path, { settings: this._settings, parse: parseList<T> });
  }

  private _nothing(path: string, method: string, body?: unknown): Promise<void> {
    return request(path, {
      settings: this._settings,
      parse: () => undefined,
      init: init(method, body)
    });
  }

  /** An address that a link may have: the cookie authenticates, no token goes into it. */
  private _url(path: string): string {
    return URLExt.join(this._settings.baseUrl, NAMESPACE, path);
  }

  private _settings: ServerConnection.ISettings;
}

// The types are made from the server's own OpenAPI file, and both sides come in one package: what
// is checked here is that an answer came from it, not from a proxy in between.

function parseObject<T extends object>(body: unknown): T {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) {
    throw new Error('the answer is not an object');
  }
  return body as T;
}

function parseList<T>(body: unknown): T[] {
  if (!Array.isArray(body)) {
    throw new Error('the answer is not a list');
  }
  return body as T[];
}

function init(method: string, body: unknown): RequestInit {
  return body === undefined ? { method } : { method, body: JSON.stringify(body) };
}

function join(...parts: string[]): string {
  return parts.map(encodeURIComponent).join('/');
}

function query(values: Values): string {
  const given = Object.entries(values).filter(([, value]) => value != null);
  const text = new URLSearchParams(given.map(([name, value]) => [name, String(value)])).toString();
  return text && `?${text}`;
}

function rankName(rank: number): string {
  if (rank >= 0) {
    return String(rank);
  }
  return rank === LAUNCHER ? 'launcher' : `launcher-${LAUNCHER - rank}`;
}
