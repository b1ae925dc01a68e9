import { Notification as Toast } from '@jupyterlab/apputils';
import { nullTranslator } from '@jupyterlab/translation';
import { afterEach, describe, expect, it, vi } from 'vitest';

import type { RunItem } from '../api/types';
import { RunsModel } from '../models/runs';
import { RunTeller, type IRunTellerOptions } from '../runtoasts';
import { fakeApi, FakeStream } from './fakes';
import { run } from './schedulesamples';

const trans = nullTranslator.load('jupyter_aiinfra');
const GOING = { state: 'running', ended_at: null } as const;

function begin(
  before: RunItem[],
  changes: Partial<IRunTellerOptions> = {}
): { say: (reset: boolean, ...changed: RunItem[]) => void; stream: FakeStream } {
  const stream = new FakeStream();
  const runs = new RunsModel({ api: fakeApi({}), stream });
  const say = (reset: boolean, ...changed: RunItem[]): void =>
    stream.say({ type: 'runs', id: null, changed, removed: [], reset, more: false });
  say(true, ...before);
  const options = { trans, open: () => undefined, onTold: () => undefined };
  const teller = new RunTeller(
    { ...options, runs, wanted: () => 'all', ...changes },
    runs.runs ?? []
  );
  runs.changed.connect(() => teller.look());
  return { say, stream };
}

const told = (): string[] => Toast.manager.notifications.map(({ message }) => message).sort();

afterEach(() => {
  Toast.manager.dismiss();
});

describe('RunTeller', () => {
  it('tells of what ends, and not of what was over', () => {
    const { say } = begin([run('r2', GOING), run('r1', { state: 'failed' })]);
    expect(told()).toEqual([]);
    say(false, run('r2', { state: 'failed', reason: 'cell 3 raised KeyError' }));
    expect(told()).toEqual(['The run of “report” has failed: cell 3 raised KeyError']);
    say(false, run('r2', { state: 'failed', reason: 'cell 3 raised KeyError' }));
    expect(told()).toHaveLength(1);
  });

  it('tells of one that was over before it could be seen going on', () => {
    const { say } = begin([run('r1')]);
    say(false, run('r2'));
    expect(told()).toEqual(['The run of “report” has succeeded']);
  });

  it('tells after a gap only of what it saw going on', () => {
    const { say, stream } = begin([run('r1', GOING)]);
    stream.say({ type: 'hello', server: '1', home: '/h' } as never);
    say(true, run('r1'), run('r2'), run('r3'));
    expect(told()).toEqual(['The run of “report” has succeeded']);
  });

  it.each([
    ['never', []],
    ['failures', ['The run of “report” is lost', '“report” was not run in time']]
  ] as const)('tells of what is wanted: %s', (wanted, expected) => {
    const onTold = vi.fn();
    const { say } = begin([run('r1', GOING), run('r2', GOING)], { wanted: () => wanted, onTold });
    say(
      false,
      run('r1', { state: 'lost' }),
      run('r2'),
      run('r3', { state: 'missed' }),
      run('r4', { state: 'skipped' })
    );
    expect(told()).toEqual(expected);
    expect(onTold).toHaveBeenCalledTimes(expected.length);
  });
});
