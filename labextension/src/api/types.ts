/** The wire types under the names we use; `schema.ts` is made from `docs/openapi.json`. */

import type {
  SchemaBudgetRequest,
  SchemaEndpointEvent,
  SchemaEndpointItem,
  SchemaEndpointKeyRequest,
  SchemaEndpointVersionItem,
  SchemaIdleRule,
  SchemaPolicy,
  SchemaPreviewItem,
  SchemaPriceRequest,
  SchemaProblemNews,
  SchemaRunItem,
  SchemaScaleRequest,
  SchemaScheduleItem,
  SchemaScheduleRequest,
  SchemaTopic,
  SchemaTrigger,
  SchemaVersionItem
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
  SchemaEndpointKeyItem as EndpointKey,
  SchemaEndpointOptions as EndpointOptions,
  SchemaEndpointReplicaItem as EndpointReplica,
  SchemaEndpointRolloutItem as EndpointRollout,
  SchemaEndpointSample as EndpointSample,
  SchemaEndpointSamplesItem as EndpointSamples,
  SchemaEndpointSecretItem as EndpointSecret,
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
  SchemaRunState as RunState,
  SchemaSilence as Silence,
  SchemaSilentPool as SilentPool,
  SchemaSlotItem as SlotItem,
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

// Of an object without a shape the schema says that it is empty.

/** Values of parameters, by their names. */
export type Values = Record<string, unknown>;

/** A JSON schema (2020-12) of one value, as far as the server writes one. */
export interface ValueSchema {
  type?: string | string[];
  enum?: unknown[];
  anyOf?: ValueSchema[];
  format?: string;
  minimum?: number;
  maximum?: number;
  exclusiveMinimum?: number;
  exclusiveMaximum?: number;
  multipleOf?: number;
  minLength?: number;
  maxLength?: number;
  pattern?: string;
  items?: ValueSchema | false;
  prefixItems?: ValueSchema[];
  description?: string;
  title?: string;
  default?: unknown;
  /** The default as it is written, where that is no value of JSON. */
  'x-source'?: string;
}

/** The JSON schema of the values that a notebook takes. */
export interface ParameterForm {
  properties?: Record<string, ValueSchema>;
  required?: string[];
  additionalProperties?: boolean;
}

export type Policy = Partial<SchemaPolicy>;
export type Trigger = Pick<SchemaTrigger, 'kind'> & Partial<SchemaTrigger>;

export type RunItem = Omit<SchemaRunItem, 'parameters' | 'outputs'> & {
  parameters: Values | null;
  outputs: Values;
};
export type RunsPage = { runs: RunItem[]; more: boolean };

export type VersionItem = Omit<SchemaVersionItem, 'parameters' | 'options' | 'form'> & {
  parameters: Values;
  options: Values;
  form: ParameterForm;
};
export type ScheduleItem = Omit<SchemaScheduleItem, 'version' | 'last_runs'> & {
  version: VersionItem;
  last_runs: RunItem[];
};
export type ScheduleDetail = { item: ScheduleItem; versions: VersionItem[] };
export type ScheduleRequest = Partial<
  Omit<SchemaScheduleRequest, 'triggers' | 'policy' | 'parameters' | 'options'>
> & {
  triggers?: Trigger[] | null;
  policy?: Policy | null;
  parameters?: Values | null;
  options?: Values | null;
};
export type PreviewItem = Omit<SchemaPreviewItem, 'form'> & { form: ParameterForm };

export type EndpointVersion = Omit<SchemaEndpointVersionItem, 'manifest' | 'facts'> & {
  manifest: Values;
  facts: Values;
};
export type EndpointItem = Omit<SchemaEndpointItem, 'versions'> & { versions: EndpointVersion[] };
export type EndpointEvent = Omit<SchemaEndpointEvent, 'detail'> & { detail: Values };
export type EndpointDetail = { item: EndpointItem; events: EndpointEvent[] };
export type EndpointKeyRequest = Pick<SchemaEndpointKeyRequest, 'name'> &
  Partial<SchemaEndpointKeyRequest>;
export type ScaleRequest = Partial<SchemaScaleRequest>;

/** From the browser: watch exactly these topics from now on. */
export interface WatchRequest {
  topics: Topic[];
}

/** Something watched cannot be told of just now, or what was sent is not understood. */
export type ProblemNews = Omit<SchemaProblemNews, 'topic'> & { topic: Topic | null };
