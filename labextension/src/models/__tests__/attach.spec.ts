import { PromiseDelegate } from '@lumino/coreutils';
import { describe, expect, it, vi } from 'vitest';

import { fakeApi } from '../../__tests__/fakes';
import type { PoolItem, PoolKind } from '../../api/types';
import { RequestError } from '../../request';
import { AttachDraft } from '../attach';

const KINDS = [
  {
    kind: 'local',
    title: 'This machine',
    schema: { properties: { max_procs: { type: 'integer' } } }
  },
  { kind: 'far', title: 'Far away', schema: { properties: { host: { type: 'string' } } } }
] as unknown as PoolKind[];

const POOL = { name: 'here', kind: 'local' } as PoolItem;

describe('a pool that is being attached', () => {
  it('asks the server for what was filled in, once', async () => {
    const answer = new PromiseDelegate<PoolItem>();
    const attachPool = vi.fn(() => answer.promise);
    const draft = new AttachDraft(fakeApi({ attachPool }), KINDS);
    draft.setName(' here ');
    draft.setText('max_procs', '4');

    const first = draft.submit();
    expect(draft.busy).toBe(true);
    expect(await draft.submit()).toBeNull();
    draft.setName('there');
    expect(draft.name).toBe(' here ');
    answer.resolve(POOL);

    expect(await first).toBe(POOL);
    expect(draft.busy).toBe(false);
    expect(attachPool.mock.calls).toEqual([
      [{ name: 'here', kind: 'local', options: { max_procs: 4 }, accept: [] }, expect.anything()]
    ]);
  });

  it('asks nothing where something is missing or cannot be read, and says what', async () => {
    const draft = new AttachDraft(fakeApi({}), KINDS);
    draft.setText('max_procs', 'many');

    expect(await draft.submit()).toBeNull();
    expect(draft.nameMissing).toBe(true);
    expect(draft.problems).toEqual({ max_procs: 'not an integer' });

    draft.setName('here');
    draft.setText('max_procs', '2');
    expect(draft.nameMissing).toBe(false);
    expect(draft.problems).toEqual({});
  });

  it('keeps everything when the server refuses, and says why until something is changed', async () => {
    const refused = new RequestError('refused', 'taken', { hint: 'another name', status: 409 });
    const draft = new AttachDraft(fakeApi({ attachPool: () => Promise.reject(refused) }), KINDS);
    draft.setName('here');

    expect(await draft.submit()).toBeNull();
    expect(draft.error).toBe(refused);
    expect(draft.name).toBe('here');
    expect(draft.busy).toBe(false);

    draft.setName('there');
    expect(draft.error).toBeNull();
  });

  it('does not dress up a mistake of our own', async () => {
    const attachPool = (): Promise<PoolItem> => Promise.reject(new TypeError('a bug'));
    const draft = new AttachDraft(fakeApi({ attachPool }), KINDS);
    draft.setName('here');

    await expect(draft.submit()).rejects.toThrow('a bug');
  });

  it('has the options of the chosen kind, and keeps what was filled in for another', async () => {
    const attachPool = vi.fn(() => Promise.resolve(POOL));
    const draft = new AttachDraft(fakeApi({ attachPool }), KINDS);
    draft.setName('x');
    draft.setText('max_procs', '4');
    draft.setKind('far');
    draft.setText('host', 'node7');

    expect(draft.fields.map(field => field.name)).toEqual(['host']);
    await draft.submit();
    expect(attachPool).toHaveBeenCalledWith(
      { name: 'x', kind: 'far', options: { host: 'node7' }, accept: [] },
      expect.anything()
    );

    draft.setKind('local');
    expect(draft.texts).toEqual({ max_procs: '4' });
  });
});
