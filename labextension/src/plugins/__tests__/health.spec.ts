import type { JupyterFrontEnd } from '@jupyterlab/application';
import { CommandRegistry } from '@lumino/commands';
import { afterEach, describe, expect, it, vi } from 'vitest';

import { closeDialogs, dialog } from '../../__tests__/dialogs';
import { fakeApi } from '../../__tests__/fakes';
import { RequestError } from '../../request';
import { CommandIDs, type IAiInfraApi } from '../../tokens';
import plugin from '../health';

const HEALTH = {
  version: '9.8.7',
  status: 'ok',
  store: { ok: true, url: 'sqlite:///x', message: '', hint: '' },
  pools: 1,
  jobs: { active: 4 }
} as const;

function activate(methods: Partial<IAiInfraApi>): {
  commands: CommandRegistry;
  addItem: () => void;
} {
  const commands = new CommandRegistry();
  const addItem = vi.fn();
  const app = { commands } as unknown as JupyterFrontEnd;
  void plugin.activate(app, fakeApi(methods), null, { addItem });
  return { commands, addItem };
}

afterEach(() => {
  closeDialogs();
});

describe('the check command', () => {
  it('is in the palette', () => {
    const { commands, addItem } = activate({ health: () => Promise.resolve(HEALTH) });

    expect(commands.label(CommandIDs.check)).toBe('AI Infra: Check the installation');
    expect(addItem).toHaveBeenCalledWith({ command: 'aiinfra:check', category: 'AI Infra' });
  });

  it('shows the report in a dialog, and is over when that is closed', async () => {
    const { commands } = activate({ health: () => Promise.resolve(HEALTH) });

    const done = commands.execute(CommandIDs.check);
    const shown = await dialog();

    expect(shown.textContent).toContain('9.8.7');
    expect(shown.textContent).toContain('reachable (sqlite:///x)');
    shown.querySelector<HTMLButtonElement>('button.jp-mod-accept')?.click();
    await done;
    expect(document.querySelector('.jp-Dialog')).toBeNull();
  });

  it('shows why there is no report', async () => {
    const error = new RequestError('refused', 'Forbidden', { status: 403 });
    const { commands } = activate({ health: () => Promise.reject(error) });

    void commands.execute(CommandIDs.check);
    const shown = await dialog();

    expect(shown.querySelector('dd[data-status="bad"]')?.textContent).toBe('Forbidden');
    expect(shown.textContent).toContain('Log in');
  });

  it('does not dress up a mistake of our own', async () => {
    const { commands } = activate({ health: () => Promise.reject(new TypeError('a bug')) });

    await expect(commands.execute(CommandIDs.check)).rejects.toThrow('a bug');
  });
});
