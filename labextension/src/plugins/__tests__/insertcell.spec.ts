import type { JupyterFrontEnd } from '@jupyterlab/application';
import { Notification } from '@jupyterlab/apputils';
import type { INotebookTracker } from '@jupyterlab/notebook';
import { CommandRegistry } from '@lumino/commands';
import { afterEach, describe, expect, it, vi } from 'vitest';

import { fakeApi } from '../../__tests__/fakes';
import type { JobDetail } from '../../api/types';
import { RequestError } from '../../request';
import { CommandIDs, type IAiInfraApi } from '../../tokens';
import plugin from '../insertcell';

// Of the whole notebook only the token counts here; jsdom cannot lay the rest out.
vi.mock('@jupyterlab/notebook', () => ({ INotebookTracker: {} }));

const DETAIL = { line: 'here --procs 2', code: 'x = 1\n' } as JobDetail;

function notebook(more: { readOnly?: boolean; activeCellIndex?: number } = {}): {
  panel: unknown;
  insertCell: ReturnType<typeof vi.fn>;
  content: Record<string, unknown>;
} {
  const insertCell = vi.fn();
  const index = more.activeCellIndex ?? 2;
  const content = {
    activeCell: index < 0 ? null : {},
    activeCellIndex: index,
    deselectAll: vi.fn(),
    scrollToItem: vi.fn(() => Promise.resolve())
  };
  const model = { readOnly: more.readOnly ?? false, sharedModel: { insertCell } };
  const panel = { id: 'panel', title: { label: 'a.ipynb' }, context: { model }, content };
  return { panel, insertCell, content };
}

async function insert(
  panel: unknown,
  methods: Partial<IAiInfraApi>
): Promise<ReturnType<typeof vi.fn>> {
  const commands = new CommandRegistry();
  const activateById = vi.fn();
  const app = { commands, shell: { activateById } } as unknown as JupyterFrontEnd;
  const tracker = { currentWidget: panel } as unknown as INotebookTracker;
  void plugin.activate(app, fakeApi(methods), tracker, null);
  await commands.execute(CommandIDs.insertCell, { id: '1abc' });
  return activateById;
}

function warnings(): string[] {
  return Notification.manager.notifications.map(each => each.message);
}

afterEach(() => {
  Notification.manager.dismiss();
});

describe('inserting the cell of a job', () => {
  it('puts it below the active one, whole, and goes there', async () => {
    const { panel, insertCell, content } = notebook();
    const activateById = await insert(panel, { job: () => Promise.resolve(DETAIL) });

    expect(insertCell).toHaveBeenCalledWith(3, {
      cell_type: 'code',
      metadata: { trusted: true },
      source: '%%accelerate here --procs 2\nx = 1\n'
    });
    expect(content['activeCellIndex']).toBe(3);
    expect(activateById).toHaveBeenCalledWith('panel');
    expect(warnings()).toEqual([]);
  });

  it('puts it first where there is no cell', async () => {
    const { panel, insertCell } = notebook({ activeCellIndex: -1 });
    await insert(panel, { job: () => Promise.resolve(DETAIL) });
    expect(insertCell.mock.calls[0]?.[0]).toBe(0);
  });

  it('says what to do where no notebook is open', async () => {
    await insert(null, {});
    expect(warnings()[0]).toContain('No notebook is open');
  });

  it('leaves a notebook alone that cannot be edited', async () => {
    const { panel, insertCell } = notebook({ readOnly: true });
    await insert(panel, {});
    expect(warnings()).toEqual(['a.ipynb cannot be edited']);
    expect(insertCell).not.toHaveBeenCalled();
  });

  it('has nothing to insert of a script', async () => {
    const { panel, insertCell } = notebook();
    await insert(panel, { job: () => Promise.resolve({ ...DETAIL, code: '' }) });
    expect(warnings()).toEqual(['Job 1abc was not launched from a cell']);
    expect(insertCell).not.toHaveBeenCalled();
  });

  it('says why the job is not known', async () => {
    const error = new RequestError('refused', "no job '1abc'", { hint: '%jobs lists them' });
    await insert(notebook().panel, { job: () => Promise.reject(error) });
    expect(warnings()).toEqual(["no job '1abc'. %jobs lists them"]);
  });
});
