import { nullTranslator } from '@jupyterlab/translation';
import { expect, it } from 'vitest';

import { budget, notice } from '../../__tests__/costsamples';
import { ended, job } from '../../__tests__/samples';
import type { BudgetItem, JobItem, Notice } from '../../api/types';
import { CommandIDs } from '../../tokens';
import { noticeAnswers, noticeKind } from '../noticewords';

const trans = nullTranslator.load('jupyter_aiinfra');

it.each<[Partial<Notice>, JobItem, BudgetItem | undefined, string, string[]]>([
  [{ kind: 'question' }, job('1'), undefined, 'May it go on?', ['Go on for an hour', 'Stop']],
  [{ kind: 'warning' }, job('1'), budget('b1'), 'Budget warning', ['Snooze for an hour']],
  [{ kind: 'warning' }, job('1'), budget('b1', { snoozed: true }), 'Budget warning', []],
  [{ kind: 'stop' }, job('1'), budget('b1'), 'Being stopped', ['Snooze for an hour']],
  [{ kind: 'stop' }, ended('1'), budget('b1'), 'Stopped', ['Snooze for an hour']],
  [{ kind: 'stop' }, ended('1'), undefined, 'Stopped', []],
  [{ kind: 'stop' }, job('1'), budget('b1', { scope: 'job' }), 'Being stopped', []],
  [{ by: 'idle' }, job('1'), undefined, 'Idle GPUs', ['Leave it alone']],
  [{ by: 'idle', kind: 'stop' }, job('1'), undefined, 'Being stopped', []],
  [{ by: 'idle' }, ended('1'), undefined, 'Idle GPUs', []]
])('says what it is, and what can be done about it (%#)', (given, item, known, kind, labels) => {
  const said = notice(given);
  expect(noticeKind(said, item, trans)).toBe(kind);
  expect(noticeAnswers(said, item, known, trans).map(({ label }) => label)).toEqual(labels);
});

it('answers the budget that asks, and leaves the job alone that is idle', () => {
  const asked = noticeAnswers(notice({ kind: 'question', by: 'b7' }), job('1'), undefined, trans);
  expect(asked.map(({ command, args }) => [command, args])).toEqual([
    [CommandIDs.snoozeBudget, { id: 'b7', seconds: 3600 }],
    [CommandIDs.stopBudget, { id: 'b7' }]
  ]);
  const [idle] = noticeAnswers(notice({ by: 'idle' }), job('1'), undefined, trans);
  expect([idle?.command, idle?.args]).toEqual([CommandIDs.leaveIdle, { id: '1' }]);
});
