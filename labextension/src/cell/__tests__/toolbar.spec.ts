import { EditorState } from '@codemirror/state';
import { EditorView } from '@codemirror/view';
import { nullTranslator } from '@jupyterlab/translation';
import { Signal } from '@lumino/signaling';
import { afterEach, describe, expect, it, vi } from 'vitest';

import { FakePools, FakeSource, pool, WORDS } from '../../editor/__tests__/samples';
import type { ILaunchCell, ILineCheck, ILineProblem } from '../../tokens';
import { CellToolbar } from '../toolbar';

const trans = nullTranslator.load('jupyter_aiinfra');
const HERE = pool('here', { nodes: [{ gpus: [{}, {}] }] as never });
const THERE = pool('there', { status: 'unreachable' });

class FakeCheck implements ILineCheck {
  constructor(public problems: readonly ILineProblem[] = []) {}
  readonly changed: Signal<ILineCheck, void> = new Signal<ILineCheck, void>(this);
}

interface IShown {
  bar: CellToolbar;
  source: FakeSource;
  view: EditorView;
  select: HTMLSelectElement;
  options: () => string[];
  said: () => string;
}

const shown: IShown[] = [];

function show(
  text: string,
  pools: FakePools,
  more: { check?: ILineCheck; dryRun?: () => Promise<string> } = {}
): IShown {
  const source = new FakeSource(text);
  const view = new EditorView({
    state: EditorState.create({ doc: text }),
    parent: document.body
  });
  const cell = { model: { sharedModel: source }, view } as unknown as ILaunchCell;
  const { check = null, dryRun = () => Promise.resolve('') } = more;
  const bar = new CellToolbar({ cell, pools, words: WORDS, check, trans, dryRun });
  document.body.append(bar.node);
  const select = bar.node.querySelector('select') as HTMLSelectElement;
  const found: IShown = {
    bar,
    source,
    view,
    select,
    options: () => [...select.options].map(each => each.text),
    said: () => bar.node.querySelector('[role=status]')?.textContent ?? ''
  };
  shown.push(found);
  return found;
}

afterEach(() => {
  for (const { bar, view } of shown.splice(0)) {
    bar.dispose();
    view.destroy();
  }
  document.body.replaceChildren();
});

describe('the pool picker', () => {
  it('lists the pools as they are, with the one of the line chosen', () => {
    const { select, options } = show('%%accelerate there', new FakePools([HERE, THERE]));
    expect(options()).toEqual(['here — local, 2 GPUs, live', 'there — local, unreachable']);
    expect(select.value).toBe('there');
  });

  it.each([
    ['%%accelerate', [], ['none attached']],
    ['%%accelerate', [HERE], ['here (the only one)', 'here — local, 2 GPUs, live']],
    ['%%accelerate', null, ['…']],
    ['%%accelerate x', null, ['x']],
    ['%%accelerate x', [HERE], ['x (not attached)', 'here — local, 2 GPUs, live']]
  ])('says what holds for %j', (text, pools, expected) => {
    expect(show(text, new FakePools(pools)).options()).toEqual(expected);
  });

  it('follows the line and the pools', () => {
    const pools = new FakePools([HERE]);
    const { source, select, options } = show('%%accelerate here', pools);
    source.setSource('%%accelerate there --procs 2');
    expect(select.value).toBe('there');
    pools.set([HERE, THERE]);
    expect(options()).toHaveLength(2);
    source.setSource('not ours');
    expect(options()).toHaveLength(2);
  });

  it('leaves the list alone while nothing of it changes', () => {
    const pools = new FakePools([HERE, THERE]);
    const { source, select } = show('%%accelerate here', pools);
    const [first] = select.options;
    source.setSource('%%accelerate here --procs 2\nx = 1');
    pools.set([{ ...HERE, checked_at: 7 }, THERE]);
    expect(select.options[0]).toBe(first);
  });

  it('rewrites the pool in the line, and nothing else', () => {
    const { source, select } = show(
      '%%accelerate --procs 2 here\nhere',
      new FakePools([HERE, THERE])
    );
    const update = vi.spyOn(source, 'updateSource');
    select.value = 'there';
    select.dispatchEvent(new Event('change'));
    expect(source.getSource()).toBe('%%accelerate --procs 2 there\nhere');
    expect(update).toHaveBeenCalledWith(23, 27, 'there');
  });

  it('is watched for as long as it is there', () => {
    const pools = new FakePools([HERE]);
    const { bar } = show('%%accelerate', pools);
    expect(pools.watchers).toBe(1);
    bar.dispose();
    bar.dispose();
    expect(pools.watchers).toBe(0);
  });
});

describe('the toolbar', () => {
  it('says what is wrong, and leads there', () => {
    const problem = { start: 13, end: 17, message: 'no <b>heer</b>', hint: 'did you mean here?' };
    const check = new FakeCheck([problem, { ...problem, message: 'more' }]);
    const { bar, view, said } = show('%%accelerate heer', new FakePools([HERE]), { check });
    expect(said()).toBe('no <b>heer</b> (did you mean here?) (and 1 more)');

    const button = bar.node.querySelector<HTMLButtonElement>('.aiinfra-celltoolbar-problem');
    button?.click();
    expect(view.state.selection.main).toMatchObject({ anchor: 13, head: 17 });

    check.problems = [];
    check.changed.emit();
    expect(said()).toBe('');
    expect(button?.hidden).toBe(true);
  });

  it('says why there is no dry run, until the line is changed', async () => {
    const dryRun = vi.fn(() => Promise.resolve('no kernel'));
    const pools = new FakePools([HERE]);
    const { bar, source, said } = show('%%accelerate here', pools, { dryRun });
    bar.node.querySelector<HTMLButtonElement>('button')?.click();
    await vi.waitFor(() => expect(said()).toBe('no kernel'));
    pools.set([HERE, THERE]);
    expect(said()).toBe('no kernel');
    source.setSource('%%accelerate there');
    expect(said()).toBe('');
  });

  it('can be reached and left with the keyboard', () => {
    const { bar, view } = show('%%accelerate here', new FakePools([HERE]));
    const focus = vi.spyOn(view, 'focus');
    bar.choosePool();
    expect(document.activeElement).toBe(bar.node.querySelector('select'));
    const escape = new KeyboardEvent('keydown', { key: 'Escape', bubbles: true });
    document.activeElement?.dispatchEvent(escape);
    expect(focus).toHaveBeenCalled();
    expect(bar.node.getAttribute('data-lm-suppress-shortcuts')).toBe('true');
  });
});
