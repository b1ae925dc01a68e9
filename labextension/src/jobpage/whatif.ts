/** A job in other shapes, as a table. */

import type { TranslationBundle } from '@jupyterlab/translation';

import type { WhatIfItem, WhatIfReport } from '../api/types';
import { hourlyText } from '../cost/text';
import { h } from '../widgets/dom';
import { count, durationText, stepText } from '../widgets/format';
import { note } from './sections';

export function whatIfNode(report: WhatIfReport, trans: TranslationBundle): HTMLElement {
  const head: [label: string, isNumber: boolean][] = [
    [trans.__('Pool'), false],
    [trans.__('Ranks'), true],
    [trans.__('Nodes'), true],
    [trans.__('How'), false],
    [trans.__('A step'), true],
    [trans.__('Takes'), true],
    [trans.__('An hour'), true],
    [trans.__('Costs'), true],
    [trans.__('Assumed'), false]
  ];
  const cells = head.map(([label, isNumber]) =>
    h('th', { scope: 'col', ...(isNumber && { class: 'aiinfra-mod-number' }) }, label)
  );
  const table = h(
    'table',
    { class: 'aiinfra-JobPage-table aiinfra-JobCost-whatif' },
    h('thead', {}, h('tr', {}, ...cells)),
    h('tbody', {}, ...report.options.map(option => optionRow(option, trans)))
  );
  return h(
    'div',
    {},
    report.options.length > 0 ? table : note(trans.__('There is no other shape to be had.')),
    note(restsOn(report, trans)),
    ...report.notes.map(note)
  );
}

/** What all of it is made of. */
function restsOn(report: WhatIfReport, trans: TranslationBundle): string {
  return trans.__(
    'Made of the steps that this job has measured: %1 steps of %2, and %3 beside them.',
    count(report.steps),
    stepText(report.step_seconds),
    durationText(report.overhead_seconds)
  );
}

function optionRow(option: WhatIfItem, trans: TranslationBundle): HTMLElement {
  const unknown = trans.__('n/a');
  const number = (text: string | null | undefined): HTMLElement =>
    h('td', { class: 'aiinfra-mod-number' }, text ?? unknown);
  const how = [
    option.gpu ?? trans.__('CPUs'),
    option.spot ? trans.__('spot') : '',
    option.bf16 ? 'bf16' : ''
  ];
  const said = option.measured ? trans.__('this job, as it was measured') : '';
  const remarks = [said, ...option.assumes, option.problem].filter(Boolean);
  return h(
    'tr',
    option.measured ? { class: 'aiinfra-mod-measured' } : {},
    h('td', {}, option.pool),
    number(String(option.ranks)),
    number(String(option.nodes)),
    h('td', {}, how.filter(Boolean).join(', ')),
    number(option.step_seconds === null ? null : stepText(option.step_seconds)),
    number(option.seconds === null ? null : durationText(option.seconds)),
    number(hourlyText(option.hourly, trans)),
    number(option.cost?.text),
    h('td', { class: 'aiinfra-quiet' }, remarks.join('; '))
  );
}
