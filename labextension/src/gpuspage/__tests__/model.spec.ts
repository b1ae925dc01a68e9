import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { fakeApi, FakeStream } from '../../__tests__/fakes';
import { makeModels } from '../../__tests__/models';
import { job, jobsNews, pool } from '../../__tests__/samples';
import type { GpuRange } from '../../api/types';
import { frame } from '../../gpus/__tests__/frames';
import { RequestError } from '../../request';
import type { IGpuRangeQuery } from '../../tokens';
import { GpusPageModel } from '../model';
import { NAMES } from './boards';

const T0 = frame().at;
const range = vi.fn<(query: IGpuRangeQuery, signal?: AbortSignal) => Promise<GpuRange>>();

let stream: FakeStream;
let model: GpusPageModel;

beforeEach(() => {
  vi.useFakeTimers({ now: T0 * 1000 });
  range.mockReset();
  range.mockImplementation(({ start = T0 - 60, end = T0, series = [] }) =>
    Promise.resolve({
      start,
      width_seconds: Math.ceil((end - start) / 10),
      count: 10,
      curves: series.map(name => ({
        ...{ pool: 'here', node: null, gpu: null, user: null, job: null, rank: null },
        series: name,
        mean: Array<number>(10).fill(5),
        least: Array<number>(10).fill(4),
        most: Array<number>(10).fill(6)
      }))
    })
  );
  stream = new FakeStream();
  const api = fakeApi({ gpuRange: range, gpuHistory: () => Promise.resolve([]) });
  const models = makeModels({ api, stream });
  model = new GpusPageModel({ api, stream, models, names: NAMES });
});

afterEach(() => {
  model.dispose();
  vi.useRealTimers();
});

function begin(...pools: string[]): void {
  model.active = true;
  model.room = 300;
  stream.say({ type: 'pools', pools: pools.map(name => pool(name)) });
}

function tell(name: string): void {
  stream.say(
    frame({ key: name.length, scope: { pool: name, node: null, job: null, detail: 'gpus' } })
  );
}

const watched = (): string[] =>
  stream.watched
    .filter(({ topic }) => topic === 'gpus')
    .map(({ pool: name, node, id }) => [name, node, id].filter(Boolean).join('/'))
    .sort();
const asked = (): IGpuRangeQuery[] => range.mock.calls.map(([query]) => query);

describe('GpusPageModel', () => {
  it('watches what is shown, while it is to be seen', () => {
    expect(stream.watched).toEqual([]);
    begin('here', 'there');
    expect(watched()).toEqual(['here', 'there']);
    model.show({ pool: 'here' });
    expect(watched()).toEqual(['here']);
    model.show({ node: 'n1' });
    expect(watched()).toEqual(['here/n1']);
    model.active = false;
    expect(stream.watched).toEqual([]);
    model.active = true;
    expect(watched()).toEqual(['here/n1']);
    model.show({ pool: null, node: null, job: '1abc' });
    expect(watched()).toEqual(['1abc']);
    model.dispose();
    expect(stream.watched).toEqual([]);
  });

  it('shows the last minutes by the second, and asks for nothing', async () => {
    begin('here');
    expect(model.curves()).toBeNull();
    tell('here');
    expect(model.shown()).toEqual({ start: T0 - 299, end: T0 + 1 });
    const curves = model.curves();
    expect(curves?.lines.utilization[0]?.mean.at(-1)).toBe(36);
    expect(model.limits()).toEqual({ memory: 80 * 2 ** 30, power: 700 });
    await vi.advanceTimersByTimeAsync(60_000);
    expect(range).not.toHaveBeenCalled();
  });

  it('asks for what was recorded, again and again, but not while it is hidden', async () => {
    begin('here');
    tell('here');
    model.show({ span: 3_600 });
    expect(asked()).toEqual([
      expect.objectContaining({ by: 'pool', start: T0 - 3_600, end: T0, points: 300 })
    ]);
    await vi.advanceTimersByTimeAsync(0);
    expect(model.curves()?.lines.memory[0]?.most[0]).toBe(6);
    expect(model.isLoading).toBe(false);
    await vi.advanceTimersByTimeAsync(200_000);
    expect(asked()).toHaveLength(2);
    model.active = false;
    await vi.advanceTimersByTimeAsync(900_000);
    expect(asked()).toHaveLength(2);
    model.active = true;
    expect(asked()).toHaveLength(3);
  });

  it('asks once for a window that is over, and for the one that is wanted now', async () => {
    begin('here');
    tell('here');
    const window = { start: T0 - 9_000, end: T0 - 8_000 };
    model.show({ span: 86_400 });
    model.show({ window });
    expect(range.mock.calls[0]?.[1]?.aborted).toBe(true);
    await vi.advanceTimersByTimeAsync(0);
    expect(asked().at(-1)).toMatchObject(window);
    await vi.advanceTimersByTimeAsync(900_000);
    expect(asked()).toHaveLength(2);
    expect(model.shown()).toEqual(window);
  });

  it('zooms into the last minutes without asking', () => {
    begin('here');
    tell('here');
    model.show({ window: { start: T0 - 100, end: T0 - 50 } });
    expect(model.curves()).toMatchObject({ t0: T0 - 100, count: 50, width: 1 });
    expect(range).not.toHaveBeenCalled();
  });

  it('asks for each GPU too, where there are many', () => {
    const { gpus, gpu_values: values, scope } = frame();
    begin('here');
    stream.say(
      frame({
        scope,
        gpus: [0, 1, 2].flatMap(copy => gpus.map(gpu => ({ ...gpu, uuid: `${gpu.uuid}${copy}` }))),
        gpu_values: [...values, ...values, ...values]
      })
    );
    model.show({ span: 3_600, pool: 'here', heat: 'power' });
    expect(asked().map(({ by, series }) => [by, series])).toEqual([
      ['pool', ['utilization', 'memory', 'power', 'temperature']],
      ['gpu', ['power']]
    ]);
  });

  it('asks for all of a job that is over: as one, until its GPUs are counted', () => {
    begin('here');
    stream.say(jobsNews([job('job1', { pool: 'there' })]));
    model.show({ job: 'job1', span: 0 });
    stream.say(frame({ scope: { pool: null, node: null, job: 'job1', detail: 'gpus' } }));
    expect(asked().map(({ job: id, by, start }) => [id, by, start])).toEqual([
      ['job1', 'pool', undefined],
      ['job1', 'rank', undefined]
    ]);
  });

  it('says why there is nothing, and tries again where no answer came', async () => {
    begin('here');
    tell('here');
    range.mockRejectedValueOnce(new RequestError('unreachable', 'no answer', { hint: 'wait' }));
    model.show({ span: 3_600 });
    await vi.advanceTimersByTimeAsync(0);
    expect(model.problems).toEqual([{ message: 'no answer', hint: 'wait' }]);
    await vi.advanceTimersByTimeAsync(5_000);
    expect([asked().length, model.problems]).toEqual([2, []]);
  });

  it('says which pool cannot be read', () => {
    begin('here', 'there');
    stream.say({
      type: 'problem',
      message: 'not to be read',
      hint: '',
      topic: { topic: 'gpus', id: null, rank: null, pool: 'there', node: null, detail: null }
    });
    expect(model.problems).toEqual([{ message: 'there: not to be read', hint: '' }]);
  });
});
