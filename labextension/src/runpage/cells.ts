/** Cells of a notebook as they come over the wire, in plain terms. Pure. */

import type * as nbformat from '@jupyterlab/nbformat';

/** What is read of a cell: notebooks of many writers come here. */
export interface ICell {
  readonly kind: 'code' | 'markdown' | 'raw';
  readonly source: string;
  readonly outputs: readonly nbformat.IOutput[];
  readonly count: number | null;
  readonly tags: readonly string[];
  readonly state: CellState;
  /** How long it took; `null` where that is not known. */
  readonly seconds: number | null;
}

export type CellState = 'pending' | 'running' | 'completed' | 'failed' | '';

const STATES: readonly CellState[] = ['pending', 'running', 'completed', 'failed'];

type Values = Record<string, unknown>;

/** Read one cell; what is not there, or is not what it should be, is empty. */
export function cellOf(given: unknown): ICell {
  const cell = valuesOf(given);
  const metadata = valuesOf(cell['metadata']);
  const paper = valuesOf(metadata['papermill']);
  const { cell_type: type, execution_count: count } = cell;
  const state = STATES.find(each => each === paper['status']) ?? '';
  const { duration } = paper;
  return {
    kind: type === 'markdown' || type === 'raw' ? type : 'code',
    source: textOf(cell['source']),
    outputs: merged(listOf(cell['outputs']).filter(isOutput)),
    count: typeof count === 'number' ? count : null,
    tags: listOf(metadata['tags']).filter(tag => typeof tag === 'string'),
    state: paper['exception'] === true ? 'failed' : state,
    seconds: typeof duration === 'number' ? duration : null
  };
}

/** The cells of a notebook, as they are. */
export function cellsOf(notebook: unknown): readonly unknown[] {
  return listOf(valuesOf(notebook)['cells']);
}

/** What the notebook's code is written in, by a name or a MIME type; Python where it is not said. */
export function languageOf(notebook: unknown): { name: string; mimeType: string } {
  const metadata = valuesOf(valuesOf(notebook)['metadata']);
  const info = valuesOf(metadata['language_info']);
  const kernel = valuesOf(metadata['kernelspec']);
  const text = (value: unknown): string => (typeof value === 'string' ? value : '');
  const name = text(info['name']) || text(kernel['language']) || 'python';
  return { name, mimeType: text(info['mimetype']) };
}

/** The first cell in which something was raised, counted from 0; -1 where there is none. */
export function failedCell(cells: readonly ICell[]): number {
  const raised = cells.findIndex(({ state }) => state === 'failed');
  return raised >= 0
    ? raised
    : cells.findIndex(
        ({ outputs, tags }) =>
          !tags.includes('raises-exception') &&
          outputs.some(({ output_type: type }) => type === 'error')
      );
}

/** Text of one stream that stands in several outputs behind each other is one output. */
function merged(outputs: readonly nbformat.IOutput[]): nbformat.IOutput[] {
  const found: nbformat.IOutput[] = [];
  for (const output of outputs) {
    const last = found.at(-1);
    if (
      output.output_type === 'stream' &&
      last?.output_type === 'stream' &&
      last['name'] === output['name']
    ) {
      found[found.length - 1] = { ...last, text: textOf(last['text']) + textOf(output['text']) };
    } else if (output.output_type === 'stream') {
      found.push({ ...output, text: textOf(output['text']) });
    } else {
      found.push(output);
    }
  }
  return found.map(output =>
    output.output_type === 'stream' ? { ...output, text: written(textOf(output['text'])) } : output
  );
}

/** A line that was written over, as a bar of progress is, is what it was at last. */
function written(text: string): string {
  return text.includes('\r') ? text.replace(/[^\n]*\r(?=[^\n\r])/g, '') : text;
}

function isOutput(value: unknown): value is nbformat.IOutput {
  return typeof valuesOf(value)['output_type'] === 'string';
}

/** A text that is kept as a list of lines, or whole. */
function textOf(value: unknown): string {
  return Array.isArray(value) ? value.join('') : typeof value === 'string' ? value : '';
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

function valuesOf(value: unknown): Values {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Values)
    : {};
}
