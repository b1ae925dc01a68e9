import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { FakeStream, fakeApi } from '../../__tests__/fakes';
import { ended, job, jobsNews } from '../../__tests__/samples';
import { RequestError } from '../../request';
import type { IAiInfraApi } from '../../tokens';
import { JobsModel } from '../jobs';

let stream: FakeStream;
let model: JobsModel;
let ends: string[];

function make(methods: Partial<IAiInfraApi> = {}): JobsModel {
  stream = new FakeStream();
  model = new JobsModel({ api: fakeApi(methods), stream });
  ends = [];
  model.ended.connect((_sender, { id, state }) => ends.push(`${id} ${state}`));
  return model;
}

const ids = (): string[] => model.jobs.map(({ id }) => id);
const hello = (): void => stream.say({ type: 'hello', version: '1', instance: 'x' });

beforeEach(() => {
  make();
});

describe('the list', () => {
  it('is newest first, and follows what changes', () => {
    stream.say(jobsNews([job('1'), job('3')], { reset: true, active: 2 }));
    stream.say(jobsNews([job('2'), ended('1')], { removed: ['3'], active: 1 }));

    expect(ids()).toEqual(['2', '1']);
    expect(model.active).toBe(1);
    expect(model.find('1')?.state).toBe('succeeded');
    expect(model.find('3')).toBeUndefined();
  });

  it('is what the server says after a reconnect: nothing twice, nothing left over', () => {
    stream.say(jobsNews([job('1'), job('2')], { reset: true }));
    model.take([ended('0')]);
    hello();
    stream.say(jobsNews([job('3'), job('2')], { reset: true, more: true }));

    expect(ids()).toEqual(['3', '2']);
    expect([model.oldest?.id, model.more, model.resets]).toEqual(['2', true, 2]);
  });

  it('keeps older jobs when all is told anew without a gap', () => {
    model.watch();
    stream.say(jobsNews([job('5'), job('6')], { reset: true, more: true }));
    model.take([ended('2')]);
    stream.say(jobsNews([job('6'), job('7')], { reset: true, more: true }));

    expect(ids()).toEqual(['7', '6', '5', '2']);
    stream.say(jobsNews([job('5'), job('7')], { reset: true, more: true }));
    expect(ids()).toEqual(['7', '5', '2']);
    stream.say(jobsNews([job('7')], { reset: true }));
    expect(ids()).toEqual(['7']);
    expect(model.resets).toBe(1);
  });

  it('begins anew after nobody has watched', () => {
    const watch = model.watch();
    stream.say(jobsNews([job('5')], { reset: true, more: true }));
    model.take([ended('2')]);
    watch.dispose();
    model.watch();
    stream.say(jobsNews([job('5')], { reset: true, more: true }));

    expect(ids()).toEqual(['5']);
  });

  it('does not take an answer that the stream has overtaken', () => {
    stream.say(jobsNews([job('1', { version: 4 })], { reset: true }));
    model.take([job('1', { version: 3, state: 'pending' })]);

    expect(model.find('1')?.state).toBe('running');
  });

  it('says why there is no news, until there is', () => {
    const topic = { topic: 'jobs', id: null, rank: null } as const;
    stream.say({ type: 'problem', message: 'no database', hint: 'start it', topic });
    expect(model.problem).toMatchObject({ message: 'no database', hint: 'start it' });
    stream.say(jobsNews([], { reset: true }));
    expect(model.problem).toBeNull();
  });

  it('watches for as long as somebody wants it to', () => {
    const watch = model.watch();
    expect(stream.watched).toEqual([{ topic: 'jobs', id: null, rank: null }]);
    watch.dispose();
    expect(stream.watched).toEqual([]);
  });
});

describe('an end', () => {
  it('is told once, whichever news brings it first', () => {
    stream.say(jobsNews([job('1'), job('2')], { reset: true }));
    stream.say(jobsNews([ended('1')]));
    stream.say({ type: 'ended', job: ended('1') });
    stream.say({ type: 'ended', job: ended('2', { state: 'failed' }) });
    stream.say(jobsNews([ended('2', { state: 'failed' })]));

    expect(ends).toEqual(['1 succeeded', '2 failed']);
  });

  it('is none where the job was over when the page came', () => {
    stream.say(jobsNews([ended('1')], { reset: true }));
    stream.say({ type: 'ended', job: ended('1') });

    expect(ends).toEqual([]);
  });

  it('is told of a job that was over before it could be listed', () => {
    stream.say(jobsNews([], { reset: true }));
    stream.say({ type: 'ended', job: ended('1') });

    expect(ends).toEqual(['1 succeeded']);
  });

  it('that came while the connection was gone is told after it', () => {
    stream.say(jobsNews([job('1')], { reset: true }));
    hello();
    stream.say(jobsNews([ended('1')], { reset: true }));
    hello();
    stream.say(jobsNews([ended('1')], { reset: true }));

    expect(ends).toEqual(['1 succeeded']);
  });
});

describe('cancel', () => {
  it('reads as stopping at once, whatever comes before the answer', async () => {
    let answer: (value: ReturnType<typeof job>) => void = () => undefined;
    make({ cancelJob: () => new Promise(resolve => (answer = resolve)) });
    stream.say(jobsNews([job('1')], { reset: true }));
    const done = model.cancel('1');
    expect(model.jobs[0]?.desired).toBe('stop');
    stream.say(jobsNews([job('1', { version: 2 })]));
    expect(model.find('1')?.desired).toBe('stop');

    answer(job('1', { version: 3, desired: 'stop' }));
    await done;
    expect(model.find('1')).toMatchObject({ version: 3, desired: 'stop' });
  });

  it('is taken back where the server refuses', async () => {
    make({ cancelJob: () => Promise.reject(new RequestError('refused', 'no', { status: 409 })) });
    stream.say(jobsNews([job('1')], { reset: true }));

    await expect(model.cancel('1')).rejects.toThrow('no');
    expect(model.find('1')?.desired).toBe('run');
  });
});

describe('rerun', () => {
  it('lists the new job without waiting for news of it', async () => {
    make({ rerunJob: () => Promise.resolve(job('2', { state: 'pending' })) });
    stream.say(jobsNews([ended('1')], { reset: true }));

    expect((await model.rerun('1')).id).toBe('2');
    expect(ids()).toEqual(['2', '1']);
  });
});

describe('remove', () => {
  const removeJob = vi.fn((_id: string) => Promise.resolve());

  beforeEach(() => {
    vi.useFakeTimers();
    removeJob.mockClear();
    make({ removeJob });
    stream.say(jobsNews([ended('1'), ended('2')], { reset: true }));
  });

  afterEach(() => {
    vi.useRealTimers();
  });

  it('hides the job at once, and asks the server when the time is over', async () => {
    const removal = model.remove('1', 8);
    expect(ids()).toEqual(['2']);
    expect(model.find('1')).toBeUndefined();
    await vi.advanceTimersByTimeAsync(7900);
    expect(removeJob).not.toHaveBeenCalled();

    await vi.advanceTimersByTimeAsync(200);
    expect(removeJob).toHaveBeenCalledWith('1');
    expect(await removal.done).toBe(true);
    expect(removal.undo()).toBe(false);
    expect(ids()).toEqual(['2']);
  });

  it('can be taken back in time, and then nothing is sent', async () => {
    const removal = model.remove('1', 8);
    expect(removal.undo()).toBe(true);
    expect(await removal.done).toBe(false);
    expect(ids()).toEqual(['2', '1']);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(removeJob).not.toHaveBeenCalled();
  });

  it('brings the job back where the server refuses', async () => {
    removeJob.mockRejectedValueOnce(new RequestError('refused', 'still runs', { status: 409 }));
    const refused = expect(model.remove('1', 8).done).rejects.toThrow('still runs');
    await vi.advanceTimersByTimeAsync(8000);
    await refused;
    expect(ids()).toEqual(['2', '1']);
  });
});
