import { nullTranslator } from '@jupyterlab/translation';
import { configure, fireEvent, screen, waitFor } from '@testing-library/react';
import axe from 'axe-core';
import { afterEach, describe, expect, it, vi } from 'vitest';

import { budget } from '../../__tests__/costsamples';
import { pool } from '../../__tests__/samples';
import type { BudgetItem, BudgetRequest } from '../../api/types';
import { BudgetDraft, type IBudgetDraftOptions } from '../../models/budgetdraft';
import { RequestError } from '../../request';
import { showBudgetForm } from '../budgetform';

const trans = nullTranslator.load('jupyter_aiinfra');

// The form is loaded when it is first shown, which takes seconds on a busy machine.
configure({ asyncUtilTimeout: 60_000 });

/** Colours are for a browser to judge: there are none here. */
const AXE = { rules: { 'color-contrast': { enabled: false } } };

type Set = (request: BudgetRequest) => Promise<BudgetItem>;

async function open(
  set: Set,
  options: Partial<IBudgetDraftOptions> = {}
): Promise<{ done: Promise<BudgetItem | null> }> {
  const done = showBudgetForm(new BudgetDraft({ set, ...options }), trans);
  await waitFor(() => expect(document.activeElement?.closest('.aiinfra-Form')).not.toBeNull());
  return { done };
}

const field = (label: string | RegExp): HTMLInputElement => screen.getByLabelText(label);

function type(label: string | RegExp, text: string): void {
  fireEvent.change(field(label), { target: { value: text } });
}

const accept = (): HTMLButtonElement =>
  document.querySelector('.jp-Dialog-footer .jp-mod-accept') as HTMLButtonElement;
const cancel = (): HTMLButtonElement =>
  document.querySelector('.jp-Dialog-footer .jp-mod-reject') as HTMLButtonElement;

afterEach(() => {
  cancel()?.click();
  document.body.replaceChildren();
});

describe('the form of a budget', () => {
  it('sets one, and is closed once the server has taken it', async () => {
    const set = vi.fn<Set>(() => Promise.resolve(budget('lab')));
    const { done } = await open(set, { pools: [pool('lab'), pool('here')] });
    type('Counts', 'pool');
    type('Pool', 'lab');
    type('Amount', '200 usd');
    type('In', 'day');
    type('Once it is spent', 'ask');
    type('Time to answer, in minutes', '30');
    accept().click();
    expect((await done)?.id).toBe('lab');
    expect(set.mock.calls[0]![0]).toMatchObject({
      scope: 'pool',
      subject: 'lab',
      amount: '200 usd',
      period: 'day',
      action: 'ask',
      ask_seconds: 1800
    });
    expect(document.querySelector('.jp-Dialog')).toBeNull();
  });

  it('shows what fits what was chosen', async () => {
    await open(() => Promise.reject(new Error('not expected')));
    expect(screen.queryByLabelText('User')).toBeNull();
    type('Counts', 'job');
    expect(field('Id of the job')).toBeDefined();
    expect(screen.queryByLabelText('In')).toBeNull();
    expect(document.body.textContent).toContain('with time to save; no more may begin');
    type('Once it is spent', 'warn');
    expect(screen.queryByLabelText(/Time to save/)).toBeNull();
    expect(document.body.textContent).toContain('All jobs go on, and say so.');
  });

  it('says at its field what is wrong, and gives that the focus', async () => {
    const set = vi.fn<Set>(() =>
      Promise.reject(
        new RequestError('refused', 'no currency', { hint: 'usd', option: 'amount', status: 400 })
      )
    );
    await open(set);
    accept().click();
    await waitFor(() => expect(document.activeElement).toBe(field('Amount')));
    expect(screen.getByText('Say how much it is.').getAttribute('role')).toBe('alert');
    type('Amount', '20 gold');
    accept().click();
    await screen.findByText('no currency; usd');
    await waitFor(() => expect(document.activeElement).toBe(field('Amount')));
    expect(field('Amount').getAttribute('aria-invalid')).toBe('true');
    expect(field('Amount').value).toBe('20 gold');
  });

  it('says below the fields what is about none of them', async () => {
    await open(() =>
      Promise.reject(new RequestError('unreachable', 'no server', { hint: 'wait' }))
    );
    type('Amount', '20');
    accept().click();
    await screen.findByText('no server');
    expect(screen.getByText('wait').className).toBe('aiinfra-hint');
  });

  it('sets nothing where it is closed', async () => {
    const set = vi.fn<Set>();
    const { done } = await open(set);
    cancel().click();
    expect([await done, set.mock.calls]).toEqual([null, []]);
  });

  it('changes one, of which it says that it is woken up', async () => {
    const set = vi.fn<Set>(() => Promise.resolve(budget('lab')));
    const { done } = await open(set, { old: budget('lab', { snoozed: true }) });
    expect(document.body.textContent).toContain('$20.00 a month for pool lab');
    expect(document.body.textContent).toContain('A change wakes it up.');
    expect(screen.queryByLabelText('Counts')).toBeNull();
    type('Amount', '30 usd');
    accept().click();
    await done;
    expect(set.mock.calls[0]![0]).toMatchObject({
      scope: 'pool',
      subject: 'lab',
      amount: '30 usd'
    });
  });

  it('has no accessibility fault that axe knows', async () => {
    await open(() => Promise.reject(new Error('not expected')), { given: { scope: 'user' } });
    accept().click();
    await screen.findByText('Say which one it counts.');
    const form = document.querySelector('.aiinfra-Form') as HTMLElement;
    expect((await axe.run(form, AXE)).violations).toEqual([]);
  });
});
