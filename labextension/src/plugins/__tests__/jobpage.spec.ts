import type { ILayoutRestorer, JupyterFrontEnd } from '@jupyterlab/application';
import { CommandRegistry } from '@lumino/commands';
import { Widget } from '@lumino/widgets';
import { afterEach, describe, expect, it, vi } from 'vitest';

import { fakeApi, FakeStream } from '../../__tests__/fakes';
import { RequestError } from '../../request';
import { CommandIDs } from '../../tokens';
import plugin from '../jobpage';

afterEach(() => {
  document.body.replaceChildren();
});

function activate(): {
  commands: CommandRegistry;
  added: Widget[];
  activateById: ReturnType<typeof vi.fn>;
  restore: ReturnType<typeof vi.fn>;
} {
  const commands = new CommandRegistry();
  const added: Widget[] = [];
  const activateById = vi.fn();
  const shell = { add: (widget: Widget) => added.push(widget), activateById };
  const app = { commands, shell } as unknown as JupyterFrontEnd;
  const api = fakeApi({
    job: () => Promise.reject(new RequestError('unreachable', 'no answer'))
  });
  const restore = vi.fn(() => Promise.resolve());
  const restorer = { restore } as unknown as ILayoutRestorer;
  void plugin.activate(app, api, new FakeStream(), null, null, null, restorer);
  return { commands, added, activateById, restore };
}

describe('the command that opens a job', () => {
  it('makes one page a job, also when asked twice at once', async () => {
    const { commands, added, activateById } = activate();
    const [one, same] = (await Promise.all([
      commands.execute(CommandIDs.openJob, { id: '0abc' }),
      commands.execute(CommandIDs.openJob, { id: '0abc' })
    ])) as Widget[];
    const again = (await commands.execute(CommandIDs.openJob, { id: '0abc' })) as Widget;
    const other = (await commands.execute(CommandIDs.openJob, { id: '1def' })) as Widget;

    expect(same).toBe(one);
    expect(again).toBe(one);
    expect(added.map(({ id }) => id)).toEqual(['aiinfra-job-0abc', 'aiinfra-job-1def']);
    expect(activateById).toHaveBeenLastCalledWith('aiinfra-job-1def');
    [one, other].forEach(page => page?.dispose());
  });

  it('does nothing where no job is meant', async () => {
    const { commands, added } = activate();

    expect(commands.isEnabled(CommandIDs.openJob)).toBe(false);
    expect(await commands.execute(CommandIDs.openJob)).toBeNull();
    expect(added).toEqual([]);
  });

  it('brings pages back after a reload', async () => {
    const { commands, restore } = activate();
    const [, options] = restore.mock.calls[0] as [
      unknown,
      Record<string, (page: Widget) => unknown>
    ];
    expect(options['command']).toBe(CommandIDs.openJob);
    const page = (await commands.execute(CommandIDs.openJob, { id: '0abc' })) as Widget;

    expect(options['args']?.(page)).toEqual({ id: '0abc' });
    expect(options['name']?.(page)).toBe('0abc');
    page.dispose();
  });
});
