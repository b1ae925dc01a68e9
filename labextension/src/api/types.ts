/** The wire types under the names we use; `schema.ts` is made from `docs/openapi.json`. */

import type {
  SchemaBudgetRequest,
  SchemaIdleRule,
  SchemaPriceRequest,
  SchemaProblemNews,
  SchemaTopic
} from './schema';

export type {
  SchemaAmount as Amount,
  SchemaAttachRequest as AttachRequest,
  SchemaBudgetDetail as BudgetDetail,
  SchemaBudgetItem as BudgetItem,
  SchemaBudgetsNews as BudgetsNews,
  SchemaCatalogItem as CatalogItem,
  SchemaCostLine as CostLine,
  SchemaCostReport as CostReport,
  SchemaCostSummary as CostSummary,
  SchemaDecision as Decision,
  SchemaEndedNews as EndedNews,
  SchemaFileItem as FileItem,
  SchemaGoneNews as GoneNews,
  SchemaGpuPast as GpuPast,
  SchemaGpusDelta as GpusDelta,
  SchemaGpusFrame as GpusFrame,
  SchemaGpu as Gpu,
  SchemaHelloNews as HelloNews,
  SchemaHostKey as HostKey,
  SchemaIdleItem as IdleItem,
  SchemaIdleJobItem as IdleJobItem,
  SchemaIdleKernelItem as IdleKernelItem,
  SchemaIdleRuleItem as IdleRuleItem,
  SchemaJobCostItem as JobCostItem,
  SchemaJobDetail as JobDetail,
  SchemaJobItem as JobItem,
  SchemaJobNews as JobNews,
  SchemaJobPage as JobPage,
  SchemaJobsNews as JobsNews,
  SchemaJobState as JobState,
  SchemaLineProblem as LineProblem,
  SchemaLineReport as LineReport,
  SchemaLineWords as LineWords,
  SchemaLogNews as LogNews,
  SchemaLogRow as LogRow,
  SchemaLogRows as LogRows,
  SchemaLogSearch as LogSearch,
  SchemaNode as Node,
  SchemaNotice as Notice,
  SchemaOptionItem as OptionItem,
  SchemaPlanText as PlanText,
  SchemaPoolItem as PoolItem,
  SchemaPoolKind as PoolKind,
  SchemaPoolRate as PoolRate,
  SchemaPoolsNews as PoolsNews,
  SchemaPriceItem as PriceItem,
  SchemaRange as GpuRange,
  SchemaCurve as GpuCurve,
  SchemaSilence as Silence,
  SchemaSilentPool as SilentPool,
  SchemaTagRequest as TagRequest,
  SchemaTimelineEntry as TimelineEntry,
  SchemaWhatIfItem as WhatIfItem,
  SchemaWhatIfReport as WhatIfReport
} from './schema';

/** What is watched. What says which GPUs may be left out where it is about none. */
export type Topic = Pick<SchemaTopic, 'topic' | 'id' | 'rank'> & Partial<SchemaTopic>;

// What may be left out of a request has a default on the server; the schema names all of it.
export type BudgetRequest = Pick<SchemaBudgetRequest, 'amount' | 'scope'> &
  Partial<SchemaBudgetRequest>;
export type PriceRequest = Partial<SchemaPriceRequest>;
export type IdleRule = Partial<SchemaIdleRule>;

/** From the browser: watch exactly these topics from now on. */
export interface WatchRequest {
  topics: Topic[];
}

/** Something watched cannot be told of just now, or what was sent is not understood. */
export type ProblemNews = Omit<SchemaProblemNews, 'topic'> & { topic: Topic | null };
