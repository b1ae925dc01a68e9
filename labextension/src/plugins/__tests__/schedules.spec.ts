import type { JupyterFrontEnd } from '@jupyterlab/application';
import { Notification } from '@jupyterlab/apputils';
import { CommandRegistry } from '@lumino/commands';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';

import { closeDialogs, dialog } from '../../__tests__/dialogs';
import { fakeApi, FakeStream } from '../../__tests__/fakes';
import { makeModels } from '../../__tests__/models';
import { pool } from '../../__tests__/samples';
import { run, schedule } from '../../__tests__/schedulesamples';
import { RequestError } from '../../request';
import { CommandIDs, type IAiInfraApi } from '../../tokens';
import plugin from '../schedules';

// All that is needed of them is the names of what they provide.
vi.mock('@jupyterlab/notebook', () => ({ INotebookTracker: {} }));
vi.mock('@jupyterlab/filebrowser', () => ({ IFileBrowserFactory: {} }));

let commands: CommandRegistry;
let stream: FakeStream;
let palette: { command: string }[];
let menu: Record<string, unknown>[];
/** What the context menu is open on. */
let row: HTMLElement | null;
let selected: { type: string; path: string } | null;
let panel: { context: Record<string, unknown> } | null;

function activate(methods: Partial<IAiInfraApi>): void {
  stream = new FakeStream();
  const api = fakeApi(methods);
  const models = makeModels({ api, stream });
  commands = new CommandRegistry();
  palette = [];
  menu = [];
  row = selected = panel = null;
  const contents = { localPath: (path: string) => path.replace(/^RTC:/, '') };
  const app = {
    commands,
    serviceManager: { contents, kernelspecs: { specs: null } },
    contextMenu: { addItem: (item: Record<string, unknown>) => menu.push(item) },
    contextMenuHitTest: (test: (node: HTMLElement) => boolean) => (row && test(row) ? row : null)
  } as unknown as JupyterFrontEnd;
  const tracker = {
    get currentWidget() {
      return panel;
    },
    find: (test: (each: object) => boolean) => (panel && test(panel) ? panel : undefined)
  };
  const widget = { selectedItems: () => (selected ? [selected] : []).values() };
  const browsers = { tracker: { currentWidget: widget } };
  const addItem = (item: { command: string }): number => palette.push(item);
  void plugin.activate(app, api, models, null, { addItem }, tracker, browsers);
  stream.say({ type: 'pools', pools: [pool('lab')] });
  const changed = [schedule('a', { name: 'nightly' }), schedule('b', { state: 'paused' })];
  stream.say({ type: 'schedules', changed, removed: [], reset: true });
}

/** The first said is the first. */
const toasts = (): string[] =>
  Notification.manager.notifications.map(({ message }) => message).reverse();

beforeEach(() => {
  Notification.dismiss();
});

afterEach(() => {
  closeDialogs();
  vi.useRealTimers();
});

it('has its commands in the palette and in the menu of a schedule, as fits it', () => {
  activate({});
  expect(palette).toHaveLength(7);
  expect(menu.map(({ command }) => command)).toHaveLength(6);
  expect(commands.label(CommandIDs.pauseSchedule, { isPalette: true })).toContain('AI Infra: ');
  row = document.createElement('li');
  row.className = 'aiinfra-ScheduleRow';
  row.dataset['schedule'] = 'b';
  const visible = (id: string): boolean => commands.isVisible(id, { fromMenu: true });
  expect([visible(CommandIDs.pauseSchedule), visible(CommandIDs.resumeSchedule)]).toEqual([
    false,
    true
  ]);
});

it('opens the form for the notebook in front, saved, or the one in the file browser', async () => {
  const previewSchedule = vi.fn<IAiInfraApi['previewSchedule']>();
  previewSchedule.mockResolvedValue({ slots: [], form: { properties: {} } });
  activate({ previewSchedule });
  expect(commands.isEnabled(CommandIDs.scheduleNotebook)).toBe(false);
  const save = vi.fn(() => Promise.resolve());
  panel = { context: { path: 'RTC:work/report.ipynb', model: { dirty: true }, save } };
  expect(commands.isEnabled(CommandIDs.scheduleNotebook)).toBe(true);
  const done = commands.execute(CommandIDs.scheduleNotebook);
  const shown = await dialog();
  expect(save).toHaveBeenCalledTimes(1);
  await vi.waitFor(() => expect(previewSchedule).toHaveBeenCalled());
  expect(previewSchedule.mock.calls[0]![0]).toMatchObject({ notebook: 'work/report.ipynb' });
  expect(shown.querySelector('.aiinfra-ScheduleForm')).not.toBeNull();
  shown.querySelector<HTMLButtonElement>('.jp-mod-reject')?.click();
  expect(await done).toBeNull();

  selected = { type: 'directory', path: 'work' };
  const enabled = (): boolean =>
    commands.isEnabled(CommandIDs.scheduleNotebook, { fromBrowser: true });
  expect(enabled()).toBe(false);
  selected = { type: 'notebook', path: 'other.ipynb' };
  expect(enabled()).toBe(true);
});

it('runs, pauses and resumes, and tells what is refused', async () => {
  const runSchedule = vi.fn<IAiInfraApi['runSchedule']>();
  runSchedule.mockResolvedValue(run('r7', { schedule_name: 'nightly' }));
  activate({
    runSchedule,
    pauseSchedule: () => Promise.reject(new RequestError('refused', 'there is no such schedule')),
    resumeSchedule: id => Promise.resolve(schedule(id)),
    rerun: () => Promise.resolve(run('r8', { schedule_name: 'nightly' })),
    cancelRun: id => Promise.resolve(run(id, { stopping: true }))
  });
  await commands.execute(CommandIDs.runSchedule, { id: 'a' });
  await commands.execute(CommandIDs.rerunRun, { id: 'r7' });
  expect(toasts()).toEqual(['“nightly” is run now.', '“nightly” is run again.']);
  expect(await commands.execute(CommandIDs.resumeSchedule, { id: 'b' })).toMatchObject({ id: 'b' });
  expect(await commands.execute(CommandIDs.cancelRun, { id: 'r7' })).toMatchObject({
    stopping: true
  });
  const refused = commands.execute(CommandIDs.pauseSchedule, { id: 'a' });
  const shown = await dialog();
  expect(shown.textContent).toContain('there is no such schedule');
  shown.querySelector<HTMLButtonElement>('.jp-Dialog-footer button')?.click();
  expect(await refused).toBeNull();
});

it('removes a schedule and a run with time to think', async () => {
  const removeSchedule = vi.fn(() => Promise.resolve());
  const removeRun = vi.fn(() => Promise.resolve());
  activate({ removeSchedule, removeRun, cancelRun: id => Promise.resolve(run(id)) });
  await commands.execute(CommandIDs.cancelRun, { id: 'r1' }); // loads what the commands do
  vi.useFakeTimers();
  await commands.execute(CommandIDs.removeSchedule, { id: 'a' });
  await commands.execute(CommandIDs.removeRun, { id: 'r1' });
  expect(toasts()).toHaveLength(2);
  expect(toasts()[0]).toContain('“nightly” was removed');
  await vi.advanceTimersByTimeAsync(9_000);
  expect(removeSchedule).toHaveBeenCalledExactlyOnceWith('a');
  expect(removeRun).toHaveBeenCalledExactlyOnceWith('r1');
  expect(toasts()).toEqual([]);
});

it('makes a copy under a name that is asked for', async () => {
  const duplicateSchedule = vi.fn<IAiInfraApi['duplicateSchedule']>();
  duplicateSchedule.mockImplementation((id, name) => Promise.resolve(schedule(`${id}2`, { name })));
  activate({
    duplicateSchedule,
    schedule: id => Promise.resolve({ item: schedule(id, { name: 'nightly' }), versions: [] })
  });
  const done = commands.execute(CommandIDs.duplicateSchedule, { id: 'a' });
  const shown = await dialog();
  expect(shown.querySelector('input')?.value).toBe('nightly-2');
  shown.querySelector<HTMLButtonElement>('.jp-mod-accept')?.click();
  expect(await done).toMatchObject({ name: 'nightly-2' });
  expect(duplicateSchedule).toHaveBeenCalledExactlyOnceWith('a', 'nightly-2');
});
