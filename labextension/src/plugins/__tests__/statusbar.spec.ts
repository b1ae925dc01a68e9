import type { JupyterFrontEnd } from '@jupyterlab/application';
import type { IStatusBar } from '@jupyterlab/statusbar';
import { nullTranslator } from '@jupyterlab/translation';
import { CommandRegistry } from '@lumino/commands';
import { Signal } from '@lumino/signaling';
import { describe, expect, it, vi } from 'vitest';

import { FakeStream, fakeApi } from '../../__tests__/fakes';
import { jobsNews } from '../../__tests__/samples';
import { JobsModel } from '../../models/jobs';
import { PoolsModel } from '../../models/pools';
import { JobSelection } from '../../models/selection';
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
  stream: FakeStream;
  shown: () => void;
  want: (value: boolean) => void;
}> {
  const stream = new FakeStream();
  const jobs = new JobsModel({ api: fakeApi({}), stream });
  const models = { jobs, pools: new PoolsModel({ stream }), selection: new JobSelection(jobs) };
  const commands = new CommandRegistry();
  const shown = vi.fn();
  commands.addCommand(CommandIDs.showPanel, { execute: shown });
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
  await vi.waitFor(() => expect(stream.watched).toHaveLength(isWanted ? 1 : 0));
  const want = (value: boolean): void => {
    isWanted = value;
    changed.emit();
  };
  return { item: items[0] as IStatusBar.IItem, stream, shown, want };
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
    expect([item.isActive?.(), told, stream.watched.length]).toEqual([true, 2, 1]);
  });
});
