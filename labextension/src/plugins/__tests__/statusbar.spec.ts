import type { JupyterFrontEnd } from '@jupyterlab/application';
import type { IStatusBar } from '@jupyterlab/statusbar';
import { nullTranslator } from '@jupyterlab/translation';
import { CommandRegistry } from '@lumino/commands';
import { Signal } from '@lumino/signaling';
import { describe, expect, it, vi } from 'vitest';

import { budget, summary, usd } from '../../__tests__/costsamples';
import { FakeStream, fakeApi } from '../../__tests__/fakes';
import { makeModels } from '../../__tests__/models';
import { job, jobsNews } from '../../__tests__/samples';
import type { CostSummary } from '../../api/types';
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

/** What is watched where all three items are wanted: jobs by each, and budgets. */
const ALL_WATCHED = 4;

async function activate(
  isWanted: boolean,
  costNow: () => Promise<CostSummary> = () => Promise.resolve(summary())
): Promise<{
  item: IStatusBar.IItem;
  gpus: IStatusBar.IItem;
  cost: IStatusBar.IItem;
  stream: FakeStream;
  shown: () => void;
  opened: () => void;
  costs: () => void;
  want: (value: boolean) => void;
}> {
  const stream = new FakeStream();
  const models = makeModels({ api: fakeApi({ costNow }), stream });
  const commands = new CommandRegistry();
  const [shown, opened, costs] = [vi.fn(), vi.fn(), vi.fn()];
  commands.addCommand(CommandIDs.showPanel, { execute: shown });
  commands.addCommand(CommandIDs.openGpus, { execute: opened });
  commands.addCommand(CommandIDs.openCost, { execute: costs });
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
  await vi.waitFor(() => expect(stream.watched).toHaveLength(isWanted ? ALL_WATCHED : 0));
  const want = (value: boolean): void => {
    isWanted = value;
    changed.emit();
  };
  const [item, gpus, cost] = items as [IStatusBar.IItem, IStatusBar.IItem, IStatusBar.IItem];
  return { item, gpus, cost, stream, shown, opened, costs, want };
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
    await vi.waitFor(() => expect(stream.watched).toHaveLength(ALL_WATCHED));
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

describe('the item of the cost', () => {
  it('is there once any is known, and opens its page', async () => {
    const now = summary({ hourly: [usd(4.1)], today: [usd(12.3)] });
    const { cost, costs } = await activate(true, () => Promise.resolve(now));
    await vi.waitFor(() => expect(cost.isActive?.()).toBe(true));
    const { node } = cost.item;
    expect(node.textContent).toBe('$4.10/h · $12.30 today');
    expect(node.title).toContain('This month: n/a');
    node.click();
    expect(costs).toHaveBeenCalledOnce();
  });

  it('warns of budgets, also where no cost is known', async () => {
    const { cost, stream } = await activate(true);
    expect(cost.isActive?.()).toBe(false);
    let told = 0;
    cost.activeStateChanged?.connect(() => (told += 1));
    stream.say({ type: 'budgets', budgets: [budget('a', { reach: 'spent' })] });
    const { node } = cost.item;
    expect([node.textContent, node.classList.contains('aiinfra-mod-warning')]).toEqual([
      'budget spent',
      true
    ]);
    expect(node.querySelector('[aria-hidden="true"] svg')).not.toBeNull();
    stream.say({ type: 'budgets', budgets: [budget('a', { reach: 'spent', snoozed: true })] });
    expect([cost.isActive?.(), told]).toEqual([false, 2]);
  });

  it('goes when it is not wanted, also while it is only on its way', async () => {
    const { cost, stream, want } = await activate(true);
    stream.say({ type: 'budgets', budgets: [budget('a', { reach: 'spent' })] });
    want(false);
    expect([cost.isActive?.(), stream.watched]).toEqual([false, []]);
    want(true);
    want(false);
    await new Promise(resolve => setTimeout(resolve));
    expect(stream.watched).toEqual([]);
  });
});
