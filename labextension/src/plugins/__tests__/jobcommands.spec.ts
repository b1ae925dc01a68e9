import type { JupyterFrontEnd } from '@jupyterlab/application';
import { Notification } from '@jupyterlab/apputils';
import { CommandRegistry } from '@lumino/commands';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { closeDialogs } from '../../__tests__/dialogs';
import { FakeStream, fakeApi } from '../../__tests__/fakes';
import { makeModels } from '../../__tests__/models';
import { ended, job, jobsNews } from '../../__tests__/samples';
import { RequestError } from '../../request';
import { CommandIDs, type IAiInfraApi, type IAiInfraModels } from '../../tokens';
import plugin from '../jobcommands';

let commands: CommandRegistry;
let models: IAiInfraModels;
let inMenu: string[];
let inPalette: string[];
const opened = vi.fn();

function activate(methods: Partial<IAiInfraApi>): void {
  const stream = new FakeStream();
  const api = fakeApi(methods);
  models = makeModels({ api, stream });
  commands = new CommandRegistry();
  commands.addCommand(CommandIDs.openJob, { execute: opened });
  inMenu = [];
  inPalette = [];
  const app = {
    commands,
    contextMenu: { addItem: ({ command }: { command: string }) => inMenu.push(command) }
  };
  void plugin.activate(app as unknown as JupyterFrontEnd, models, null, {
    addItem: ({ command }: { command: string }) => inPalette.push(command)
  });
  stream.say(jobsNews([job('1'), ended('2'), job('3', { desired: 'stop' })], { reset: true }));
}

function toasts(): { message: string; actions: string[] }[] {
  return Notification.manager.notifications.map(({ message, options }) => ({
    message,
    actions: (options.actions ?? []).map(({ label }) => label)
  }));
}

function press(label: string): void {
  const actions = Notification.manager.notifications.flatMap(
    ({ options }) => options.actions ?? []
  );
  actions.find(action => action.label === label)?.callback(new MouseEvent('click'));
}

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
});

afterEach(() => {
  vi.useRealTimers();
  Notification.dismiss();
  closeDialogs();
});

it('are in the palette, and in the menu of a row', () => {
  activate({});
  expect(inPalette).toEqual([CommandIDs.cancelJob, CommandIDs.rerunJob, CommandIDs.removeJob]);
  expect(inMenu).toEqual([CommandIDs.openJob, ...inPalette]);
  expect(commands.label(CommandIDs.cancelJob)).toBe('Cancel Job');
  expect(commands.label(CommandIDs.cancelJob, { isPalette: true })).toBe('AI Infra: Cancel Job');
});

it.each([
  [CommandIDs.cancelJob, [true, false, false]],
  [CommandIDs.rerunJob, [true, true, true]],
  [CommandIDs.removeJob, [false, true, false]]
])('%s can be had where it has a meaning', (command, expected) => {
  activate({});
  expect(['1', '2', '3'].map(id => commands.isEnabled(command, { id }))).toEqual(expected);
  expect(commands.isEnabled(command)).toBe(false);
  models.selection.select('1');
  expect(commands.isEnabled(command)).toBe(expected[0]);
  expect(commands.isEnabled(command, { id: 'not listed here' })).toBe(true);
});

it('act on what is selected when no job is named', async () => {
  const cancelJob = vi.fn((id: string) =>
    Promise.resolve(job(id, { desired: 'stop', version: 2 }))
  );
  activate({ cancelJob });
  await commands.execute(CommandIDs.cancelJob);
  expect(cancelJob).not.toHaveBeenCalled();

  models.selection.select('1');
  await commands.execute(CommandIDs.cancelJob);
  expect(cancelJob).toHaveBeenCalledWith('1');
  expect(models.jobs.find('1')?.desired).toBe('stop');
});

it('launching again selects the new job, and offers to open it', async () => {
  activate({ rerunJob: () => Promise.resolve(job('4', { name: 'digits' })) });
  const result: unknown = await commands.execute(CommandIDs.rerunJob, { id: '2' });

  expect(result).toMatchObject({ id: '4' });
  expect(models.selection.selected?.id).toBe('4');
  expect(toasts()).toEqual([{ message: '“digits” was launched again.', actions: ['Open'] }]);
  press('Open');
  expect(opened).toHaveBeenCalledWith({ id: '4' });
});

it('a refusal is told with what to do about it', async () => {
  const error = new RequestError('refused', 'the pool is gone', { hint: 'attach it', status: 409 });
  activate({ rerunJob: () => Promise.reject(error) });
  void commands.execute(CommandIDs.rerunJob, { id: '2' });
  vi.useRealTimers();
  await vi.waitFor(() => expect(document.querySelector('.jp-Dialog')).not.toBeNull());

  const text = document.querySelector('.jp-Dialog')?.textContent;
  expect(text).toContain('The job was not launched again');
  expect(text).toContain('the pool is gone');
  expect(text).toContain('attach it');
  document.querySelector<HTMLButtonElement>('button.jp-mod-accept')?.click();
});

it('a mistake of our own is not dressed up', async () => {
  activate({ rerunJob: () => Promise.reject(new TypeError('a bug')) });
  await expect(commands.execute(CommandIDs.rerunJob, { id: '2' })).rejects.toThrow('a bug');
});

describe('removing', () => {
  const removeJob = vi.fn((_id: string) => Promise.resolve());

  beforeEach(() => {
    removeJob.mockClear();
    activate({ removeJob });
  });

  it('offers to take it back, and removes when nobody does', async () => {
    await commands.execute(CommandIDs.removeJob, { id: '2' });
    expect(toasts()).toEqual([{ message: '“name of 2” was removed.', actions: ['Undo'] }]);
    expect(models.jobs.find('2')).toBeUndefined();

    await vi.advanceTimersByTimeAsync(8000);
    expect(removeJob).toHaveBeenCalledWith('2');
    expect(toasts()).toEqual([]);
  });

  it('is undone by the toast', async () => {
    await commands.execute(CommandIDs.removeJob, { id: '2' });
    press('Undo');
    await vi.advanceTimersByTimeAsync(60_000);

    expect(models.jobs.find('2')).toBeDefined();
    expect(removeJob).not.toHaveBeenCalled();
    expect(toasts()).toEqual([]);
  });
});
