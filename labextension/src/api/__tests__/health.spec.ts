import { describe, expect, it } from 'vitest';

import sample from '../../../../tests/wire/health.json';
import { parseHealth } from '../health';

describe('parseHealth', () => {
  it('takes what the server sends, unchanged', () => {
    expect(parseHealth(sample)).toEqual(sample);
  });

  it('leaves out what a newer server adds', () => {
    expect(parseHealth({ ...sample, added: 1 })).toEqual(sample);
  });

  it.each([
    [null, 'the answer: not an object'],
    [[], 'the answer: not an object'],
    [{ ...sample, version: 1 }, 'version: not a string'],
    [{ ...sample, status: 'fine' }, 'status: unknown value "fine"'],
    [{ ...sample, store: undefined }, 'store: not an object'],
    [{ ...sample, store: { ...sample.store, ok: 'yes' } }, 'store.ok: not a boolean'],
    [{ ...sample, store: { ...sample.store, hint: null } }, 'store.hint: not a string'],
    [{ ...sample, pools: -1 }, 'pools: neither a count nor null'],
    [{ ...sample, jobs: { active: 1.5 } }, 'jobs.active: neither a count nor null']
  ])('names what is wrong (%#)', (body, message) => {
    expect(() => parseHealth(body)).toThrow(new TypeError(message));
  });
});
