import type { JupyterFrontEnd } from '@jupyterlab/application';
import { Notification } from '@jupyterlab/apputils';
import { CommandRegistry } from '@lumino/commands';
import { Signal } from '@lumino/signaling';
import { PanelLayout, Widget } from '@lumino/widgets';
import { afterEach, describe, expect, it, vi } from 'vitest';

import { fakeApi } from '../../__tests__/fakes';
import { FakePools, FakeSource, pool, WORDS } from '../../editor/__tests__/samples';
import { RequestError } from '../../request';
import { CommandIDs, type IAiInfraApi, type ILaunchCell, type ILaunchCells } from '../../tokens';
import plugin from '../celltoolbar';

// Of the whole notebook only the token counts here; jsdom cannot lay the rest out.
vi.mock('@jupyterlab/notebook', () => ({ INotebookTracker: {} }));

class FakeSettings {
  readonly values: Record<string, boolean> = { cellToolbar: true, lintLaunchLine: false };
  readonly ready = Promise.resolve();
  readonly changed = new Signal<this, void>(this);
  get(key: string): boolean | undefined {
    return this.values[key];
  }
}

class FakeCells implements ILaunchCells {
  readonly cells = new Set<ILaunchCell>();
  readonly opened: Signal<ILaunchCells, ILaunchCell> = new Signal<ILaunchCells, ILaunchCell>(this);
  readonly closed: Signal<ILaunchCells, ILaunchCell> = new Signal<ILaunchCells, ILaunchCell>(this);

  open(cell: ILaunchCell): void {
    this.cells.add(cell);
    this.opened.emit(cell);
  }

  close(cell: ILaunchCell): void {
    this.cells.delete(cell);
    Object.assign(cell, { isClosed: true });
    this.closed.emit(cell);
  }
}

/** A cell of a notebook as far as it is looked at here. */
class FakeCell extends Widget {
  constructor(text: string) {
    super();
    this.layout = new PanelLayout();
    for (const name of ['header', 'input']) {
      const child = new Widget();
      child.addClass(name);
      (this.layout as PanelLayout).addWidget(child);
    }
    this.editor = document.createElement('div');
    this.node.append(this.editor);
    this.model = { type: 'code', sharedModel: new FakeSource(text) };
  }
  readonly editor: HTMLElement;
  readonly model: { type: string; sharedModel: FakeSource };

  get launch(): ILaunchCell {
    return { model: this.model, view: { dom: this.editor }, isClosed: false } as never;
  }

  get children_(): string[] {
    return [...(this.layout as PanelLayout).widgets].map(each => each.node.className);
  }
}

interface IActive {
  commands: CommandRegistry;
  cells: FakeCells;
  settings: FakeSettings;
  tracker: { activeCell: FakeCell | null; currentWidget: unknown };
}

function activate(widgets: FakeCell[], methods: Partial<IAiInfraApi> = {}): IActive {
  const commands = new CommandRegistry();
  const cells = new FakeCells();
  const settings = new FakeSettings();
  const panel = { content: { widgets }, sessionContext: { session: null } };
  const tracker = {
    activeCell: widgets[0] ?? null,
    currentWidget: panel,
    forEach: (visit: (each: unknown) => void) => visit(panel)
  };
  void plugin.activate(
    { commands } as unknown as JupyterFrontEnd,
    fakeApi({ lineWords: () => Promise.resolve(WORDS), ...methods }),
    { pools: new FakePools([pool('here')]) },
    settings,
    cells,
    tracker,
    null,
    null
  );
  return { commands, cells, settings, tracker };
}

const WITH_BAR = ['lm-Widget header', 'lm-Widget aiinfra-celltoolbar', 'lm-Widget input'];
const WITHOUT = ['lm-Widget header', 'lm-Widget input'];

afterEach(() => {
  Notification.manager.dismiss();
});

describe('the toolbar of a launch cell', () => {
  it('stands between header and input while the cell is one', async () => {
    const cell = new FakeCell('%%accelerate here');
    const { cells } = activate([cell, new FakeCell('x = 1')]);
    const { launch } = cell;
    cells.open(launch);
    await vi.waitFor(() => expect(cell.children_).toEqual(WITH_BAR));
    cells.close(launch);
    expect(cell.children_).toEqual(WITHOUT);
  });

  it('comes and goes with the setting, one at a time', async () => {
    const cell = new FakeCell('%%accelerate here');
    const { cells, settings } = activate([cell]);
    cells.open(cell.launch);
    settings.changed.emit();
    settings.changed.emit();
    await vi.waitFor(() => expect(cell.children_).toEqual(WITH_BAR));
    settings.values['cellToolbar'] = false;
    settings.changed.emit();
    await vi.waitFor(() => expect(cell.children_).toEqual(WITHOUT));
    settings.values['cellToolbar'] = true;
    settings.changed.emit();
    await vi.waitFor(() => expect(cell.children_).toEqual(WITH_BAR));
  });

  it('is left out where the editor is in no notebook, or the cell has closed meanwhile', async () => {
    const lone = new FakeCell('%%accelerate here');
    const cell = new FakeCell('%%accelerate here');
    const marker = new FakeCell('%%accelerate here');
    const { cells } = activate([cell, marker]);
    cells.open(lone.launch);
    const { launch } = cell;
    cells.open(launch);
    cells.close(launch);
    cells.open(marker.launch);
    await vi.waitFor(() => expect(marker.children_).toEqual(WITH_BAR));
    expect([lone.children_, cell.children_]).toEqual([WITHOUT, WITHOUT]);
  });

  it('does without the words of a server that is away', async () => {
    const error = new RequestError('unreachable', 'gone');
    const cell = new FakeCell('%%accelerate here');
    const { cells } = activate([cell], { lineWords: () => Promise.reject(error) });
    cells.open(cell.launch);
    await vi.waitFor(() => expect(cell.children_).toEqual(WITH_BAR));
    expect(cell.node.querySelector('select')?.value).toBe('here');
  });
});

describe('the commands', () => {
  it('are for a launch cell only', async () => {
    const launch = new FakeCell('%%accelerate here');
    const other = new FakeCell('x = 1');
    const { commands, cells, tracker } = activate([launch, other]);
    expect(commands.isEnabled(CommandIDs.dryRun)).toBe(true);
    expect(commands.isEnabled(CommandIDs.choosePool)).toBe(false);
    cells.open(launch.launch);
    await vi.waitFor(() => expect(commands.isEnabled(CommandIDs.choosePool)).toBe(true));

    document.body.append(launch.node);
    await commands.execute(CommandIDs.choosePool);
    expect(document.activeElement).toBe(launch.node.querySelector('select'));

    tracker.activeCell = other;
    expect(commands.isEnabled(CommandIDs.dryRun)).toBe(false);
    expect(commands.isEnabled(CommandIDs.choosePool)).toBe(false);
    tracker.activeCell = null;
    expect(commands.isEnabled(CommandIDs.dryRun)).toBe(false);
  });

  it('say why there can be no dry run', async () => {
    const { commands } = activate([new FakeCell('%%accelerate here')]);
    await commands.execute(CommandIDs.dryRun);
    expect(Notification.manager.notifications[0]?.message).toContain('No kernel');
  });
});
