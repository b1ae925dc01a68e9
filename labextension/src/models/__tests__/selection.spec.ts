import { expect, it } from 'vitest';

import { FakeStream, fakeApi } from '../../__tests__/fakes';
import { ended, job, jobsNews } from '../../__tests__/samples';
import { JobsModel } from '../jobs';
import { JobSelection } from '../selection';

it('answers the job as it is now, and none once it is gone', () => {
  const stream = new FakeStream();
  const selection = new JobSelection(new JobsModel({ api: fakeApi({}), stream }));
  let changes = 0;
  selection.changed.connect(() => (changes += 1));
  stream.say(jobsNews([job('1')], { reset: true }));
  expect(selection.selected).toBeNull();
  selection.select('1');
  selection.select('1');
  expect([selection.selected?.state, changes]).toEqual(['running', 1]);

  stream.say(jobsNews([ended('1')]));
  expect(selection.selected?.state).toBe('succeeded');
  stream.say(jobsNews([], { removed: ['1'] }));
  expect(selection.selected).toBeNull();
});
