import { describe, expect, it } from 'vitest';

import { cellOf, failedCell, languageOf } from '../cells';
import { ShownOutputs } from '../outputs';
import { code, notebookOf, printed, raised } from './notebooks';

describe('cellOf', () => {
  it('joins lines, and what one stream has printed', () => {
    const cell = cellOf({
      cell_type: 'code',
      source: ['a = 1\n', 'a'],
      outputs: [printed('one\n'), printed('two\n'), { ...printed('bad\n'), name: 'stderr' }]
    });
    expect(cell.source).toBe('a = 1\na');
    expect(cell.outputs.map(({ text }) => text)).toEqual(['one\ntwo\n', 'bad\n']);
  });

  it('shows a line that was written over as it was at last', () => {
    const { outputs } = cellOf(code('', { outputs: [printed('10 %\r20 %\r'), printed('30 %\n')] }));
    expect(outputs[0]?.['text']).toBe('30 %\n');
  });

  it.each([null, 7, 'cell', { cell_type: 'code', source: 3, outputs: 'none' }])(
    'takes %j for a cell without anything',
    given => {
      expect(cellOf(given)).toMatchObject({ kind: 'code', source: '', outputs: [], state: '' });
    }
  );

  it('knows what papermill has noted down', () => {
    expect(cellOf(code('', { metadata: { papermill: { status: 'running' } } })).state).toBe(
      'running'
    );
    const failed = { papermill: { status: 'completed', exception: true, duration: 0.5 } };
    expect(cellOf(code('', { metadata: failed }))).toMatchObject({ state: 'failed', seconds: 0.5 });
  });
});

describe('failedCell', () => {
  it('is the one that papermill names', () => {
    const failed = { metadata: { papermill: { exception: true } } };
    expect(failedCell([code('a'), code('b', failed)].map(cellOf))).toBe(1);
  });

  it('is else the first that shows an error which was not expected', () => {
    const metadata = { tags: ['raises-exception'] };
    const expected = code('a', { metadata, outputs: [raised('KeyError')] });
    const other = code('b', { outputs: [raised('ValueError')] });
    expect(failedCell([expected, other].map(cellOf))).toBe(1);
    expect(failedCell([cellOf(expected)])).toBe(-1);
  });
});

describe('languageOf', () => {
  it('is what the notebook says, else Python', () => {
    const metadata = { language_info: { name: 'R', mimetype: 'text/x-rsrc' } };
    expect(languageOf({ ...notebookOf(), metadata })).toEqual({
      name: 'R',
      mimeType: 'text/x-rsrc'
    });
    expect(languageOf(null).name).toBe('python');
  });
});

describe('ShownOutputs', () => {
  function shown(...steps: Record<string, unknown>[][]): unknown[] {
    const outputs = new ShownOutputs();
    steps.forEach(step => outputs.set(cellOf(code('', { outputs: step })).outputs));
    return outputs.model.toJSON().map(each => each['text'] ?? each.output_type);
  }

  it('grows by what was printed since', () => {
    expect(shown([printed('a\n')], [printed('a\nb\n')], [printed('a\nb\n'), raised('E')])).toEqual([
      'a\nb\n',
      'error'
    ]);
  });

  it('takes another text in the place of one, and goes on from there', () => {
    expect(shown([printed('1 %')], [printed('2 %')], [printed('2 %\ndone\n')])).toEqual([
      '2 %\ndone\n'
    ]);
  });

  it('begins anew where a cell was cleared', () => {
    expect(shown([printed('a\n'), raised('E')], [printed('b\n')])).toEqual(['b\n']);
  });

  it('is not touched by the same again', () => {
    const outputs = new ShownOutputs();
    const cells = cellOf(code('', { outputs: [printed('a\n')] })).outputs;
    expect(outputs.set(cells)).toBe(true);
    expect(outputs.set(cellOf(code('', { outputs: [printed('a\n')] })).outputs)).toBe(false);
  });
});
