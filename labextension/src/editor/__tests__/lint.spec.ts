import { EditorState } from '@codemirror/state';
import { EditorView } from '@codemirror/view';
import type { CodeEditor } from '@jupyterlab/codeeditor';
import { Signal } from '@lumino/signaling';
import { afterEach, describe, expect, it, vi } from 'vitest';

import { fakeApi } from '../../__tests__/fakes';
import type { IAiInfraModels, ILaunchCell, ILineCheck, ILineProblem } from '../../tokens';
import { isLaunch, LaunchCells } from '../launchcells';
import { lineLint, sentence } from '../lint';
import { FakePools, FakeSource } from './samples';

class FakeCheck implements ILineCheck {
  problems: readonly ILineProblem[] = [];
  readonly changed: Signal<ILineCheck, void> = new Signal<ILineCheck, void>(this);

  say(...problems: ILineProblem[]): void {
    this.problems = problems;
    this.changed.emit();
  }
}

const views: EditorView[] = [];

function editor(doc: string, extensions: unknown): EditorView {
  const view = new EditorView({ doc, extensions: extensions as [], parent: document.body });
  views.push(view);
  return view;
}

afterEach(() => {
  views.splice(0).forEach(view => view.destroy());
});

function underlined(view: EditorView): string[] {
  return [...view.dom.querySelectorAll('.aiinfra-line-problem')].map(node => node.textContent);
}

describe('what is wrong with a line', () => {
  const problem = { start: 13, end: 17, message: "no pool named 'heer'", hint: 'here?' };

  it('is underlined, and described, until it is right', () => {
    const check = new FakeCheck();
    check.problems = [problem];
    const view = editor('%%accelerate heer --cpu', lineLint(check));

    expect(underlined(view)).toEqual(['heer']);
    const mark = view.dom.querySelector('.aiinfra-line-problem');
    expect(mark?.getAttribute('aria-description')).toBe("no pool named 'heer' (here?)");

    check.say();
    expect(underlined(view)).toEqual([]);
  });

  it('moves with the text while a new answer is awaited', () => {
    const check = new FakeCheck();
    check.problems = [problem];
    const view = editor('%%accelerate heer', lineLint(check));
    view.dispatch({ changes: { from: 0, insert: '\n' } });
    expect(underlined(view)).toEqual(['heer']);
  });

  it('is drawn where it still can be', () => {
    const check = new FakeCheck();
    const view = editor('%%accelerate he', lineLint(check));
    check.say(problem, { ...problem, start: 90, end: 99 });
    expect(underlined(view)).toEqual(['he']);
  });

  it('is no longer listened to by an editor that is gone', () => {
    const check = new FakeCheck();
    const view = editor('%%accelerate heer', lineLint(check));
    const dispatch = vi.spyOn(view, 'dispatch');
    view.destroy();
    check.say(problem);
    expect(dispatch).not.toHaveBeenCalled();
  });

  it('is one sentence where there is room for one', () => {
    expect(sentence({ ...problem, hint: '' })).toBe("no pool named 'heer'");
  });
});

describe('the launch cells', () => {
  function cells(): LaunchCells {
    const models = { pools: new FakePools([]) } as unknown as IAiInfraModels;
    return new LaunchCells(fakeApi({}), models);
  }

  function open(known: LaunchCells, doc: string): EditorView {
    const model = { sharedModel: new FakeSource(doc) } as unknown as CodeEditor.IModel;
    return editor(doc, known.extension(model));
  }

  it('are opened and closed by what is typed', () => {
    const known = cells();
    const told: string[] = [];
    known.opened.connect(() => told.push('opened'));
    known.closed.connect(() => told.push('closed'));
    const view = open(known, '%%accelerat');
    expect(known.cells.size).toBe(0);

    view.dispatch({ changes: { from: 11, insert: 'e' } });
    expect([...known.cells].map(cell => cell.view)).toEqual([view]);
    view.dispatch({ changes: { from: 12, insert: ' here' } });
    view.dispatch({ changes: { from: 0, insert: 'x' } });
    expect(known.cells.size).toBe(0);
    expect(told).toEqual(['opened', 'closed']);
  });

  it('are closed with their editor, and their check with them', async () => {
    const known = cells();
    const view = open(known, '\n%%accelerate here');
    const [cell] = known.cells as Set<ILaunchCell>;
    const check = await cell?.check();
    expect(await cell?.check()).toBe(check);

    view.destroy();
    await Promise.resolve();
    expect(known.cells.size).toBe(0);
    expect(cell?.isClosed).toBe(true);
    expect((check as unknown as { isDisposed: boolean }).isDisposed).toBe(true);
  });

  it('are drawn in, one drawing in place of the other, and none when closed', async () => {
    const known = cells();
    const view = open(known, '%%accelerate here');
    const [cell] = known.cells as Set<ILaunchCell>;
    const attribute = (name: string): ReturnType<typeof EditorView.editorAttributes.of> =>
      EditorView.editorAttributes.of({ [name]: '1' });
    cell?.draw(attribute('data-a'));
    cell?.draw(attribute('data-b'));
    expect([view.dom.hasAttribute('data-a'), view.dom.hasAttribute('data-b')]).toEqual([
      false,
      true
    ]);

    view.dispatch({ changes: { from: 0, insert: 'x' } });
    await Promise.resolve();
    expect(view.dom.hasAttribute('data-b')).toBe(false);
  });

  it('are told from a long document by its first lines', () => {
    const doc = (text: string): EditorState['doc'] => EditorState.create({ doc: text }).doc;
    expect(isLaunch(doc(`\n\n%%accelerate\n${'x\n'.repeat(9999)}`))).toBe(true);
    expect(isLaunch(doc('\n'.repeat(9999)))).toBe(false);
    expect(isLaunch(doc('x\n%%accelerate'))).toBe(false);
  });
});
