import { nullTranslator } from '@jupyterlab/translation';
import { CommandRegistry } from '@lumino/commands';
import { act, cleanup, fireEvent, render, screen, within } from '@testing-library/react';
import axe from 'axe-core';
import React from 'react';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { budget, usd } from '../../../__tests__/costsamples';
import { FakeStream, fakeApi } from '../../../__tests__/fakes';
import { makeModels } from '../../../__tests__/models';
import { job, jobsNews } from '../../../__tests__/samples';
import type { BudgetItem, Decision } from '../../../api/types';
import { RequestError } from '../../../request';
import { CommandIDs, type IAiInfraApi } from '../../../tokens';
import { BudgetsSection } from '../budgets';

const trans = nullTranslator.load('jupyter_aiinfra');
/** Colours are for a browser to judge: there are none here. */
const AXE = { rules: { 'color-contrast': { enabled: false } } };

const ran = vi.fn<(command: string, args: object) => void>();
const detail = vi.fn<IAiInfraApi['budget']>();
let stream: FakeStream;
let container: HTMLElement;

function decision(values: Partial<Decision> = {}): Decision {
  return {
    key: 'k1',
    by: 'a',
    kind: 'warning',
    text: '$17 of $20 spent',
    at: 1_700_000_000,
    job: null,
    until: null,
    grace_seconds: null,
    ...values
  };
}

function say(...budgets: BudgetItem[]): void {
  act(() => stream.say({ type: 'budgets', budgets }));
}

beforeEach(() => {
  ran.mockReset();
  detail.mockReset().mockResolvedValue({ item: budget('a'), decisions: [] });
  stream = new FakeStream();
  const models = makeModels({ api: fakeApi({}), stream });
  const commands = new CommandRegistry();
  for (const id of Object.values(CommandIDs)) {
    commands.addCommand(id, { label: id, execute: args => ran(id, args) });
  }
  const api = { budget: detail };
  ({ container } = render(<BudgetsSection {...{ models, api, commands, trans }} />));
});

afterEach(cleanup);

const button = (name: string | RegExp): HTMLButtonElement => screen.getByRole('button', { name });
const labels = (): string[] =>
  [...container.querySelectorAll('.aiinfra-BudgetRow-answers button')].map(
    each => each.textContent ?? ''
  );

describe('the list of budgets', () => {
  it('says that it waits, what keeps it waiting, and what a budget is for', () => {
    expect(screen.getByRole('status').textContent).toBe('Asking the server for its budgets…');
    const topic = { topic: 'budgets', id: null, rank: null } as const;
    act(() => stream.say({ type: 'problem', message: 'no database', hint: 'start it', topic }));
    expect(screen.getByRole('alert').textContent).toBe('no databasestart it');

    say();
    expect(container.textContent).toContain('A budget warns, asks or stops jobs');
    fireEvent.click(button('Set a budget…'));
    expect(ran.mock.calls).toEqual([[CommandIDs.setBudget, {}]]);
  });

  it('says how each stands, in words and by a sign', () => {
    say(
      budget('a', { jobs: ['1', '2'], hourly: usd(4.1) }),
      budget('b', { reach: 'warned', share: 0.856, spent: usd(17.12) }),
      budget('c', { reach: 'spent', share: 1.05, spent: usd(21) }),
      budget('d', { reach: 'unknown', spent: null, share: null, problem: 'lab has no price' }),
      budget('e', { reach: 'spent', snoozed: true, snoozed_until: 1_700_000_000 }),
      budget('f', { reach: 'spent', action: 'ask', asks_until: 1_700_000_000 })
    );
    const rows = screen.getAllByRole('listitem');
    const said = rows.map(row => row.querySelector('.aiinfra-PoolRow-facts')?.textContent ?? '');
    expect(said[0]).toBe('within$5.00 of $20.00 · 25 %November 2026$4.10/h');
    expect(said[1]).toContain('warns$17.12 of $20.00 · 85 %');
    expect(said[2]).toContain('spent: jobs are stopped$21.00 of $20.00 · 105 %');
    expect(said[3]).toContain('not knownn/a of $20.00November');
    expect(rows[3]!.textContent).toContain('lab has no price');
    expect(said[4]).toMatch(/^snoozed until .+\d/);
    expect(said[5]).toMatch(/^spent, asks until .+\d/);
    const signs = rows.map(row => row.querySelector('.aiinfra-PoolRow-status svg')?.outerHTML);
    expect(new Set(signs).size).toBe(5);
    // What is not known is no empty bar.
    expect(rows[3]!.querySelector('.aiinfra-BudgetBar-fill')).toBeNull();
    const fill = rows[2]!.querySelector<HTMLElement>('.aiinfra-BudgetBar-fill');
    expect(fill?.style.width).toBe('100%');
  });

  it('calls the budget of a job by the name of the job', () => {
    const one = budget('a', { scope: 'job', subject: '1', period: 'total', name: '$20 for job 1' });
    say(one);
    expect(button('$20 for job 1')).toBeDefined();
    act(() => stream.say(jobsNews([job('1')], { reset: true, active: 1 })));
    expect(button('$20.00 for “name of 1”')).toBeDefined();
  });

  it('offers what there is to do about one that presses', () => {
    say(budget('a'));
    expect(labels()).toEqual([]);
    say(budget('a', { reach: 'warned', jobs: ['1'] }));
    expect(labels()).toEqual(['Snooze for an hour', 'Until tomorrow', 'Stop its job…']);
    say(budget('a', { reach: 'spent', action: 'ask', asks_until: 9, jobs: ['1', '2'] }));
    expect(labels()).toEqual(['Go on for an hour', 'Until tomorrow', 'Stop its 2 jobs…']);
    say(budget('a', { reach: 'spent', snoozed: true, snoozed_until: 9 }));
    expect(labels()).toEqual(['Wake up']);
  });

  it('does it by commands', () => {
    say(budget('a', { reach: 'spent', jobs: ['1'] }));
    fireEvent.click(button('Snooze for an hour'));
    fireEvent.click(button('Until tomorrow'));
    fireEvent.click(button('Stop its job…'));
    fireEvent.click(button(/^Change the budget of/));
    fireEvent.click(button(/^Remove the budget of/));
    const [hour, tomorrow, ...others] = ran.mock.calls;
    expect(hour).toEqual([CommandIDs.snoozeBudget, { id: 'a', seconds: 3600 }]);
    const { seconds } = tomorrow![1] as { seconds: number };
    const then = new Date(Date.now() + seconds * 1000);
    expect([then.getHours(), then.getMinutes()]).toEqual([8, 0]);
    expect(others).toEqual([
      [CommandIDs.stopBudget, { id: 'a' }],
      [CommandIDs.setBudget, { id: 'a' }],
      [CommandIDs.removeBudget, { id: 'a' }]
    ]);
    say(budget('a', { snoozed: true, snoozed_until: 9 }));
    fireEvent.click(button('Wake up'));
    expect(ran.mock.lastCall).toEqual([CommandIDs.snoozeBudget, { id: 'a', seconds: null }]);
  });

  it('has no accessibility fault that axe knows', async () => {
    detail.mockResolvedValue({ item: budget('a'), decisions: [decision()] });
    say(budget('a', { reach: 'spent', jobs: ['1'] }), budget('b'));
    fireEvent.click(container.querySelectorAll('button[aria-expanded]')[0] as Element);
    await screen.findByText('$17 of $20 spent');
    expect((await axe.run(container, AXE)).violations).toEqual([]);
  });
});

describe('a budget that is opened', () => {
  const open = (): void => {
    fireEvent.click(container.querySelector('button[aria-expanded]') as Element);
  };

  it('tells what it does, its jobs, and what it has done', async () => {
    detail.mockResolvedValue({
      item: budget('a'),
      decisions: [
        decision({ key: 'k2', kind: 'stop', text: 'stopped, with 120 s to save', job: '1' }),
        decision()
      ]
    });
    act(() => stream.say(jobsNews([job('1')], { reset: true, active: 1 })));
    say(budget('a', { jobs: ['1'], grace_seconds: 90 }));
    open();
    const list = await screen.findByRole('list', { name: /What it has done/ });
    const told = within(list)
      .getAllByRole('listitem')
      .map(item => item.textContent);
    expect(told[0]).toContain('stopped, name of 1 stopped, with 120 s to save');
    expect(told[1]).toContain('warned $17 of $20 spent');
    for (const said of ['stop jobs: Jobs that run', '80 %', '1 min 30 s', 'by ada']) {
      expect(container.textContent).toContain(said);
    }
    fireEvent.click(button('name of 1'));
    expect(ran.mock.lastCall).toEqual([CommandIDs.openJob, { id: '1' }]);
  });

  it('asks again when something was decided, and not with each look', async () => {
    say(budget('a'));
    open();
    await screen.findByText('It has not had to do anything yet.');
    say(budget('a', { spent: usd(6), share: 0.3 }));
    expect(detail).toHaveBeenCalledTimes(1);
    detail.mockResolvedValue({ item: budget('a'), decisions: [decision()] });
    say(budget('a', { reach: 'warned', share: 0.85, decided_at: 2000 }));
    await screen.findByText('$17 of $20 spent');
    expect(detail).toHaveBeenCalledTimes(2);
  });

  it('says why that is not known', async () => {
    detail.mockRejectedValue(new RequestError('refused', 'no such budget', { status: 404 }));
    say(budget('a'));
    open();
    expect((await screen.findByRole('alert')).textContent).toBe('no such budget');
  });
});
