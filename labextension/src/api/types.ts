/** The wire types under the names we use; `schema.ts` is made from `docs/openapi.json`. */

import type { SchemaProblemNews, SchemaTopic } from './schema';

export type {
  SchemaAttachRequest as AttachRequest,
  SchemaEndedNews as EndedNews,
  SchemaFileItem as FileItem,
  SchemaGoneNews as GoneNews,
  SchemaGpuPast as GpuPast,
  SchemaGpusDelta as GpusDelta,
  SchemaGpusFrame as GpusFrame,
  SchemaGpu as Gpu,
  SchemaHelloNews as HelloNews,
  SchemaHostKey as HostKey,
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
  SchemaOptionItem as OptionItem,
  SchemaPlanText as PlanText,
  SchemaPoolItem as PoolItem,
  SchemaPoolKind as PoolKind,
  SchemaPoolsNews as PoolsNews,
  SchemaRange as GpuRange,
  SchemaCurve as GpuCurve,
  SchemaSilence as Silence,
  SchemaTimelineEntry as TimelineEntry
} from './schema';

/** What is watched. What says which GPUs may be left out where it is about none. */
export type Topic = Pick<SchemaTopic, 'topic' | 'id' | 'rank'> & Partial<SchemaTopic>;

/** From the browser: watch exactly these topics from now on. */
export interface WatchRequest {
  topics: Topic[];
}

/** Something watched cannot be told of just now, or what was sent is not understood. */
export type ProblemNews = Omit<SchemaProblemNews, 'topic'> & { topic: Topic | null };
