/** The ranks of a job in a table: where each is, how far, and which one holds the others up. */

import type { TranslationBundle } from '@jupyterlab/translation';

import { h } from '../widgets/dom';
import { count, stepText } from '../widgets/format';
import type { IRank } from '../widgets/protocol';

export function ranksNode(ranks: readonly IRank[], trans: TranslationBundle): HTMLElement {
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
