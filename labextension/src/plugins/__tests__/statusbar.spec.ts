import type { JupyterFrontEnd } from '@jupyterlab/application';
import type { IStatusBar } from '@jupyterlab/statusbar';
import { nullTranslator } from '@jupyterlab/translation';
import { CommandRegistry } from '@lumino/commands';
import { Signal } from '@lumino/signaling';
import { describe, expect, it, vi } from 'vitest';

import { FakeStream, fakeApi } from '../../__tests__/fakes';
import { makeModels } from '../../__tests__/models';
import { job, jobsNews } from '../../__tests__/samples';
import { overview } from '../../models/__tests__/overviews';
import { CommandIDs, type IAiInfraSettings } from '../../tokens';
import plugin, { statusText } from '../statusbar';

describe('statusText', () => {
  const trans = nullTranslator.load('jupyter_aiinfra');

  it.each([
    [null, false, 'AI Infra'],
    [0, false, 'AI Infra: idle'],
    [1, false, 'AI Infra: 1 job'],
    [2, false, 'AI Infra: 2 jobs'],
    [2, true, 'AI Infra: offline']
  ])('of %s jobs, lost %s', (active, isLost, expected) => {
    expect(statusText(active, isLost, trans)).toBe(expected);
  });
});

async function activate(isWanted: boolean): Promise<{
  item: IStatusBar.IItem;
  gpus: IStatusBar.IItem;
  stream: FakeStream;
  shown: () => void;
  opened: () => void;
  want: (value: boolean) => void;
}> {
  const stream = new FakeStream();
  const models = makeModels({ api: fakeApi({}), stream });
  const commands = new CommandRegistry();
  const [shown, opened] = [vi.fn(), vi.fn()];
  commands.addCommand(CommandIDs.showPanel, { execute: shown });
  commands.addCommand(CommandIDs.openGpus, { execute: opened });
  const items: IStatusBar.IItem[] = [];
  const statusBar = {
    registerStatusItem: (_id: string, item: IStatusBar.IItem) => items.push(item)
  };
  const settings = {
    ready: Promise.resolve(),
    get: () => isWanted
  } as unknown as IAiInfraSettings & { changed: Signal<unknown, void> };
  const changed = new Signal<typeof settings, void>(settings);
  Object.assign(settings, { changed });
  const app = { commands, restored: Promise.resolve() } as unknown as JupyterFrontEnd;
  void plugin.activate(app, models, stream, statusBar, settings, null);
  await settings.ready;
  await vi.waitFor(() => expect(stream.watched).toHaveLength(isWanted ? 2 : 0));
  const want = (value: boolean): void => {
    isWanted = value;
    changed.emit();
  };
  const [item, gpus] = items as [IStatusBar.IItem, IStatusBar.IItem];
  return { item, gpus, stream, shown, opened, want };
}

describe('the item', () => {
  it('follows the jobs and the connection, and shows the panel', async () => {
    const { item, stream, shown } = await activate(true);
    const { node } = item.item;
    expect(node.textContent).toBe('AI Infra');
    stream.say(jobsNews([], { reset: true, active: 2 }));
    expect(node.textContent).toBe('AI Infra: 2 jobs');
    stream.turn('lost');
    expect(node.textContent).toBe('AI Infra: offline');
    stream.turn('live');
    expect(node.textContent).toBe('AI Infra: 2 jobs');

    node.click();
    expect(shown).toHaveBeenCalledOnce();
  });

  it('goes when it is not wanted, and watches nothing then', async () => {
    const { item, stream, want } = await activate(true);
    let told = 0;
    item.activeStateChanged?.connect(() => (told += 1));
    want(false);
    expect([item.isActive?.(), told, stream.watched.length]).toEqual([false, 1, 0]);
    want(true);
    expect([item.isActive?.(), told]).toEqual([true, 2]);
    await vi.waitFor(() => expect(stream.watched).toHaveLength(2));
  });
});

describe('the item of the GPUs', () => {
  it('is there once any are known, and opens their page', async () => {
    const { gpus, stream, opened } = await activate(true);
    const { node } = gpus.item;
    expect(gpus.isActive?.()).toBe(false);
    let told = 0;
    gpus.activeStateChanged?.connect(() => (told += 1));
    stream.say(jobsNews([job('1')], { reset: true, active: 1 }));
    stream.say(overview('here', [{ busy: 3, utilization: 71, gpus: 8 }]));
    expect([gpus.isActive?.(), told]).toEqual([true, 1]);
    expect(node.textContent).toBe('3/8 GPUs · 71 %');
    expect(node.title).toContain('here: 3 of 8 GPUs in use');
    stream.say(overview('here', [{ busy: 2, utilization: 70, gpus: 8 }]));
    expect([node.textContent, told]).toEqual(['2/8 GPUs · 70 %', 1]);

    node.click();
    expect(opened).toHaveBeenCalledOnce();
  });

  it('warns by a sign, a word and a class', async () => {
    const { gpus, stream } = await activate(true);
    const { node } = gpus.item;
    stream.say(jobsNews([job('1')], { reset: true, active: 1 }));
    const lost = { kind: 'lost', uuid: 'GPU-1', index: 3, since: 1, job: null } as const;
    stream.say(overview('here', [{ alerts: [lost] }]));
    expect(node.textContent).toBe('1/4 GPUs · 50 %GPU lost');
    expect(node.querySelector('[aria-hidden="true"] svg')).not.toBeNull();
    expect(node.classList.contains('aiinfra-mod-warning')).toBe(true);
    stream.say(overview('here', [{}]));
    expect(node.textContent).toBe('1/4 GPUs · 50 %');
    expect(node.classList.contains('aiinfra-mod-warning')).toBe(false);
  });

  it('goes when it is not wanted, also while it is only on its way', async () => {
    const { gpus, stream, want } = await activate(true);
    stream.say(jobsNews([job('1')], { reset: true, active: 1 }));
    stream.say(overview('here', [{}]));
    want(false);
    expect([gpus.isActive?.(), stream.watched]).toEqual([false, []]);
    want(true);
    want(false);
    await new Promise(resolve => setTimeout(resolve));
    expect(stream.watched).toEqual([]);
  });
});
