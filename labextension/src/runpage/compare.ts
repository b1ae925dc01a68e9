/** What two runs of a schedule have shown differently. */

import type { TranslationBundle } from '@jupyterlab/translation';

import type { RunItem } from '../api/types';
import { fill, note } from '../jobpage/sections';
import { timeText } from '../jobpage/timeline';
import { runMoment, runStateText, valueText } from '../models/runwords';
import type { Comparison, Difference } from '../models/schedulewire';
import { h } from '../widgets/dom';
import type { RunPageModel } from './model';

/** Has one choose a run before this one, the last of them first, and shows what differs. */
export async function compareNode(
  model: RunPageModel,
  trans: TranslationBundle
): Promise<HTMLElement> {
  const before = await model.before();
  const [last] = before;
  if (last === undefined) {
    return note(trans.__('No run of this schedule came before that has shown anything.'));
  }
  const choose = h('select', { class: 'aiinfra-RunPage-select' });
  choose.setAttribute('aria-label', trans.__('Compare with'));
  choose.append(...before.map(run => h('option', { value: run.id }, optionText(run, trans))));
  const place = h('div', {});
  const show = (): void =>
    void fill(
      place,
      async () => comparisonNode(await model.api.compareRuns(model.id, choose.value), trans),
      trans
    );
  choose.addEventListener('change', show);
  show();
  return h('div', {}, h('p', {}, h('label', {}, trans.__('Compare with'), ' ', choose)), place);
}

function optionText(run: RunItem, trans: TranslationBundle): string {
  const state = runStateText(run.state, trans);
  return trans.__('%1, %2 (version %3)', timeText(runMoment(run)), state, run.version);
}

export function comparisonNode(
  { same, cells, parameters }: Comparison,
  trans: TranslationBundle
): HTMLElement {
  if (same && parameters.length === 0) {
    return note(trans.__('Both have shown the same.'));
  }
  const parts = parameters.length > 0 ? [differencesNode(parameters, trans)] : [];
  const others = cells.filter(({ kind }) => kind !== 'same');
  if (others.length === 0) {
    parts.push(note(trans.__('All cells have shown the same.')));
  }
  const words = {
    changed: trans.__('differs'),
    added: trans.__('only in this run'),
    removed: trans.__('only in the run before'),
    same: trans.__('the same')
  };
  for (const { index, kind, source, outputs } of others) {
    const sides: [string, readonly string[]][] = [
      [trans.__('Source'), source],
      [trans.__('Output'), outputs]
    ];
    parts.push(
      h(
        'section',
        { class: 'aiinfra-Diff-cell' },
        h('h3', {}, trans.__('Cell %1: %2', index + 1, words[kind])),
        ...sides
          .filter(([, lines]) => lines.length > 0)
          .flatMap(([label, lines]) => [
            h('p', { class: 'aiinfra-quiet' }, label),
            linesNode(lines.map(splitLine))
          ])
      )
    );
  }
  return h('div', { class: 'aiinfra-Diff' }, ...parts);
}

export interface ILine {
  op: string;
  text: string;
}

/** Values that differ, before and after. */
export function differencesNode(
  differences: readonly Difference[],
  trans: TranslationBundle
): HTMLElement {
  const head = [trans.__('Setting'), trans.__('Before'), trans.__('After')];
  const cell = (value: unknown, kind: string): HTMLElement =>
    h(
      'td',
      {},
      value === null || value === undefined
        ? h('span', { class: 'aiinfra-quiet' }, trans.__('none'))
        : h('code', { class: `aiinfra-Diff-value aiinfra-mod-${kind}` }, valueText(value))
    );
  const rows = differences.map(({ name, before, after }) =>
    h('tr', {}, h('th', { scope: 'row' }, name), cell(before, 'removed'), cell(after, 'added'))
  );
  return h(
    'table',
    { class: 'aiinfra-JobPage-table aiinfra-Diff-values' },
    h('thead', {}, h('tr', {}, ...head.map(name => h('th', { scope: 'col' }, name)))),
    h('tbody', {}, ...rows)
  );
}

/** Lines of a difference; a sign before each says which, besides its colour. */
export function linesNode(lines: readonly ILine[]): HTMLElement {
  const nodes = lines.map(({ op, text }) => {
    const kind = op === '+' ? 'added' : op === '-' ? 'removed' : op === '@' ? 'place' : 'same';
    return h(
      'div',
      { class: `aiinfra-Diff-line aiinfra-mod-${kind}` },
      h('span', { class: 'aiinfra-Diff-op' }, op === '@' ? ' ' : op),
      h('span', {}, text)
    );
  });
  return h('pre', { class: 'aiinfra-Diff-lines', tabindex: '0' }, ...nodes);
}

/** A line of a unified diff. */
function splitLine(line: string): ILine {
  const text = line.replace(/\n$/, '');
  const op = text[0] ?? ' ';
  return op === '@' ? { op, text } : { op, text: text.slice(1) };
}
