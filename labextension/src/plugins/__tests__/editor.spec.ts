import type { Extension } from '@codemirror/state';
import { EditorView } from '@codemirror/view';
import type { JupyterFrontEnd } from '@jupyterlab/application';
import type { CodeEditor } from '@jupyterlab/codeeditor';
import type { IEditorExtensionFactory, IEditorExtensionRegistry } from '@jupyterlab/codemirror';
import type {
  ICompletionContext,
  ICompletionProvider,
  ICompletionProviderManager
} from '@jupyterlab/completer';
import { Signal } from '@lumino/signaling';
import { afterEach, describe, expect, it, vi } from 'vitest';

import { fakeApi } from '../../__tests__/fakes';
import { FakePools, FakeSource, WORDS } from '../../editor/__tests__/samples';
import type { ILaunchCells } from '../../tokens';
import plugin from '../editor';

class FakeSettings {
  lint = true;
  readonly ready = Promise.resolve();
  readonly changed = new Signal<this, void>(this);
  get(): boolean {
    return this.lint;
  }
}

interface IActive {
  cells: ILaunchCells;
  settings: FakeSettings;
  provider: ICompletionProvider;
  factory: IEditorExtensionFactory['factory'];
}

async function activate(): Promise<IActive> {
  const api = fakeApi({
    lineWords: () => Promise.resolve(WORDS),
    checkLine: () =>
      Promise.resolve({
        pool: null,
        problems: [{ start: 1, end: 5, message: 'no pool', hint: '' }]
      })
  });
  const addExtension = vi.fn<IEditorExtensionRegistry['addExtension']>();
  const registerProvider = vi.fn<ICompletionProviderManager['registerProvider']>();
  const settings = new FakeSettings();
  const cells = await plugin.activate(
    {} as JupyterFrontEnd,
    api,
    { pools: new FakePools([]) },
    settings,
    { addExtension },
    { registerProvider },
    null
  );
  const [extension] = addExtension.mock.calls[0] ?? [];
  const [provider] = registerProvider.mock.calls[0] ?? [];
  return {
    cells,
    settings,
    provider: provider as ICompletionProvider,
    factory: (extension as IEditorExtensionFactory).factory
  };
}

let view: EditorView | null = null;

function open({ factory }: IActive, doc: string): EditorView {
  const model = { sharedModel: new FakeSource(doc) } as unknown as CodeEditor.IModel;
  const made = factory({ inline: true, model })?.instance(undefined) as Extension;
  view = new EditorView({ doc, extensions: made, parent: document.body });
  return view;
}

afterEach(() => {
  view?.destroy();
});

function underlined(): string[] {
  return [...document.querySelectorAll('.aiinfra-line-problem')].map(node => node.textContent);
}

describe('the editor', () => {
  it('underlines what is wrong, as long as that is wanted', async () => {
    const active = await activate();
    open(active, '%%accelerate heer');
    await vi.waitFor(() => expect(underlined()).toEqual(['heer']), 3000);

    active.settings.lint = false;
    active.settings.changed.emit();
    await vi.waitFor(() => expect(underlined()).toEqual([]));

    active.settings.lint = true;
    active.settings.changed.emit();
    await vi.waitFor(() => expect(underlined()).toEqual(['heer']));
  });

  it('knows the launch cells of notebooks and leaves files alone', async () => {
    const active = await activate();
    const model = {} as CodeEditor.IModel;
    expect(active.factory({ inline: false, model })).toBeNull();
    open(active, '%%accelerate here');
    expect(active.cells.cells.size).toBe(1);
  });
});

describe('the completer', () => {
  function at(line: string): ICompletionContext {
    const position = { line: 0, column: line.length };
    const editor = { getCursorPosition: () => position, getLine: () => `${line} tail` };
    return { editor } as unknown as ICompletionContext;
  }

  it.each([
    ['%%acc', true],
    ['  %jobs ', true],
    ['%%accelerate here --', true],
    ['x = 1', false],
    ['%time x', false],
    ['', false]
  ])('has a say at %j: %s', async (line, says) => {
    const { provider } = await activate();
    expect(await provider.isApplicable(at(line))).toBe(says);
  });

  it('has none where there is no editor, and answers where it has', async () => {
    const { provider } = await activate();
    expect(await provider.isApplicable({} as ICompletionContext)).toBe(false);
    const text = '%%accelerate here --mixed-precision b';
    const reply = await provider.fetch({ text, offset: text.length }, at(text));
    expect(reply.items.map(item => item.label)).toEqual(['bf16']);
  });
});
