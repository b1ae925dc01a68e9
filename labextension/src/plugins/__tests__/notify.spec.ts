import type { JupyterFrontEnd } from '@jupyterlab/application';
import { Notification as Toast } from '@jupyterlab/apputils';
import { CommandRegistry } from '@lumino/commands';
import { Signal } from '@lumino/signaling';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { notice } from '../../__tests__/costsamples';
import { FakeStream, fakeApi } from '../../__tests__/fakes';
import { makeModels } from '../../__tests__/models';
import { ended, job, jobsNews } from '../../__tests__/samples';
import { run } from '../../__tests__/schedulesamples';
import type { Notice, Topic } from '../../api/types';
import {
  CommandIDs,
  type IAiInfraSettings,
  type ISettingValues,
  type IWatchOptions
} from '../../tokens';
import notify from '../notify';
import { DEFAULTS } from '../settings';

class FakeNotification {
  static shown: FakeNotification[] = [];
  static permission: NotificationPermission = 'granted';
  static requestPermission = vi.fn(() => {
    FakeNotification.permission = 'granted';
    return Promise.resolve(FakeNotification.permission);
  });

  constructor(
    readonly title: string,
    readonly options: NotificationOptions
  ) {
    FakeNotification.shown.push(this);
  }

  close = vi.fn();
  onclick: (() => void) | null = null;
}

class FakeSettings implements IAiInfraSettings {
  readonly ready = Promise.resolve();
  readonly changed: Signal<IAiInfraSettings, void> = new Signal<IAiInfraSettings, void>(this);
  values: ISettingValues = { ...DEFAULTS };

  get<K extends keyof ISettingValues>(key: K): ISettingValues[K] {
    return this.values[key];
  }

  set(values: Partial<ISettingValues>): void {
    Object.assign(this.values, values);
    this.changed.emit();
  }
}

class WatchedStream extends FakeStream {
  whileHidden: boolean[] = [];

  override watch(topic: Topic, options?: IWatchOptions): ReturnType<FakeStream['watch']> {
    this.whileHidden.push(options?.whileHidden ?? false);
    return super.watch(topic);
  }
}

let hidden: boolean;
let stream: WatchedStream;
let settings: FakeSettings;
let commands: CommandRegistry;
const opened = vi.fn();

async function activate(values: Partial<ISettingValues> = {}): Promise<void> {
  stream = new WatchedStream();
  settings = new FakeSettings();
  settings.set({ notifyOfRuns: 'never', ...values });
  const models = makeModels({ api: fakeApi({}), stream });
  commands = new CommandRegistry();
  commands.addCommand(CommandIDs.openJob, { execute: opened });
  const app = { commands, restored: Promise.resolve() } as unknown as JupyterFrontEnd;
  void notify.activate(app, models, settings, null, { addItem: () => undefined });
  await vi.waitFor(() =>
    expect(stream.watched.some(({ topic }) => topic === 'jobs')).toBe(wants(settings))
  );
  stream.say(jobsNews([job('1', { name: '<b>digits' })], { reset: true, active: 1 }));
}

function wants({ values }: FakeSettings): boolean {
  const { notifyWhenDone, notifyOfBudgets, notifyInBrowser } = values;
  return notifyWhenDone || notifyOfBudgets || notifyInBrowser !== 'never';
}

function end(values: Parameters<typeof ended>[1] = {}): void {
  stream.say({ type: 'ended', job: ended('1', { name: '<b>digits', ...values }) });
}

const toasts = (): string[] =>
  Toast.manager.notifications.map(({ type, message }) => `${type}: ${message}`);

beforeEach(() => {
  hidden = false;
  FakeNotification.shown = [];
  FakeNotification.permission = 'granted';
  vi.stubGlobal('Notification', FakeNotification);
  vi.spyOn(document, 'hidden', 'get').mockImplementation(() => hidden);
  vi.spyOn(window, 'focus').mockImplementation(() => undefined);
  opened.mockClear();
});

afterEach(() => {
  vi.unstubAllGlobals();
  Toast.dismiss();
});

describe('in JupyterLab', () => {
  it.each([
    ['succeeded', '', 'success: “<b>digits” has succeeded on here'],
    ['cancelled', '', 'warning: “<b>digits” was cancelled on here'],
    ['failed', 'rank 1 raised', 'error: “<b>digits” has failed on here: rank 1 raised'],
    ['lost', '', 'error: “<b>digits” is lost on here']
  ] as const)('it is told that a job is over: %s', async (state, message, expected) => {
    await activate();
    end({ state, message });

    expect(toasts()).toEqual([expected]);
    const { actions } = Toast.manager.notifications[0]?.options ?? {};
    actions?.[0]?.callback(new MouseEvent('click'));
    expect(opened).toHaveBeenCalledWith({ id: '1' });
  });

  it('nothing is told of what was over when the page came, or when nobody wants it', async () => {
    await activate({ notifyWhenDone: false });
    end();
    expect(toasts()).toEqual([]);

    settings.set({ notifyWhenDone: true });
    stream.say(jobsNews([ended('2')], { reset: true }));
    expect(toasts()).toEqual([]);
  });
});

describe('through the browser', () => {
  it('it is told when the page is hidden, under a name that all tabs use', async () => {
    await activate();
    hidden = true;
    end();
    expect(FakeNotification.shown.map(({ options }) => options)).toEqual([
      { body: '“<b>digits” has succeeded on here', tag: 'aiinfra-1' }
    ]);
    FakeNotification.shown[0]?.onclick?.();
    expect(opened).toHaveBeenCalledWith({ id: '1' });
  });

  it.each([
    ['never', true, 'granted', 0],
    ['when hidden', false, 'granted', 0],
    ['always', false, 'granted', 1],
    ['always', true, 'default', 0],
    ['always', true, 'denied', 0]
  ] as const)('%s, hidden %s, %s: %i', async (notifyInBrowser, isHidden, permission, count) => {
    FakeNotification.permission = permission;
    await activate({ notifyInBrowser });
    hidden = isHidden;
    end();
    expect(FakeNotification.shown).toHaveLength(count);
  });

  it('the browser is asked by a command, and only once', async () => {
    FakeNotification.permission = 'default';
    await activate();
    expect(commands.isEnabled(CommandIDs.allowNotifications)).toBe(true);
    await commands.execute(CommandIDs.allowNotifications);
    expect(FakeNotification.requestPermission).toHaveBeenCalledOnce();
    expect(commands.isEnabled(CommandIDs.allowNotifications)).toBe(false);
  });
});

describe('a hidden page', () => {
  it('watches on only while there are jobs to be told of', async () => {
    await activate();
    expect(stream.whileHidden).toEqual([false, true]);
    stream.say(jobsNews([ended('1')], { active: 0 }));
    expect(stream.whileHidden).toEqual([false, true, false]);
    expect(stream.watched).toHaveLength(1);
  });

  it('watches nothing without permission', async () => {
    FakeNotification.permission = 'default';
    await activate();
    expect(stream.whileHidden).toEqual([false]);
  });
});

it('watches nothing when nothing is to be told', async () => {
  const none = { notifyWhenDone: false, notifyOfBudgets: false, notifyInBrowser: 'never' } as const;
  await activate(none);
  expect(stream.watched).toEqual([]);
  settings.set({ notifyWhenDone: true });
  expect(stream.watched).toHaveLength(1);
  settings.set({ notifyWhenDone: false, notifyOfBudgets: true });
  expect(stream.watched).toHaveLength(1);
});

describe('what budgets say', () => {
  const warn = (values: Partial<Notice> = {}): void => {
    const item = job('1', { name: 'digits', version: 2, notice: notice(values) });
    stream.say(jobsNews([item], { active: 1 }));
  };

  it('is told in JupyterLab and through the browser', async () => {
    hidden = true;
    await activate();
    warn({ text: '$17 of $20 spent' });
    await vi.waitFor(() => expect(toasts()).toEqual(['warning: “digits”: $17 of $20 spent']));
    const [shown] = FakeNotification.shown;
    expect(shown?.options.body).toBe('“digits”: $17 of $20 spent');
    shown?.onclick?.();
    expect(opened).toHaveBeenCalledOnce();
  });

  it('is not told where nobody wants to know it', async () => {
    hidden = true;
    await activate({ notifyOfBudgets: false });
    warn();
    end({ state: 'cancelled', notice: notice({ kind: 'stop', text: 'all is spent' }) });
    expect(toasts()).toEqual(['warning: “<b>digits” was stopped on here: all is spent']);
  });
});

describe('runs of schedules', () => {
  it('are told of, and not their jobs', async () => {
    await activate({ notifyOfRuns: 'all' });
    expect(stream.watched.map(({ topic }) => topic).sort()).toEqual(['jobs', 'runs']);
    const going = run('r1', { state: 'running', ended_at: null, job: '1' });
    const news = { type: 'runs' as const, id: null, removed: [], more: false };
    stream.say({ ...news, changed: [going], reset: true });
    // What tells of them is loaded with the first of them.
    await import('../../runtoasts');
    end({ kind: 'notebook' });
    stream.say({ ...news, changed: [run('r1', { job: '1' })], reset: false });
    await vi.waitFor(() =>
      expect(toasts()).toEqual(['success: The run of “report” has succeeded'])
    );
    settings.set({ notifyOfRuns: 'never' });
    expect(stream.watched.map(({ topic }) => topic)).toEqual(['jobs']);
  });
});
