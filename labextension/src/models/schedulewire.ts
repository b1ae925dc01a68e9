/** What crosses of schedules and their runs over the socket, and of what two of them differ in. */

import type {
  SchemaFindingItem,
  SchemaRunNotebook,
  SchemaRunNotebookNews,
  SchemaRunsNews,
  SchemaSchedulesNews
} from '../api/schema';
import type { RunItem, ScheduleItem } from '../api/types';

export type {
  SchemaComparison as Comparison,
  SchemaValueChange as Difference,
  SchemaVersionDiff as VersionDiff
} from '../api/schema';

// Items and notebooks are objects that the schema has no shape of.

/** The schedules, all of them with `reset`; else what has changed since. */
export type SchedulesNews = Omit<SchemaSchedulesNews, 'changed'> & { changed: ScheduleItem[] };

/** Runs of a schedule, or of all: the newest with `reset`; else what has changed since. */
export type RunsNews = Omit<SchemaRunsNews, 'changed'> & { changed: RunItem[] };

/** Secrets that were masked in a cell. */
export type RunFinding = SchemaFindingItem;

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
export type RunProgress = Pick<
  SchemaRunNotebook,
  'live' | 'state' | 'cell' | 'cells' | 'findings'
> & { run: RunItem };

/** The notebook of a run: as it stands while it runs, as it was stored after. */
export type RunNotebook = RunProgress & {
  notebook: NotebookContent | null;
  /** Why there is none. */
  problem: string | null;
};

/** News of that notebook: all of it with `reset`, else cells by their place. */
export type RunNotebookNews = RunProgress &
  Pick<SchemaRunNotebookNews, 'type' | 'id' | 'reset' | 'problem'> & {
    notebook: NotebookContent | null;
    changes: [number, NotebookCell][];
  };
