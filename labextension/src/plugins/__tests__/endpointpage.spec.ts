import type { ILayoutRestorer, JupyterFrontEnd } from '@jupyterlab/application';
import { Notification, type ICommandPalette } from '@jupyterlab/apputils';
import type { ILauncher } from '@jupyterlab/launcher';
import { CommandRegistry } from '@lumino/commands';
import type { Widget } from '@lumino/widgets';
import { afterEach, describe, expect, it, vi } from 'vitest';

import { closeDialogs, dialog } from '../../__tests__/dialogs';
import { fakeApi } from '../../__tests__/fakes';
import { canary, endpoint } from '../../endpointpage/__tests__/samples';
import { RequestError } from '../../request';
import { CommandIDs, type IAiInfraApi } from '../../tokens';
import plugin from '../endpointpage';

interface IAdded {
  command: string;
}

const { openEndpoints, openEndpoint, rollbackEndpoint, promoteEndpoint } = CommandIDs;
const { scaleEndpoint, removeEndpoint } = CommandIDs;

let commands: CommandRegistry;
let added: Widget[];
let offered: IAdded[];
const restore = vi.fn(() => Promise.resolve());

function activate(methods: Partial<IAiInfraApi> = {}): void {
  commands = new CommandRegistry();
  added = [];
  offered = [];
  const shell = { add: (widget: Widget) => added.push(widget), activateById: () => undefined };
  const app = { commands, shell } as unknown as JupyterFrontEnd;
  const all = [endpoint('e1', { name: 'digits' }), endpoint('e2', { name: 'adder' })];
  const api = fakeApi({ endpoints: () => Promise.resolve(all), ...methods });
  const restorer = { restore } as unknown as ILayoutRestorer;
  const palette = { addItem: (item: IAdded) => offered.push(item) } as unknown as ICommandPalette;
  const launcher = { add: (item: IAdded) => offered.push(item) } as unknown as ILauncher;
  void plugin.activate(app, api, null, palette, launcher, restorer);
}

const toasts = (): string[] => Notification.manager.notifications.map(({ message }) => message);

afterEach(() => {
  added.forEach(widget => widget.dispose());
  Notification.dismiss();
  closeDialogs();
  vi.useRealTimers();
});

describe('the page of endpoints', () => {
  it('is one, also when it is asked for twice at once, and shows what it is told to', async () => {
    activate();
    const [one, same] = (await Promise.all([
      commands.execute(openEndpoints),
      commands.execute(openEndpoint, { id: 'e1' })
    ])) as Widget[];
    expect(same).toBe(one);
    expect(added.map(({ id }) => id)).toEqual(['aiinfra-endpoints']);
    const page = one as unknown as { content: { model: { view: object } } };
    expect(page.content.model.view).toMatchObject({ endpoint: 'e1', tab: 'overview' });
    await commands.execute(openEndpoints, { isLauncher: true, cwd: '/' });
    expect(page.content.model.view).toMatchObject({ endpoint: 'e1' });
  });

  it('is in the palette and in the launcher, and there again after a reload', async () => {
    activate();
    expect(offered.map(({ command }) => command)).toEqual([
      ...[openEndpoints, rollbackEndpoint, promoteEndpoint, scaleEndpoint, removeEndpoint],
      openEndpoints
    ]);
    expect(commands.label(openEndpoints, { isPalette: true })).toBe('AI Infra: Show Endpoints');
    const [, options] = restore.mock.lastCall as unknown as [
      unknown,
      { command: string; args: (page: Widget) => object }
    ];
    expect(options.command).toBe(openEndpoints);
    const page = (await commands.execute(openEndpoints, { endpoint: 'e2', tab: 'try' })) as Widget;
    expect(options.args(page)).toMatchObject({ endpoint: 'e2', tab: 'try' });
  });
});

describe('the commands on endpoints', () => {
  it('roll back, to a version where one is named, and say what is served then', async () => {
    const rolled = vi.fn<IAiInfraApi['rollbackEndpoint']>(() =>
      Promise.resolve(endpoint('e1', { name: 'digits' }))
    );
    activate({ rollbackEndpoint: rolled });
    await commands.execute(rollbackEndpoint, { id: 'e1' });
    await commands.execute(rollbackEndpoint, { id: 'e1', to: 3 });
    expect(rolled.mock.calls).toEqual([
      ['e1', {}],
      ['e1', { to: 3 }]
    ]);
    expect(toasts()[0]).toBe('“digits” is rolled back: version 1 is served.');
  });

  it('promote, with the way back beside it', async () => {
    const rolled = vi.fn<IAiInfraApi['rollbackEndpoint']>(() => Promise.resolve(canary('e1')));
    activate({
      promoteEndpoint: () => Promise.resolve(endpoint('e1', { name: 'digits' })),
      rollbackEndpoint: rolled
    });
    await commands.execute(promoteEndpoint, { id: 'e1' });
    const [toast] = Notification.manager.notifications;
    expect(toast?.options.actions?.map(({ label }) => label)).toEqual(['Roll back']);
    toast?.options.actions?.[0]?.callback(new MouseEvent('click'));
    await vi.waitFor(() => expect(rolled).toHaveBeenCalledWith('e1', {}));
  });

  it('ask for the endpoint that is meant', async () => {
    const promoted = vi.fn<IAiInfraApi['promoteEndpoint']>(id => Promise.resolve(endpoint(id)));
    activate({ promoteEndpoint: promoted });
    const executing = commands.execute(promoteEndpoint, { isPalette: true });
    const asked = await dialog();
    const select = asked.querySelector('select');
    expect([...(select?.options ?? [])].map(({ value }) => value)).toEqual(['digits', 'adder']);
    if (select) {
      select.value = 'adder';
    }
    asked.querySelector<HTMLElement>('.jp-mod-accept')?.click();
    await executing;
    expect(promoted).toHaveBeenCalledWith('e2');
  });

  it('scale, by what is given or filled in', async () => {
    const scaled = vi.fn<IAiInfraApi['scaleEndpoint']>(id => Promise.resolve(endpoint(id)));
    activate({
      scaleEndpoint: scaled,
      endpoint: () => Promise.resolve({ item: endpoint('e1'), events: [] })
    });
    await commands.execute(scaleEndpoint, { id: 'e1', least: 2 });
    expect(scaled).toHaveBeenLastCalledWith('e1', { least: 2 });
    const executing = commands.execute(scaleEndpoint, { id: 'e1' });
    const asked = await dialog();
    const [least, most] = [...asked.querySelectorAll('input')];
    expect([least?.value, most?.value]).toEqual(['1', '1']);
    if (least && most) {
      [least.value, most.value] = ['0', '3'];
    }
    asked.querySelector<HTMLElement>('.jp-mod-accept')?.click();
    await executing;
    expect(scaled).toHaveBeenLastCalledWith('e1', { least: 0, most: 3 });
  });

  it('remove after a time in which it can be had back', async () => {
    const removed = vi.fn<IAiInfraApi['removeEndpoint']>(() => Promise.resolve());
    activate({ removeEndpoint: removed });
    // Loaded first: that takes real time.
    await commands.execute(openEndpoints);
    vi.useFakeTimers();
    await commands.execute(removeEndpoint, { id: 'e1' });
    expect(toasts()).toHaveLength(1);
    Notification.manager.notifications[0]?.options.actions?.[0]?.callback(new MouseEvent('click'));
    await vi.advanceTimersByTimeAsync(20_000);
    expect([removed.mock.calls.length, toasts().length]).toEqual([0, 0]);
    await commands.execute(removeEndpoint, { id: 'e1' });
    await vi.advanceTimersByTimeAsync(8_000);
    expect(removed).toHaveBeenCalledWith('e1');
  });

  it('tell what is refused in a dialog', async () => {
    activate({
      promoteEndpoint: () => Promise.reject(new RequestError('refused', 'nothing is tried out'))
    });
    const executing = commands.execute(promoteEndpoint, { id: 'e1' });
    const said = await dialog();
    expect(said.textContent).toContain('nothing is tried out');
    said.querySelector<HTMLElement>('.jp-mod-accept')?.click();
    expect(await executing).toBeNull();
  });
});
