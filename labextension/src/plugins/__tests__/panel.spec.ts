import type { ILabShell, JupyterFrontEnd } from '@jupyterlab/application';
import { CommandRegistry } from '@lumino/commands';
import { Widget } from '@lumino/widgets';
import { afterEach, describe, expect, it, vi } from 'vitest';

import { FakeStream, fakeApi } from '../../__tests__/fakes';
import { makeModels } from '../../__tests__/models';
import { CommandIDs } from '../../tokens';
import plugin, { PANEL_ID } from '../panel';

interface IActivated {
  panel: Widget;
  commands: CommandRegistry;
  stream: FakeStream;
  shell: { add: ReturnType<typeof vi.fn>; activateById: ReturnType<typeof vi.fn> };
  restored: ReturnType<typeof vi.fn>;
  inPalette: string[];
}

function activate(): IActivated {
  const stream = new FakeStream();
  const api = fakeApi({});
  const models = makeModels({ api, stream });
  const commands = new CommandRegistry();
  commands.addCommand(CommandIDs.attachPool, { execute: () => undefined });
  const shell = { add: vi.fn(), activateById: vi.fn() };
  const restored = vi.fn();
  const inPalette: string[] = [];
  const palette = { addItem: ({ command }: { command: string }) => inPalette.push(command) };
  void plugin.activate(
    { commands, shell: shell as unknown as ILabShell } as unknown as JupyterFrontEnd,
    api,
    stream,
    models,
    null,
    palette,
    { add: restored }
  );
  const panel = shell.add.mock.calls[0]?.[0] as Widget;
  return { panel, commands, stream, shell, restored, inPalette };
}

afterEach(() => {
  document.body.replaceChildren();
});

describe('the sidebar', () => {
  it('has its place, which the layout comes back to', () => {
    const { panel, shell, restored } = activate();
    expect(shell.add).toHaveBeenCalledWith(panel, 'left', { rank: 600, type: 'AI Infra' });
    expect(restored).toHaveBeenCalledWith(panel, PANEL_ID);
    expect(panel.title.caption).toBe('AI Infra: pools and jobs');
    panel.dispose();
  });

  it('is empty and watches nothing until it is first shown', async () => {
    const { panel, stream } = activate();
    panel.hide();
    Widget.attach(panel, document.body);
    expect(panel.node.children).toHaveLength(0);
    expect(stream.watched).toEqual([]);

    panel.show();
    await vi.waitFor(() => expect(panel.node.querySelector('.aiinfra-Jobs')).not.toBeNull());
    const topics = new Set(stream.watched.map(({ topic }) => topic));
    expect([...topics].sort()).toEqual(['budgets', 'jobs', 'pools', 'schedules']);
    panel.hide();
    panel.show();
    expect(panel.node.children).toHaveLength(1);
    panel.dispose();
    expect(stream.watched).toEqual([]);
  });

  it('fills itself when the layout comes back with it in sight', async () => {
    const { panel } = activate();
    Widget.attach(panel, document.body);
    await vi.waitFor(() => expect(panel.node.querySelector('.aiinfra-Jobs')).not.toBeNull());
    panel.dispose();
  });
});

describe('its commands', () => {
  it('are in the palette, show it and ask anew', async () => {
    const { panel, commands, stream, shell, inPalette } = activate();
    expect(inPalette).toEqual([CommandIDs.showPanel, CommandIDs.refresh]);
    await commands.execute(CommandIDs.showPanel);
    expect(shell.activateById).toHaveBeenCalledWith(PANEL_ID);
    await commands.execute(CommandIDs.refresh);
    expect(stream.refreshes).toBe(1);
    panel.dispose();
  });
});
