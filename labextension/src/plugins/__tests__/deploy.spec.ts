import type { JupyterFrontEnd } from '@jupyterlab/application';
import { Notification, type ICommandPalette } from '@jupyterlab/apputils';
import type { INotebookTracker } from '@jupyterlab/notebook';
import { CommandRegistry } from '@lumino/commands';
import { Signal } from '@lumino/signaling';
import { fireEvent, screen } from '@testing-library/react';
import axe from 'axe-core';
import { afterEach, expect, it, vi } from 'vitest';

import { closeDialogs, dialog, press } from '../../__tests__/dialogs';
import { fakeApi, FakeStream } from '../../__tests__/fakes';
import { makeModels } from '../../__tests__/models';
import { pool } from '../../__tests__/samples';
import { endpoint, key, version } from '../../endpointpage/__tests__/samples';
import { CommandIDs, type IAiInfraApi } from '../../tokens';
import plugin from '../deploy';

// All that is needed of it is the name of what it provides.
vi.mock('@jupyterlab/notebook', () => ({ INotebookTracker: {} }));

/** Colours are for a browser to judge: there are none here. */
const AXE = { rules: { 'color-contrast': { enabled: false } } };
const SERVABLE = {
  sources: [{ name: 'net', kind: 'module', text: 'Net', calls: 2 }],
  examples: [{ name: 'x', text: 'ndarray 8 x 2' }]
};

let commands: CommandRegistry;
let inserted: [number, { source: string }][];
let ran: string[];
const save = vi.fn(() => Promise.resolve());

/** A notebook whose kernel has a module, and does what it is asked. */
function notebook(): object {
  const requestExecute = (content: { code: string }): unknown => {
    ran.push(content.code);
    const found = { status: 'ok', data: { 'application/json': SERVABLE } };
    const reply = { content: { status: 'ok', user_expressions: { found } } };
    return { done: Promise.resolve(reply) };
  };
  const kernel = { status: 'idle', statusChanged: new Signal({}), requestExecute };
  const tagged = { type: 'code', getMetadata: () => ['predict'] };
  return {
    title: { label: 'train.ipynb' },
    context: {
      path: 'RTC:work/train.ipynb',
      save,
      model: {
        dirty: true,
        readOnly: false,
        cells: [{ type: 'markdown', getMetadata: () => undefined }, tagged],
        sharedModel: {
          insertCell: (index: number, cell: { source: string }) => inserted.push([index, cell])
        }
      }
    },
    sessionContext: { session: { kernel } },
    content: {
      activeCell: {},
      activeCellIndex: 1,
      deselectAll: () => undefined,
      scrollToItem: () => Promise.resolve()
    }
  };
}

function activate(methods: Partial<IAiInfraApi> = {}, panel: object | null = notebook()): string[] {
  commands = new CommandRegistry();
  [inserted, ran] = [[], []];
  save.mockClear();
  const stream = new FakeStream();
  const api = fakeApi({ endpoints: () => Promise.resolve([]), ...methods });
  const models = makeModels({ api, stream });
  stream.say({ type: 'pools', pools: [pool('lab')] });
  const contents = { localPath: (path: string) => path.replace(/^RTC:/, '') };
  const app = { commands, serviceManager: { contents } } as unknown as JupyterFrontEnd;
  const tracker = { currentWidget: panel } as unknown as INotebookTracker;
  const offered: string[] = [];
  const palette = { addItem: ({ command }: { command: string }) => offered.push(command) };
  void plugin.activate(...[app, api, models, tracker, null, palette as unknown as ICommandPalette]);
  return offered;
}

/** The form, once the kernel has said what it has. */
async function form(args: { endpoint?: string } = {}): Promise<{ done: Promise<unknown> }> {
  const done = commands.execute(CommandIDs.deployNotebook, args) as Promise<unknown>;
  await dialog();
  await screen.findByText('net (module Net)');
  return { done };
}

const type = (label: string, text: string): boolean =>
  fireEvent.change(screen.getByLabelText(label), { target: { value: text } });
const line = (): string => screen.getByLabelText('The line that is run').textContent;

afterEach(() => {
  closeDialogs();
  Notification.dismiss();
});

it('is in the palette, and wants a notebook', async () => {
  expect(activate({}, null)).toEqual([CommandIDs.deployNotebook]);
  expect(commands.isEnabled(CommandIDs.deployNotebook)).toBe(false);
  // The page of endpoints says why, where a button that cannot be pressed would not.
  expect(commands.isEnabled(CommandIDs.deployNotebook, { endpoint: 'digits' })).toBe(true);
  expect(await commands.execute(CommandIDs.deployNotebook)).toBeNull();
  expect(Notification.manager.notifications[0]?.message).toContain('No notebook is open');
});

it('deploys what the kernel has, and shows what becomes of it, with its key', async () => {
  const made = endpoint('e1', { name: 'digits', versions: [version(1, { state: 'starting' })] });
  let all = [endpoint('e0', { name: 'other' })];
  const addEndpointKey = vi.fn<IAiInfraApi['addEndpointKey']>(() => {
    all = [...all, made];
    return Promise.resolve({ secret: 'aik_secret', key: key('k1') });
  });
  activate({
    endpoints: () => Promise.resolve(ran.some(code => code.startsWith('%pro')) ? [made] : all),
    addEndpointKey
  });
  const { done } = await form();
  expect((await axe.run('.jp-Dialog', AXE)).violations).toEqual([]);
  type('Model', 'name net');
  type('Endpoint', 'digits');
  type('Key for (optional)', 'anna');
  press(await dialog(), 'Deploy');
  const secret = await screen.findByText('aik_secret');
  expect(ran).toEqual([
    '',
    '%load_ext jupyter_aiinfra',
    '%promote endpoint net --name digits --pool lab --replicas 1 --detach'
  ]);
  expect(save).toHaveBeenCalledTimes(1);
  expect(addEndpointKey).toHaveBeenCalledWith('e1', { name: 'anna' });
  const steps = secret.closest('.jp-Dialog')!;
  expect(steps.querySelector('[aria-current=step]')?.textContent).toContain('replicas start');
  expect((await axe.run('.jp-Dialog', AXE)).violations).toEqual([]);
  const open = vi.fn(() => null);
  commands.addCommand(CommandIDs.openEndpoints, { execute: open });
  press(steps as HTMLElement, 'Open the endpoint');
  expect(await done).toBe(made);
  expect(open).toHaveBeenCalledTimes(1);
});

it('gives an endpoint another version, by how it takes over', async () => {
  activate({ endpoints: () => Promise.resolve([endpoint('e1', { name: 'digits' })]) });
  await form({ endpoint: 'digits' });
  expect(document.body.textContent).toContain('it gets version 2');
  expect(screen.queryByLabelText('Replicas at least')).toBeNull();
  type('Change', 'canary');
  type('Percent', '10');
  expect(line()).toBe(
    '%promote endpoint train.ipynb --name digits --canary 10 --step 1m --max-errors 0.02 --max-p95 200'
  );
  fireEvent.click(screen.getByLabelText('Without gates'));
  expect(line()).toMatch(/--no-gates$/);
});

it('offers what a module can be, and what takes the place of what is lost', async () => {
  const versions = [version(1, { pool: 'cheap', fallback_pool: 'lab', gpus: 1 })];
  activate({ endpoints: () => Promise.resolve([endpoint('e1', { name: 'digits', versions })]) });
  await form({ endpoint: 'digits' });
  // A function has no forms, and what is tagged is one.
  expect(screen.queryByLabelText('Form')).toBeNull();
  type('Model', 'name net');
  type('Form', 'bf16');
  expect(document.body.textContent).toContain('Weights and products in bfloat16');
  expect(screen.getByLabelText('GPUs of each replica')).toHaveProperty(
    'placeholder',
    'as before: 1'
  );
  type('GPUs of each replica', '2');
  const place = screen.getByLabelText<HTMLSelectElement>('Takes the place of what is lost');
  expect([...place.options].map(({ text }) => text)).toEqual([
    ...['as before: lab', 'nothing', 'lab (local)']
  ]);
  type('Takes the place of what is lost', '/');
  expect(line()).toContain('--name digits --no-spot --gpus 2 --form bf16 ');
  expect((await axe.run('.jp-Dialog', AXE)).violations).toEqual([]);
  // What the router does for all versions is not of one of them.
  expect(screen.queryByLabelText('Requests kept, %')).toBeNull();
  type('Endpoint', 'fresh');
  type('Requests kept, %', '1');
  fireEvent.click(screen.getByLabelText('Ask a replica only once'));
  expect(line()).toMatch(/--not-idempotent --sample 0.01$/);
});

it('puts the line into a cell, and runs nothing', async () => {
  activate();
  const { done } = await form();
  type('Example (optional)', 'x');
  fireEvent.click(screen.getByText('Insert as cell'));
  expect(await done).toBeNull();
  await vi.waitFor(() => expect(inserted).toHaveLength(1));
  expect(inserted[0]).toMatchObject([
    2,
    { source: '%promote endpoint train.ipynb --name train --pool lab --example x --replicas 1' }
  ]);
  expect(ran).toEqual(['']);
});
