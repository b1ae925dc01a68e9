import { Notification } from '@jupyterlab/apputils';
import { nullTranslator } from '@jupyterlab/translation';
import { CommandRegistry } from '@lumino/commands';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import type { JobItem } from '../api/types';
import { NoticeTeller } from '../noticetoasts';
import { CommandIDs, type IBudgetsModel } from '../tokens';
import { budget, notice } from './costsamples';
import { FakeStream, fakeApi } from './fakes';
import { makeModels } from './models';
import { ended, job } from './samples';

const trans = nullTranslator.load('jupyter_aiinfra');
const ran = vi.fn<(command: string, args: object) => void>();
const told = vi.fn<(told: { text: string; job: string; tag: string }) => void>();

let commands: CommandRegistry;
let budgets: IBudgetsModel;
let isWanted: boolean;

function tellerOf(...before: JobItem[]): NoticeTeller {
  const options = { commands, budgets, trans, isWanted: () => isWanted, onTold: told };
  return new NoticeTeller(options, before);
}

const toasts = (): [string, string[]][] =>
  Notification.manager.notifications.map(({ message, options }) => [
    message,
    (options.actions ?? []).map(({ label }) => label)
  ]);

beforeEach(() => {
  [ran, told].forEach(mock => mock.mockReset());
  isWanted = true;
  commands = new CommandRegistry();
  for (const id of Object.values(CommandIDs)) {
    commands.addCommand(id, { execute: args => ran(id, args) });
  }
  const stream = new FakeStream();
  budgets = makeModels({ api: fakeApi({}), stream }).budgets;
  stream.say({ type: 'budgets', budgets: [budget('b1')] });
});

afterEach(() => {
  Notification.dismiss();
});

describe('what a budget says', () => {
  it('is told once, with what can be done about it', () => {
    const teller = tellerOf(job('1'));
    const warned = job('1', { notice: notice({ text: '$17 of $20 spent' }) });
    teller.look([warned]);
    teller.look([{ ...warned, version: 2 }]);
    expect(toasts()).toEqual([['“name of 1”: $17 of $20 spent', ['Snooze for an hour', 'Open']]]);
    Notification.manager.notifications[0]!.options.actions![0]!.callback(new MouseEvent('click'));
    expect(ran.mock.calls).toEqual([[CommandIDs.snoozeBudget, { id: 'b1', seconds: 3600 }]]);
  });

  it('is told once for all jobs of which it was decided at once', () => {
    const teller = tellerOf();
    const warned = ['1', '2', '3', '4'].map(id => job(id, { notice: notice() }));
    teller.look(warned.slice(0, 2));
    expect(toasts().map(([text]) => text)).toEqual([
      expect.stringMatching(/^“name of 1”, “name of 2”: budget/)
    ]);
    tellerOf().look(warned);
    expect(toasts()[0]![0]).toMatch(/^4 jobs: budget/);
    expect(told).toHaveBeenCalledTimes(2);
  });

  it('that was said before is not told, unless it is a question', () => {
    const warned = job('1', { notice: notice() });
    const asked = job('2', { notice: notice({ kind: 'question', by: 'b2' }) });
    const teller = tellerOf(warned, asked);
    teller.look([warned, asked]);
    expect(toasts().map(([, labels]) => labels)).toEqual([['Go on for an hour', 'Stop', 'Open']]);
  });

  it('goes away when the question is answered', () => {
    const teller = tellerOf();
    const asked = job('2', { notice: notice({ kind: 'question' }) });
    teller.look([asked]);
    expect(toasts()).toHaveLength(1);
    teller.look([job('2')]);
    expect(toasts()).toEqual([]);
  });

  it('of a job that is over is told by its end', () => {
    const teller = tellerOf();
    teller.look([ended('1', { state: 'cancelled', notice: notice({ kind: 'stop' }) })]);
    expect(toasts()).toEqual([]);
  });

  it('is told elsewhere also where JupyterLab is not to', () => {
    isWanted = false;
    tellerOf().look([job('1', { notice: notice({ kind: 'stop', text: 'stopped', at: 7 }) })]);
    expect(toasts()).toEqual([]);
    expect(told.mock.calls).toEqual([
      [{ text: '“name of 1”: stopped', job: '1', tag: 'aiinfra-b1 stop 7' }]
    ]);
  });
});

it('tells of idle GPUs job by job', () => {
  const teller = tellerOf();
  const idle = notice({ by: 'idle', text: 'idle: its GPU computed nothing for 20 min' });
  teller.look([job('1', { notice: idle }), job('2', { notice: idle })]);
  expect(toasts().map(([, labels]) => labels)).toEqual([
    ['Leave it alone', 'Open'],
    ['Leave it alone', 'Open']
  ]);
});
