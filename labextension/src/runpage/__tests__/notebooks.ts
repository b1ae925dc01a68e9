/** Notebooks of runs, for tests. */

import { RenderMimeRegistry, standardRendererFactories } from '@jupyterlab/rendermime';

import type { RunItem } from '../../api/types';
import type { NotebookCell, NotebookContent, RunNotebookNews } from '../../models/schedulewire';
import { run } from '../../__tests__/schedulesamples';

export function code(source: string, changes: Partial<NotebookCell> = {}): NotebookCell {
  return {
    cell_type: 'code',
    source,
    metadata: { papermill: { status: 'completed', duration: 2 } },
    outputs: [],
    execution_count: 1,
    ...changes
  };
}

export function printed(text: string): Record<string, unknown> {
  return { output_type: 'stream', name: 'stdout', text };
}

export function raised(name: string): Record<string, unknown> {
  return { output_type: 'error', ename: name, evalue: 'a bad batch', traceback: [name] };
}

export function notebookOf(...cells: NotebookCell[]): NotebookContent {
  return { cells, metadata: {}, nbformat: 4, nbformat_minor: 5 };
}

export function news(
  notebook: NotebookContent | null,
  changes: Partial<RunNotebookNews> = {},
  item: Partial<RunItem> = {}
): RunNotebookNews {
  return {
    type: 'notebook',
    id: 'r7',
    reset: true,
    run: run('r7', { state: 'running', ended_at: null, ...item }),
    live: true,
    state: 'running',
    cell: 1,
    cells: notebook?.cells.length ?? null,
    findings: [],
    notebook,
    changes: [],
    problem: null,
    ...changes
  };
}

export function rendermime(): RenderMimeRegistry {
  return new RenderMimeRegistry({ initialFactories: standardRendererFactories });
}
