import type { JupyterFrontEnd } from '@jupyterlab/application';
import { Notification } from '@jupyterlab/apputils';
import { CommandRegistry } from '@lumino/commands';
import { fireEvent } from '@testing-library/react';
import { afterEach, describe, expect, it, vi } from 'vitest';

import { price } from '../../__tests__/costsamples';
import { closeDialogs, dialog, press } from '../../__tests__/dialogs';
import { fakeApi } from '../../__tests__/fakes';
import type { PoolItem } from '../../api/types';
import { aPool } from '../../components/panel/__tests__/pooldata';
import { RequestError } from '../../request';
import { CommandIDs, type IAiInfraApi } from '../../tokens';
import plugin from '../poolcommands';

interface IActivated {
  commands: CommandRegistry;
  palette: unknown[];
  menu: Record<string, unknown>[];
  run: (command: string, args?: Record<string, string | boolean | object>) => Promise<unknown>;
}

function activate(methods: Partial<IAiInfraApi>, row: HTMLElement | null = null): IActivated {
  const commands = new CommandRegistry();
  const palette: unknown[] = [];
  const menu: Record<string, unknown>[] = [];
  const app = {
    commands,
    contextMenu: { addItem: (item: Record<string, unknown>) => menu.push(item) },
    contextMenuHitTest: (test: (node: HTMLElement) => boolean) => (row && test(row) ? row : null)
  } as unknown as JupyterFrontEnd;
  const addItem = (item: unknown): number => palette.push(item);
  void plugin.activate(app, fakeApi(methods), null, { addItem });
  return {
    commands,
    palette,
    menu,
    run: (command, args = {}) => commands.execute(command, args as never)
  };
}

afterEach(() => {
  closeDialogs();
  Notification.dismiss();
});

describe('the commands on pools', () => {
  it('are in the palette by long names and in the menu of a pool by short ones', () => {
    const { commands, palette, menu } = activate({});

    const { attachPool, checkPool, setPrice, detachPool } = CommandIDs;
    const labels = [attachPool, checkPool, setPrice, detachPool].map(id =>
      commands.label(id, { isPalette: true })
    );
    expect(labels).toEqual([
      'AI Infra: Attach a Pool…',
      'AI Infra: Check a Pool…',
      'AI Infra: Set the Price of a Pool…',
      'AI Infra: Detach a Pool…'
    ]);
    expect(palette).toHaveLength(4);
    expect(menu.map(({ command }) => commands.label(command as string))).toEqual([
      'Check Now',
      'Set the Price…',
      'Detach'
    ]);
    expect(menu.every(item => item['selector'] === '.aiinfra-PoolRow')).toBe(true);
  });

  it('attach without a form what they are told to', async () => {
    const attachPool = vi.fn(() => Promise.resolve(aPool()));
    const { run } = activate({ attachPool });
    const asked = { name: 'here', kind: 'local', options: { max_procs: 2 } };

    expect(await run(CommandIDs.attachPool, asked)).toEqual(aPool());
    expect(attachPool).toHaveBeenCalledWith(asked);
  });

  it('open the form where they are told nothing', async () => {
    const kinds = [{ kind: 'local', title: 'This machine', schema: {} }];
    const { run } = activate({ kinds: () => Promise.resolve(kinds) });

    const done = run(CommandIDs.attachPool);
    const shown = await dialog();
    expect(shown.textContent).toContain('This machine');
    press(shown, 'Cancel');
    expect(await done).toBeNull();
  });

  it('say what a pool costs, as the form is filled in', async () => {
    const setPoolPrice = vi.fn<IAiInfraApi['setPoolPrice']>(() => Promise.resolve(price()));
    const pools = (): Promise<PoolItem[]> => Promise.resolve([aPool({ name: 'lab' })]);
    const { run } = activate({ pools, setPoolPrice });

    const done = run(CommandIDs.setPrice, { name: 'lab' });
    const shown = await dialog();
    expect(shown.textContent).toContain('Price of lab');
    const amount = shown.querySelector('#aiinfra-price-amount') as HTMLInputElement;
    fireEvent.change(amount, { target: { value: '2.49' } });
    press(shown, 'Set the price');
    expect(await done).toEqual(price());
    expect(setPoolPrice.mock.calls[0]?.[0]).toBe('lab');
  });

  it('say whole why something was refused', async () => {
    const refused = new RequestError('refused', 'no such kind', { hint: 'try local', status: 400 });
    const { run } = activate({ attachPool: () => Promise.reject(refused) });

    const done = run(CommandIDs.attachPool, { name: 'x', kind: 'y' });
    const shown = await dialog();
    expect(shown.textContent).toContain('The pool was not attached');
    expect(shown.textContent).toContain('no such kindtry local');
    press(shown, 'Close');
    expect(await done).toBeNull();
  });

  it('do not dress up a mistake of our own', async () => {
    const { run } = activate({ checkPool: () => Promise.reject(new TypeError('a bug')) });

    await expect(run(CommandIDs.checkPool, { name: 'here' })).rejects.toThrow('a bug');
  });

  it('check the pool whose menu is open, and never another', async () => {
    const row = document.createElement('li');
    row.className = 'aiinfra-PoolRow';
    row.dataset['pool'] = 'there';
    const checkPool = vi.fn(() => Promise.resolve(aPool()));

    await activate({ checkPool }, row).run(CommandIDs.checkPool, { fromMenu: true });
    expect(checkPool).toHaveBeenCalledWith('there');
    expect(await activate({}).run(CommandIDs.checkPool, { fromMenu: true })).toBeNull();
  });

  it('ask for the pool where none is named', async () => {
    const checkPool = vi.fn(() => Promise.resolve(aPool()));
    const pools = (): Promise<ReturnType<typeof aPool>[]> =>
      Promise.resolve([aPool({ name: 'a' }), aPool({ name: 'b' })]);
    const { run } = activate({ pools, checkPool });

    const done = run(CommandIDs.checkPool, { isPalette: true });
    const shown = await dialog();
    const select = shown.querySelector('select');
    expect([...(select?.options ?? [])].map(option => option.text)).toEqual(['a', 'b']);
    select!.value = 'b';
    shown.querySelector<HTMLButtonElement>('.jp-mod-accept')?.click();
    await done;
    expect(checkPool).toHaveBeenCalledWith('b');
  });

  it('say that there is no pool to choose from', async () => {
    const { run } = activate({ pools: () => Promise.resolve([]) });

    expect(await run(CommandIDs.detachPool, { isPalette: true })).toBeNull();
    expect(Notification.manager.notifications.map(each => each.message)).toEqual([
      'No pool is attached.'
    ]);
  });
});

describe('detaching', () => {
  it('is done at once, and can be taken back with the same options', async () => {
    const pool = aPool({ options: { max_procs: 2 } as never });
    const detachPool = vi.fn(() => Promise.resolve());
    const attachPool = vi.fn(() => Promise.resolve(pool));
    const { run } = activate({ pools: () => Promise.resolve([pool]), detachPool, attachPool });

    expect(await run(CommandIDs.detachPool, { name: 'here' })).toBe(pool);
    expect(detachPool.mock.calls).toEqual([['here']]);
    const [said] = Notification.manager.notifications;
    expect(said?.message).toBe('Detached here.');
    const [again] = said?.options.actions ?? [];
    expect(again?.label).toBe('Attach again');
    again?.callback(new MouseEvent('click'));
    expect(attachPool).toHaveBeenCalledWith({
      name: 'here',
      kind: 'local',
      options: { max_procs: 2 }
    });
  });

  it('asks first where jobs are not over, and forces it then', async () => {
    const detachPool = vi.fn(() => Promise.resolve());
    const pools = (): Promise<ReturnType<typeof aPool>[]> =>
      Promise.resolve([aPool({ active_jobs: 2 })]);
    const { run } = activate({ pools, detachPool });

    const done = run(CommandIDs.detachPool, { name: 'here' });
    const shown = await dialog();
    expect(shown.textContent).toContain('2 jobs on this pool are not over.');
    press(shown, 'Detach anyway');
    await done;
    expect(detachPool.mock.calls).toEqual([['here', { force: true }]]);
  });

  it('does nothing where that is not wanted', async () => {
    const pools = (): Promise<ReturnType<typeof aPool>[]> =>
      Promise.resolve([aPool({ active_jobs: 1 })]);
    const { run } = activate({ pools });

    const done = run(CommandIDs.detachPool, { name: 'here' });
    press(await dialog(), 'Cancel');
    expect(await done).toBeNull();
    expect(Notification.manager.count).toBe(0);
  });

  it('asks where a job has begun since the pools were counted', async () => {
    const detachPool = vi
      .fn<IAiInfraApi['detachPool']>()
      .mockRejectedValueOnce(new RequestError('refused', 'in use', { status: 409 }))
      .mockResolvedValueOnce();
    const pools = vi
      .fn()
      .mockResolvedValueOnce([aPool()])
      .mockResolvedValueOnce([aPool({ active_jobs: 1 })]);
    const { run } = activate({ pools, detachPool });

    const done = run(CommandIDs.detachPool, { name: 'here' });
    const shown = await dialog();
    expect(shown.textContent).toContain('A job on this pool is not over.');
    press(shown, 'Detach anyway');
    await done;
    expect(detachPool).toHaveBeenLastCalledWith('here', { force: true });
  });

  it('is no error where somebody else was quicker', async () => {
    const { run } = activate({ pools: () => Promise.resolve([]) });

    expect(await run(CommandIDs.detachPool, { name: 'gone' })).toBeNull();
    expect(Notification.manager.notifications[0]?.message).toBe('The pool gone is not attached.');
  });
});
