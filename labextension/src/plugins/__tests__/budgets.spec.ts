import type { JupyterFrontEnd } from '@jupyterlab/application';
import { Notification } from '@jupyterlab/apputils';
import { CommandRegistry } from '@lumino/commands';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { budget } from '../../__tests__/costsamples';
import { closeDialogs, dialog, press } from '../../__tests__/dialogs';
import { FakeStream, fakeApi } from '../../__tests__/fakes';
import { makeModels } from '../../__tests__/models';
import { job, jobsNews, pool } from '../../__tests__/samples';
import type { BudgetItem } from '../../api/types';
import { RequestError } from '../../request';
import { CommandIDs, type IAiInfraApi } from '../../tokens';
import plugin from '../budgets';

let commands: CommandRegistry;
let stream: FakeStream;
let palette: unknown[];
let menu: Record<string, unknown>[];
/** What the context menu is open on. */
let row: HTMLElement | null;

function activate(methods: Partial<IAiInfraApi>, ...budgets: BudgetItem[]): void {
  stream = new FakeStream();
  const api = fakeApi(methods);
  const models = makeModels({ api, stream });
  commands = new CommandRegistry();
  palette = [];
  menu = [];
  row = null;
  const app = {
    commands,
    contextMenu: { addItem: (item: Record<string, unknown>) => menu.push(item) },
    contextMenuHitTest: (test: (node: HTMLElement) => boolean) => (row && test(row) ? row : null)
  } as unknown as JupyterFrontEnd;
  const addItem = (item: unknown): number => palette.push(item);
  void plugin.activate(app, api, models, null, { addItem });
  stream.say({ type: 'pools', pools: [pool('lab')] });
  stream.say({ type: 'budgets', budgets });
  stream.say(jobsNews([job('1', { name: 'digits' })], { reset: true, active: 1 }));
}

function rowOf(name: string, data: Record<string, string>): HTMLElement {
  const node = document.createElement('div');
  node.className = name;
  Object.assign(node.dataset, data);
  return node;
}

const toasts = (): string[] => Notification.manager.notifications.map(({ message }) => message);

beforeEach(() => {
  Notification.dismiss();
});

afterEach(() => {
  closeDialogs();
  vi.useRealTimers();
});

describe('the commands on budgets', () => {
  it('are in the palette, and in the menus of budgets, pools and jobs', () => {
    activate({});
    expect(palette).toHaveLength(4);
    const args = { isPalette: true };
    expect(commands.label(CommandIDs.setBudget, args)).toBe('AI Infra: Set a Budget…');
    expect(commands.label(CommandIDs.setBudget)).toBe('Set a Budget…');
    const selectors = menu.map(({ selector }) => selector);
    expect(selectors).toEqual([
      ...Array<string>(5).fill('.aiinfra-BudgetRow'),
      '.aiinfra-PoolRow',
      '.aiinfra-JobRow'
    ]);
  });

  it('offer to wake up only what rests, and to rest only what does not', () => {
    activate({}, budget('a'), budget('b', { snoozed: true }));
    const seen = (): boolean[] =>
      [3600, null].map(seconds =>
        commands.isVisible(CommandIDs.snoozeBudget, { seconds, fromMenu: true })
      );
    row = rowOf('aiinfra-BudgetRow', { budget: 'a' });
    expect(seen()).toEqual([true, false]);
    row = rowOf('aiinfra-BudgetRow', { budget: 'b' });
    expect(seen()).toEqual([false, true]);
  });
});

describe('snoozing', () => {
  it('is for an hour, for as long as is said, or over', async () => {
    const snoozeBudget = vi.fn<IAiInfraApi['snoozeBudget']>(id => Promise.resolve(budget(id)));
    activate({ snoozeBudget }, budget('a'));
    await commands.execute(CommandIDs.snoozeBudget, { id: 'a' });
    await commands.execute(CommandIDs.snoozeBudget, { id: 'a', seconds: 60 });
    await commands.execute(CommandIDs.snoozeBudget, { id: 'a', seconds: null });
    expect(snoozeBudget.mock.calls.map(([, seconds]) => seconds)).toEqual([3600, 60, null]);
  });

  it('says why it is refused', async () => {
    const snoozeBudget = (): Promise<never> =>
      Promise.reject(new RequestError('refused', 'you may not', { status: 403 }));
    activate({ snoozeBudget }, budget('a'));
    const done = commands.execute(CommandIDs.snoozeBudget, { id: 'a' });
    const shown = await dialog();
    expect(shown.textContent).toContain('you may not');
    press(shown, 'Close');
    expect(await done).toBeNull();
  });

  it('asks which one where none is named', async () => {
    const snoozeBudget = vi.fn<IAiInfraApi['snoozeBudget']>(id => Promise.resolve(budget(id)));
    const budgets = (): Promise<BudgetItem[]> => Promise.resolve([budget('a'), budget('b')]);
    activate({ snoozeBudget, budgets });
    const done = commands.execute(CommandIDs.snoozeBudget, { isPalette: true });
    const shown = await dialog();
    const select = shown.querySelector('select') as HTMLSelectElement;
    select.value = [...select.options].find(({ text }) => text.includes('pool b'))?.value ?? '';
    (shown.querySelector('.jp-mod-accept') as HTMLButtonElement).click();
    await done;
    expect(snoozeBudget.mock.calls).toEqual([['b', 3600]]);
  });

  it('says where there is none at all', async () => {
    activate({ budgets: () => Promise.resolve([]) });
    expect(await commands.execute(CommandIDs.snoozeBudget, {})).toBeNull();
    expect(toasts()).toEqual(['There is no budget.']);
  });
});

describe('stopping the jobs of a budget', () => {
  it('asks first, and names them', async () => {
    const stopBudgetJobs = vi.fn(() => Promise.resolve(['1']));
    activate({ stopBudgetJobs }, budget('a', { jobs: ['1'] }));
    const refused = commands.execute(CommandIDs.stopBudget, { id: 'a' });
    const shown = await dialog();
    expect(shown.textContent).toContain('Stop 1 job?');
    expect(shown.textContent).toContain('counts “digits”');
    press(shown, 'Cancel');
    expect([await refused, stopBudgetJobs.mock.calls]).toEqual([null, []]);

    const done = commands.execute(CommandIDs.stopBudget, { id: 'a' });
    press(await dialog(), 'Stop it');
    expect([await done, stopBudgetJobs.mock.calls]).toEqual([['1'], [['a']]]);
  });

  it('says that there is none', async () => {
    activate({}, budget('a'));
    expect(await commands.execute(CommandIDs.stopBudget, { id: 'a' })).toEqual([]);
    expect(toasts()).toEqual(['No job runs that this budget counts.']);
  });
});

describe('removing', () => {
  it('is done after a while, and can be taken back until then', async () => {
    vi.useFakeTimers();
    const removeBudget = vi.fn(() => Promise.resolve());
    activate({ removeBudget }, budget('a'));
    await commands.execute(CommandIDs.removeBudget, { id: 'a' });
    expect(toasts()).toEqual(['Removed the budget of $20.00 a month for pool a.']);
    const [toast] = Notification.manager.notifications;
    toast!.options.actions![0]!.callback(new MouseEvent('click'));
    await vi.advanceTimersByTimeAsync(20_000);
    expect([removeBudget.mock.calls, toasts()]).toEqual([[], []]);

    await commands.execute(CommandIDs.removeBudget, { id: 'a' });
    await vi.advanceTimersByTimeAsync(8_000);
    expect([removeBudget.mock.calls, toasts()]).toEqual([[['a']], []]);
  });
});

describe('setting', () => {
  it.each([
    ['aiinfra-PoolRow', { pool: 'lab' }, 'aiinfra-budget-subject', 'lab'],
    ['aiinfra-JobRow', { job: '1' }, 'aiinfra-budget-subject', '1']
  ])('knows what the menu is of: %s', async (name, data, field, text) => {
    activate({});
    row = rowOf(name, data);
    const done = commands.execute(CommandIDs.setBudget, { fromMenu: true });
    await dialog();
    expect(document.querySelector<HTMLInputElement>(`#${field}`)?.value).toBe(text);
    press(await dialog(), 'Cancel');
    expect(await done).toBeNull();
  });

  it('changes the one that is named', async () => {
    const setBudget = vi.fn<IAiInfraApi['setBudget']>(() => Promise.resolve(budget('a')));
    activate({ setBudget }, budget('a'));
    const done = commands.execute(CommandIDs.setBudget, { id: 'a' });
    const shown = await dialog();
    expect(shown.textContent).toContain('Change the budget');
    press(shown, 'Change');
    expect(await done).toEqual(budget('a'));
    expect(setBudget.mock.calls[0]![0]).toMatchObject({ scope: 'pool', amount: '20 usd' });
  });
});

it('leaves a job alone for good', async () => {
  const setIdle = vi.fn(() => Promise.resolve());
  activate({ setIdle });
  await commands.execute(CommandIDs.leaveIdle, { id: '1' });
  const rule = { stop_seconds: null, warn_seconds: null, watch: false };
  expect(setIdle.mock.calls).toEqual([['1', rule]]);
  expect(toasts()).toEqual(['“digits” is left alone, also while its GPUs are idle.']);
});
