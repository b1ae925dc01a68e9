/** What was recorded of the GPUs and nodes of a job, as tables: a row a rank, or a row a node. */

import type { TranslationBundle } from '@jupyterlab/translation';

import type { GpuCurve, GpuRange, JobDetail } from '../api/types';
import { runs } from '../gpus/spark';
import { memoryText, valueText } from '../gpus/text';
import type { IAiInfraApi } from '../tokens';
import { h } from '../widgets/dom';
import { durationText } from '../widgets/format';
import { note } from './sections';

const POINTS = 120;
const UUID_LENGTH = 12;

/** One curve in two numbers; `null` where nothing is known. */
export interface IFigures {
  mean: number | null;
  peak: number | null;
}

/** The mean of the buckets of which anything is known, and the most that was ever read. */
export function figures(curve: GpuCurve | undefined): IFigures {
  const known = (values: readonly (number | null)[]): number[] =>
    values.filter((value): value is number => value !== null);
  const [means, peaks] = [known(curve?.mean ?? []), known(curve?.most ?? [])];
  return {
    mean: means.length > 0 ? means.reduce((sum, each) => sum + each, 0) / means.length : null,
    peak: peaks.length > 0 ? Math.max(...peaks) : null
  };
}

/** Ask for what was recorded of the GPUs of a job; of its nodes where it had none. */
export async function pastNode(
  api: IAiInfraApi,
  { item, placement }: JobDetail,
  trans: TranslationBundle
): Promise<HTMLElement> {
  const about = { job: item.id, points: POINTS };
  const gpus = await api.gpuRange({ ...about, by: 'rank', series: ['utilization', 'memory'] });
  if (gpus.curves.length > 0) {
    return pastTable(gpus, rowsOf(gpus, 'utilization'), trans);
  }
  const nodes = await api.gpuRange({
    ...about,
    of: 'nodes',
    by: 'node',
    series: ['cpu', 'memory']
  });
  const hadGpus = placement.some(({ gpus: given }) => given.length > 0);
  const told = hadGpus
    ? trans.__('Nothing was recorded of the GPUs of this job.')
    : trans.__('This job had no GPU. This is what its nodes did, with all that ran there:');
  if (nodes.curves.length > 0 && !hadGpus) {
    return h('div', {}, note(told), pastTable(nodes, rowsOf(nodes, 'cpu'), trans));
  }
  const none = hadGpus
    ? told
    : trans.__('This job had no GPU, and nothing was recorded of its nodes.');
  return h(
    'div',
    {},
    note(none),
    note(trans.__('The setting record_gpus of the server says when that is.'))
  );
}

interface IPastRow {
  rank: number | null;
  node: string | null;
  gpu: string | null;
  /** Utilization, or that of the processors. */
  used: GpuCurve;
  memory: GpuCurve | undefined;
}

/** The curves of a GPU, or of a node, beside each other; in the order of the ranks. */
function rowsOf({ curves }: GpuRange, series: 'utilization' | 'cpu'): IPastRow[] {
  const key = ({ rank, node, gpu }: GpuCurve): string => JSON.stringify([rank, node, gpu]);
  const memory = new Map(
    curves.filter(curve => curve.series === 'memory').map(curve => [key(curve), curve])
  );
  return curves
    .filter(curve => curve.series === series)
    .map(used => ({
      rank: used.rank,
      node: used.node,
      gpu: used.gpu,
      used,
      memory: memory.get(key(used))
    }))
    .sort((one, other) => {
      const [left, right] = [one.rank ?? Infinity, other.rank ?? Infinity];
      return left === right ? nameOf(one).localeCompare(nameOf(other)) : left - right;
    });
}

function nameOf({ node, gpu }: IPastRow): string {
  return `${node ?? ''} ${gpu ?? ''}`;
}

function pastTable(
  range: GpuRange,
  rows: readonly IPastRow[],
  trans: TranslationBundle
): HTMLElement {
  const areGpus = rows.some(({ gpu }) => gpu !== null);
  const used = areGpus ? trans.__('Utilization') : trans.__('Processors');
  const head = [
    ...(areGpus ? [trans.__('Rank')] : []),
    trans.__('Node'),
    ...(areGpus ? [trans.__('GPU')] : []),
    used,
    trans.__('Mean'),
    trans.__('Peak'),
    trans.__('Memory, mean'),
    trans.__('Memory, peak')
  ];
  const numbers = new Set(head.slice(-4));
  const number = { class: 'aiinfra-mod-number' };
  const body = rows.map(({ rank, node, gpu, used: curve, memory }) => {
    const [all, bytes] = [figures(curve), figures(memory)];
    return h(
      'tr',
      {},
      ...(areGpus
        ? [h('th', { scope: 'row' }, rank === null ? trans.__('n/a') : String(rank))]
        : []),
      areGpus ? h('td', {}, node ?? '') : h('th', { scope: 'row' }, node ?? ''),
      ...(areGpus ? [h('td', { title: gpu ?? '' }, (gpu ?? '').slice(0, UUID_LENGTH))] : []),
      h('td', { class: 'aiinfra-JobPage-curve' }, curveNode(curve, used, trans)),
      h('td', number, valueText(all.mean, '%', trans)),
      h('td', number, valueText(all.peak, '%', trans)),
      h('td', number, memoryText(bytes.mean, null, trans)),
      h('td', number, memoryText(bytes.peak, null, trans))
    );
  });
  const column = (name: string): HTMLElement =>
    h('th', { scope: 'col', ...(numbers.has(name) ? number : {}) }, name);
  return h(
    'div',
    {},
    note(spanText(range, trans)),
    h(
      'table',
      {
        class: 'aiinfra-JobPage-table',
        'aria-label': areGpus ? trans.__('GPUs by rank') : trans.__('Nodes')
      },
      h('thead', {}, h('tr', {}, ...head.map(column))),
      h('tbody', {}, ...body)
    )
  );
}

/** From when to when, and how much a point of the curves stands for. */
function spanText({ start, width_seconds, count }: GpuRange, trans: TranslationBundle): string {
  const time = (seconds: number): string => new Date(seconds * 1000).toLocaleString();
  return trans.__(
    'From %1 to %2, a point every %3.',
    time(start),
    time(start + width_seconds * count),
    durationText(width_seconds, true)
  );
}

const HIGH = 24;

/** A curve from 0 to 100 %, and a band from the least to the most; a gap is a gap. */
export function curveNode(curve: GpuCurve, what: string, trans: TranslationBundle): SVGElement {
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('viewBox', `0 0 ${Math.max(1, curve.mean.length)} ${HIGH}`);
  svg.setAttribute('preserveAspectRatio', 'none');
  svg.setAttribute('role', 'img');
  svg.setAttribute('aria-label', trans.__('%1 over time', what));
  for (const [from, to] of runs(curve.mean)) {
    const steps = (values: readonly (number | null)[]): string[] =>
      values.slice(from, to + 1).flatMap((value, place) => {
        const y = topOf(value ?? 0);
        return [`${from + place} ${y}`, `${from + place + 1} ${y}`];
      });
    const band = [...steps(curve.most), ...steps(curve.least).reverse()];
    svg.append(
      pathNode(`M${band.join('L')}Z`, 'aiinfra-JobPage-band'),
      pathNode(`M${steps(curve.mean).join('L')}`, 'aiinfra-JobPage-line')
    );
  }
  return svg;
}

const SVG = 'http://www.w3.org/2000/svg';

/** Within the height a line at both ends is whole. */
function topOf(percent: number): string {
  const share = Math.min(Math.max(percent, 0), 100) / 100;
  return (HIGH - 1 - share * (HIGH - 2)).toFixed(2);
}

function pathNode(d: string, name: string): SVGElement {
  const path = document.createElementNS(SVG, 'path');
  path.setAttribute('d', d);
  path.setAttribute('class', name);
  return path;
}
