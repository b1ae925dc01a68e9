/** What crosses of schedules and their runs over the socket, and of what two of them differ in. */

import type { RunItem, ScheduleItem } from '../api/types';

/** The schedules, all of them with `reset`; else what has changed since. */
export interface SchedulesNews {
  type: 'schedules';
  changed: ScheduleItem[];
  removed: string[];
  reset: boolean;
}

/** Runs of a schedule, or of all: the newest hundred with `reset`; else what has changed since. */
export interface RunsNews {
  type: 'runs';
  /** The schedule; `null`: of all. */
  id: string | null;
  changed: RunItem[];
  removed: string[];
  reset: boolean;
  /** Whether there are older ones than those that a `reset` tells. */
  more: boolean;
}

/** Secrets that were masked in the outputs of a cell. */
export interface RunFinding {
  cell: number | null;
  kind: string;
  count: number;
}

/** A cell as nbformat has it. */
export interface NotebookCell {
  cell_type: string;
  id?: string;
  metadata: Record<string, unknown>;
  source: string | string[];
  outputs?: Record<string, unknown>[];
  execution_count?: number | null;
}

/** A notebook of format 4. */
export interface NotebookContent {
  cells: NotebookCell[];
  metadata: Record<string, unknown>;
  nbformat: number;
  nbformat_minor: number;
}

/** How far a run is; cells are counted from 1. */
export interface RunProgress {
  run: RunItem;
  live: boolean;
  state: string;
  /** The cell that runs. */
  cell: number | null;
  cells: number | null;
  findings: RunFinding[];
}

/** The notebook of a run: as it stands while it runs, as it was stored after. */
export interface RunNotebook extends RunProgress {
  notebook: NotebookContent | null;
  /** Why there is none. */
  problem: string | null;
}

/** News of that notebook: all of it with `reset`, else cells by their place. */
export interface RunNotebookNews extends RunProgress {
  type: 'notebook';
  id: string;
  reset: boolean;
  notebook?: NotebookContent | null;
  changes?: [number, NotebookCell][];
  problem?: string | null;
}

/** What two runs differ in. */
export interface Comparison {
  same: boolean;
  cells: {
    index: number;
    kind: 'same' | 'changed' | 'added' | 'removed';
    /** Lines of a unified diff. */
    source: string[];
    outputs: string[];
  }[];
  parameters: Difference[];
}

export interface Difference {
  name: string;
  before: unknown;
  after: unknown;
}

/** What two versions of a schedule differ in. */
export interface VersionDiff {
  from: number;
  to: number;
  cells: {
    index: number;
    kind: 'added' | 'removed' | 'changed';
    before: string;
    after: string;
    lines: { op: ' ' | '+' | '-'; text: string }[];
  }[];
  fields: Difference[];
  files: { path: string; kind: string }[];
}
