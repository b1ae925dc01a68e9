/** The same as the charts, in words; and who uses the GPUs. */

import type { TranslationBundle } from '@jupyterlab/translation';

import { memoryText, placeText, unknownText } from '../gpus/text';
import type { Board } from '../gpus/wire';
import { h } from '../widgets/dom';
import { numberText, titleOf } from './axis';
import { summaryOf } from './chart';
import type { ICurves, ILine } from './curves';
import { momentText } from './time';
import { SERIES, type IWindow, type SeriesName } from './view';

/** So many rows tell how it went, and can be listened to. */
const ROWS = 12;

/** For each series a table: how it went over time, and in all. */
export function curveTables(
  curves: ICurves,
  shown: IWindow,
  trans: TranslationBundle
): HTMLElement[] {
  return SERIES.filter(series => curves.lines[series].length > 0).map(series =>
    curveTable(series, curves, shown, trans)
  );
}

function curveTable(
  series: SeriesName,
  curves: ICurves,
  shown: IWindow,
  trans: TranslationBundle
): HTMLElement {
  const lines = curves.lines[series];
  const now = Date.now() / 1000;
  const said = (value: number): string => numberText(series, value, trans);
  const first = Math.max(0, Math.floor((shown.start - curves.t0) / curves.width));
  const end = Math.min(curves.count, Math.ceil((shown.end - curves.t0) / curves.width));
  const each = Math.max(1, Math.ceil((end - first) / ROWS));
  const body: HTMLElement[] = [];
  for (let from = first; from < end; from += each) {
    const parts = lines.map(line => part(line, from, Math.min(end, from + each)));
    const at = momentText(curves.t0 + from * curves.width, each * curves.width, now);
    body.push(row(at, ...parts.map(({ mean }) => said(mean))));
  }
  const sums = lines.map(line => summaryOf(part(line, first, end).line));
  const foot = [
    row(trans.__('mean'), ...sums.map(({ mean }) => said(mean))),
    row(trans.__('least'), ...sums.map(({ least }) => said(least))),
    row(trans.__('most'), ...sums.map(({ most }) => said(most)))
  ];
  return h(
    'table',
    { class: 'aiinfra-GpusPage-table' },
    h('caption', {}, titleOf(series, trans)),
    h('thead', {}, head(trans.__('from'), ...lines.map(({ label }) => label))),
    h('tbody', {}, ...body),
    h('tfoot', {}, ...foot)
  );
}

/** Some buckets of a line. */
function part(line: ILine, from: number, to: number): { line: ILine; mean: number } {
  const cut = {
    ...line,
    mean: line.mean.subarray(from, to),
    least: line.least.subarray(from, to),
    most: line.most.subarray(from, to)
  };
  return { line: cut, mean: summaryOf(cut).mean };
}

export interface IProcessesOptions {
  trans: TranslationBundle;
  onJob: (id: string) => void;
  nameOf: (job: string) => string;
}

/** Each process on a GPU, those that take most first; `null` where there is none. */
export function processTable(
  boards: readonly Board[],
  { trans, onJob, nameOf }: IProcessesOptions
): { node: HTMLElement; count: number } | null {
  const found = boards.flatMap(board =>
    board.gpus.flatMap(gpu => (gpu.processes ?? []).map(process => ({ board, gpu, process })))
  );
  if (found.length === 0) {
    return null;
  }
  found.sort((a, b) => (b.process.memory_bytes ?? 0) - (a.process.memory_bytes ?? 0));
  const rows = found.map(({ board, gpu, process }) => {
    const { user, pid, command, memory_bytes: memory, job, rank } = process;
    const who = job === null ? '' : jobButton(job, rank, { trans, onJob, nameOf });
    return row(
      placeText(board, gpu, trans),
      user ?? unknownText(trans),
      who,
      String(pid),
      memoryText(memory, null, trans),
      command ?? unknownText(trans)
    );
  });
  const names = [
    trans.__('GPU'),
    trans.__('User'),
    trans.__('Job'),
    trans.__('PID'),
    trans.__('Memory'),
    trans.__('Command')
  ];
  const table = h(
    'table',
    { class: 'aiinfra-GpusPage-table aiinfra-mod-processes' },
    h('thead', {}, head(...names)),
    h('tbody', {}, ...rows)
  );
  return { node: table, count: found.length };
}

function jobButton(
  job: string,
  rank: number | null,
  { trans, onJob, nameOf }: IProcessesOptions
): HTMLElement {
  const name = nameOf(job);
  const text = rank === null ? name : trans.__('%1, rank %2', name, rank);
  const button = h('button', { type: 'button', class: 'aiinfra-GpusPage-link' }, text);
  button.title = trans.__('Open job %1', job);
  button.addEventListener('click', () => onJob(job));
  return button;
}

function head(...names: string[]): HTMLElement {
  return h('tr', {}, ...names.map(name => h('th', { scope: 'col' }, name)));
}

function row(first: string, ...cells: (Node | string)[]): HTMLElement {
  return h('tr', {}, h('th', { scope: 'row' }, first), ...cells.map(cell => h('td', {}, cell)));
}
