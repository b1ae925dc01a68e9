import { expect, it, vi } from 'vitest';

import { FakeStream } from '../../__tests__/fakes';
import { run } from '../../__tests__/schedulesamples';
import { RunNotebookModel } from '../runnotebook';
import type { NotebookCell, NotebookContent, RunNotebookNews } from '../schedulewire';

const cell = (source: string): NotebookCell => ({ cell_type: 'code', metadata: {}, source });
const notebook = (...sources: string[]): NotebookContent => ({
  cells: sources.map(cell),
  metadata: {},
  nbformat: 4,
  nbformat_minor: 5
});

function news(values: Partial<RunNotebookNews>): RunNotebookNews {
  return {
    type: 'notebook',
    id: 'r1',
    reset: false,
    run: run('r1', { state: 'running' }),
    live: true,
    state: 'running',
    cell: 1,
    cells: 2,
    findings: [],
    problem: null,
    notebook: null,
    changes: [],
    ...values
  };
}

it('keeps the notebook of one run, and says which cells have changed', () => {
  const stream = new FakeStream();
  const one = new RunNotebookModel({ id: 'r1', stream });
  const cells = vi.fn();
  one.cellsChanged.connect((_sender, changed) => void cells(changed));
  one.watch();
  expect(stream.watched).toEqual([{ topic: 'notebook', id: 'r1', rank: null }]);
  stream.say(news({ id: 'r2', reset: true, notebook: notebook('other') }));
  stream.say(news({ changes: [[0, cell('too early')]] }));
  expect(one.notebook).toBeNull();
  stream.say(news({ reset: true, notebook: notebook('a', 'b') }));
  stream.say(
    news({
      cell: 2,
      changes: [
        [1, cell('B')],
        [2, cell('c')]
      ]
    })
  );
  expect(one.notebook?.cells.map(({ source }) => source)).toEqual(['a', 'B', 'c']);
  expect(one.progress).toMatchObject({ cell: 2, cells: 2, live: true });
  stream.say(news({ cell: null }));
  expect(cells.mock.calls).toEqual([[null], [[1, 2]]]);
});

it('says why there is no notebook, and hears nothing once it is disposed', () => {
  const stream = new FakeStream();
  const one = new RunNotebookModel({ id: 'r1', stream });
  stream.say(news({ reset: true, notebook: null, problem: 'its node is gone' }));
  expect([one.notebook, one.problem?.message]).toEqual([null, 'its node is gone']);
  const topic = { topic: 'notebook', id: 'r1', rank: null } as const;
  stream.say({ type: 'problem', message: 'no such run', hint: 'deleted?', topic });
  expect(one.problem).toEqual({ message: 'no such run', hint: 'deleted?' });
  one.dispose();
  stream.say(news({ reset: true, notebook: notebook('a') }));
  expect(one.notebook).toBeNull();
});
