import { describe, expect, it } from 'vitest';

import { isFrom, isOrigin } from '../origin';
import { isJobId, isWhole, jobReference } from '../reference';

describe('the origin of a job', () => {
  const job = { line: ' here --procs 2 ', code: 'train()\nmore()\n' };

  it.each([
    '%%accelerate here --procs 2\ntrain()\nmore()',
    '\n\n%%accelerate  here  --procs 2\ntrain()\nmore()\n\n',
    '%%accelerate here --procs {ranks}\ntrain()\nmore()'
  ])('is the cell with its text: %j', source => {
    expect(isOrigin(source, job)).toBe(true);
  });

  it.each([
    '%%accelerate here --procs 4\ntrain()\nmore()',
    '%%accelerate here --procs 2\ntrain()\nmore(1)',
    '%%accelerate here --procs 2\n  train()\nmore()',
    '%%time\ntrain()\nmore()',
    'train()\nmore()',
    ''
  ])('is no other cell: %j', source => {
    expect(isOrigin(source, job)).toBe(false);
  });

  it('is none for a job that came from no cell', () => {
    expect(isOrigin('%%accelerate here\n', { line: 'here', code: '' })).toBe(false);
  });

  it('is the notebook whose path it ends with', () => {
    const from = (notebook: string | null, path: string): boolean => isFrom({ notebook }, path);
    expect(from('/home/me/files/a/nb.ipynb', 'a/nb.ipynb')).toBe(true);
    expect(from('a/nb.ipynb', '/a/nb.ipynb')).toBe(true);
    expect(from('C:\\work\\a\\nb.ipynb', 'a/nb.ipynb')).toBe(true);
    expect(from('/home/me/files/aa/nb.ipynb', 'a/nb.ipynb')).toBe(false);
    expect(from('/home/me/files/nb.ipynb', '')).toBe(false);
    expect(from(null, 'nb.ipynb')).toBe(false);
  });
});

describe('the reference to a job in an output', () => {
  it('is what the kernel wrote', () => {
    const written = { id: '0abc', name: 'digits', pool: 'here', state: 'running' };
    expect(jobReference(written)).toEqual({
      id: '0abc',
      state: 'running',
      hides: false,
      used: []
    });
    expect(jobReference({ ...written, hides: true })?.hides).toBe(true);
    const use = { rank: 1, gpus: ['n0:3', 4], mean_percent: 'much', peak_percent: 98.5 };
    const gpus = [use, { rank: '0', gpus: [] }, { rank: 0 }, null];
    expect(jobReference({ ...written, gpus })?.used).toEqual([
      {
        rank: 1,
        gpus: ['n0:3'],
        mean_percent: null,
        peak_percent: 98.5,
        peak_memory_bytes: null,
        memory_total_bytes: null
      }
    ]);
  });

  it.each([null, 'text', {}, { id: 7 }, { id: '' }, { id: '0abc; import os' }, { id: '../0' }])(
    'is nothing else: %j',
    value => {
      expect(jobReference(value)).toBeNull();
    }
  );

  it('says whether the output holds the end of the job', () => {
    const of = (state: string): boolean => isWhole({ id: '0', state, hides: false, used: [] });
    expect(['pending', 'starting', 'running', ''].map(of)).toEqual([false, false, false, false]);
    expect(['succeeded', 'failed', 'cancelled', 'lost'].every(of)).toBe(true);
    expect(isJobId(undefined)).toBe(false);
  });
});
