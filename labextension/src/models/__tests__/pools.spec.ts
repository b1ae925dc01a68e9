import { expect, it } from 'vitest';

import { FakeStream } from '../../__tests__/fakes';
import { pool } from '../../__tests__/samples';
import { PoolsModel } from '../pools';

it('keeps the last list, also when there is no news', () => {
  const stream = new FakeStream();
  const model = new PoolsModel({ stream });
  let changes = 0;
  model.changed.connect(() => (changes += 1));
  const watch = model.watch();
  expect(model.pools).toBeNull();
  expect(stream.watched).toEqual([{ topic: 'pools', id: null, rank: null }]);

  stream.say({ type: 'pools', pools: [pool('here')] });
  const topic = { topic: 'pools', id: null, rank: null } as const;
  stream.say({ type: 'problem', message: 'no database', hint: '', topic });
  watch.dispose();
  expect(model.pools?.map(({ name }) => name)).toEqual(['here']);
  expect(model.problem?.message).toBe('no database');

  stream.say({ type: 'pools', pools: [] });
  expect([model.pools, model.problem, changes]).toEqual([[], null, 3]);
});
