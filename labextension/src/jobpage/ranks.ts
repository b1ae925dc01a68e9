/** The ranks of a job in a table: where each is, how far, and which one holds the others up. */

import type { TranslationBundle } from '@jupyterlab/translation';

import { h } from '../widgets/dom';
import { count, stepText } from '../widgets/format';
import type { INode, IRank } from '../widgets/protocol';
import { timeText } from './timeline';

/** The nodes of a job on several, then its ranks in order, which is that of the nodes. */
export function ranksNode(
  ranks: readonly IRank[],
  trans: TranslationBundle,
  nodes: readonly INode[] = []
): HTMLElement {
  const table = ranksTable(ranks, trans);
  return nodes.length > 1 ? h('div', {}, nodesTable(nodes, ranks, trans), table) : table;
}

function nodesTable(
  nodes: readonly INode[],
  ranks: readonly IRank[],
  trans: TranslationBundle
): HTMLElement {
  const isDated = nodes.some(({ since }) => since !== null);
  const head = [
    trans.__('Node'),
    trans.__('State'),
    ...(isDated ? [trans.__('Since')] : []),
    trans.__('Ranks')
  ];
  const states: Record<INode['health'], string> = {
    live: trans.__('live'),
    degraded: trans.__('answers now and then'),
    unreachable: trans.__('does not answer'),
    lost: trans.__('given up by the others')
  };
  const rows = nodes.map(({ name, health, since, reason }) => {
    const own = ranks.filter(({ node }) => node === name).map(({ rank }) => rank);
    const state = [states[health], reason].filter(Boolean).join(': ');
    return h(
      'tr',
      { 'data-health': health },
      h('th', { scope: 'row' }, name),
      h('td', {}, health === 'live' ? state : h('b', { class: 'aiinfra-slow' }, state)),
      ...(isDated ? [h('td', {}, since === null ? '' : timeText(since))] : []),
      h('td', {}, rangeText(own))
    );
  });
  return h(
    'table',
    { class: 'aiinfra-JobPage-table', 'aria-label': trans.__('Nodes') },
    h('thead', {}, h('tr', {}, ...head.map(each => h('th', { scope: 'col' }, each)))),
    h('tbody', {}, ...rows)
  );
}

/** `0–3`, `5`, or `0, 2`: numbers in short. */
function rangeText(numbers: readonly number[]): string {
  const sorted = [...numbers].sort((one, other) => one - other);
  const [first] = sorted;
  const last = sorted[sorted.length - 1];
  if (first === undefined || last === undefined) {
    return '';
  }
  const isWhole = last - first === sorted.length - 1;
  return isWhole && last > first ? `${first}–${last}` : sorted.join(', ');
}

function ranksTable(ranks: readonly IRank[], trans: TranslationBundle): HTMLElement {
  const inOrder = [...ranks].sort((one, other) => one.rank - other.rank);
  const reporting = inOrder.some(({ progress }) => Boolean(progress));
  const steps = reporting
    ? [trans.__('Step'), trans.__('Time of a step'), trans.__('Steps behind'), trans.__('Remark')]
    : [];
  const head = [trans.__('Rank'), trans.__('State'), trans.__('Node'), ...steps];
  const table = h(
    'table',
    { class: 'aiinfra-JobPage-table' },
    h('thead', {}, h('tr', {}, ...head.map(name => h('th', { scope: 'col' }, name)))),
    h('tbody', {}, ...inOrder.map(rank => rankRow(rank, reporting, trans)))
  );
  const hint = trans.__(
    'No rank has reported a step. In the script: from jupyter_aiinfra import step, then step() after each.'
  );
  return reporting ? table : h('div', {}, h('p', { class: 'aiinfra-quiet' }, hint), table);
}

function rankRow(rank: IRank, reporting: boolean, trans: TranslationBundle): HTMLElement {
  const { progress } = rank;
  const number = { class: 'aiinfra-mod-number' };
  const took = progress?.step_seconds ?? null;
  const steps = reporting
    ? [
        h('td', number, progress ? count(progress.step) : ''),
        h('td', number, took === null ? '' : stepText(took)),
        h('td', number, progress ? count(progress.behind) : ''),
        h('td', {}, progress?.slow ? h('b', { class: 'aiinfra-slow' }, trans.__('slow')) : '')
      ]
    : [];
  return h(
    'tr',
    {},
    h('th', { scope: 'row' }, String(rank.rank)),
    h('td', {}, rank.state),
    h('td', {}, rank.node),
    ...steps
  );
}
