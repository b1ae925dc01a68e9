import type { ILayoutRestorer, JupyterFrontEnd } from '@jupyterlab/application';
import type { ICommandPalette } from '@jupyterlab/apputils';
import type { ILauncher } from '@jupyterlab/launcher';
import { CommandRegistry } from '@lumino/commands';
import type { Widget } from '@lumino/widgets';
import { afterEach, describe, expect, it, vi } from 'vitest';

import { fakeApi, FakeStream } from '../../__tests__/fakes';
import { makeModels } from '../../__tests__/models';
import { CommandIDs } from '../../tokens';
import plugin from '../costpage';

afterEach(() => {
  document.body.replaceChildren();
});

interface IAdded {
  command: string;
}

function activate(): {
  commands: CommandRegistry;
  added: Widget[];
  activateById: ReturnType<typeof vi.fn>;
  restore: ReturnType<typeof vi.fn>;
  offered: IAdded[];
} {
  const commands = new CommandRegistry();
  const added: Widget[] = [];
  const offered: IAdded[] = [];
  const activateById = vi.fn();
  const shell = { add: (widget: Widget) => added.push(widget), activateById };
  const app = { commands, shell } as unknown as JupyterFrontEnd;
  const api = fakeApi({});
  const restore = vi.fn(() => Promise.resolve());
  const restorer = { restore } as unknown as ILayoutRestorer;
  const palette = {
    addItem: (item: IAdded) => offered.push(item)
  } as unknown as ICommandPalette;
  const launcher = { add: (item: IAdded) => offered.push(item) } as unknown as ILauncher;
  const models = makeModels({ api, stream: new FakeStream() });
  void plugin.activate(app, api, models, null, palette, launcher, restorer);
  return { commands, added, activateById, restore, offered };
}

describe('the command that opens the page of cost', () => {
  it('makes one page, also when asked twice at once, and shows what it is told to', async () => {
    const { commands, added, activateById } = activate();
    const [one, same] = (await Promise.all([
      commands.execute(CommandIDs.openCost),
      commands.execute(CommandIDs.openCost, { pool: 'here' })
    ])) as Widget[];
    expect(same).toBe(one);
    await commands.execute(CommandIDs.openCost, { by: 'user', pool: 'here' });
    expect(added.map(({ id }) => id)).toEqual(['aiinfra-cost']);
    expect(activateById).toHaveBeenLastCalledWith('aiinfra-cost');
    const page = one as unknown as { content: { model: { view: object } } };
    expect(page.content.model.view).toMatchObject({ narrowed: { pool: 'here' }, by: 'user' });
    await commands.execute(CommandIDs.openCost, { isLauncher: true, cwd: '/' });
    expect(page.content.model.view).toMatchObject({ narrowed: { pool: 'here' }, by: 'user' });
    one?.dispose();
  });

  it('is in the palette and in the launcher', () => {
    const { offered, commands } = activate();
    expect(offered.map(({ command }) => command)).toEqual(Array(2).fill(CommandIDs.openCost));
    expect(commands.label(CommandIDs.openCost, { isPalette: true })).toBe('AI Infra: Show Cost');
    expect(commands.label(CommandIDs.openCost)).toBe('Cost');
  });

  it('is brought back after a reload, with what it showed', async () => {
    const { commands, restore } = activate();
    const [, options] = restore.mock.calls[0] as unknown as [
      unknown,
      { command: string; args: (page: Widget) => object }
    ];
    expect(options.command).toBe(CommandIDs.openCost);
    const page = (await commands.execute(CommandIDs.openCost, { job: '1abc' })) as Widget;
    expect(options.args(page)).toMatchObject({ job: '1abc', by: 'job', span: 'week' });
    page.dispose();
  });
});
