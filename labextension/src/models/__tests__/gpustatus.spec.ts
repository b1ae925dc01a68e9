import { nullTranslator } from '@jupyterlab/translation';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { FakeStream, fakeApi } from '../../__tests__/fakes';
import { ended, job, jobsNews, pool } from '../../__tests__/samples';
import type { PoolItem } from '../../api/types';
import { GpusModel } from '../../gpus/live';
import { allInUse, GpuStatus } from '../gpustatus';
import { gpuWords } from '../gpuwords';
import { JobsModel } from '../jobs';
import { PoolsModel } from '../pools';
import { overview, type Told } from './overviews';

const trans = nullTranslator.load('jupyter_aiinfra');
const NODE = {
  name: 'gpu1',
  address: 'gpu1',
  cpus: 8,
  memory_bytes: null,
  disk_free_bytes: null,
  python: null,
  driver: null,
  platform: 'linux',
  max_procs: null,
  health: 'live',
  since: null,
  problem: null
} as const;
const GPU = {
  uuid: 'GPU-1',
  name: 'H100',
  index: 0,
  memory_total_bytes: null,
  memory_used_bytes: null,
  used_by: []
};

let stream: FakeStream;
let models: { jobs: JobsModel; pools: PoolsModel; gpus: GpusModel };
let status: GpuStatus;

function withGpus(name: string, count: number): PoolItem {
  const gpus = Array.from({ length: count }, () => GPU);
  return pool(name, { nodes: [{ ...NODE, gpus }] });
}

const overviews = (): (string | null | undefined)[] =>
  stream.watched.filter(({ topic }) => topic === 'gpus').map(each => each.pool);
const words = (): ReturnType<typeof gpuWords> =>
  gpuWords(status, id => models.jobs.find(id)?.name ?? id, trans);

beforeEach(() => {
  vi.useFakeTimers();
  stream = new FakeStream();
  const api = fakeApi({});
  models = {
    jobs: new JobsModel({ api, stream }),
    pools: new PoolsModel({ stream }),
    gpus: new GpusModel({ api, stream })
  };
  status = new GpuStatus({ models, stream });
});

afterEach(() => {
  status.dispose();
  expect(stream.watched).toEqual([]);
  vi.useRealTimers();
});

describe('what is watched', () => {
  it('is the overview of the pools on whose nodes jobs are, while they are', () => {
    stream.say(jobsNews([job('1', { pool: 'lab' }), job('2', { pool: 'lab' }), ended('3')]));
    stream.say(jobsNews([job('4', { pool: 'far', state: 'queued' })]));
    expect(stream.watched.at(-1)).toMatchObject({ topic: 'gpus', pool: 'lab', detail: 'nodes' });
    expect(overviews()).toEqual(['lab']);
    stream.say(jobsNews([ended('1', { pool: 'lab' })]));
    expect(overviews()).toEqual(['lab']);
    stream.say(jobsNews([ended('2', { pool: 'lab' })]));
    expect(overviews()).toEqual([]);
  });

  it('is no pool that is known to have no GPU, or turns out to have none', () => {
    stream.say({ type: 'pools', pools: [withGpus('cpus', 0), pool('new')] });
    stream.say(jobsNews([job('1', { pool: 'cpus' }), job('2', { pool: 'new' })]));
    expect(overviews()).toEqual(['new']);
    stream.say(overview('new', [{ gpus: null, state: 'waiting' }]));
    expect(overviews()).toEqual(['new']);
    stream.say(overview('new', [{ gpus: 0 }]));
    expect(overviews()).toEqual([]);
    expect(words()).toBeNull();
    // The next job may be on another pool of that name.
    stream.say(jobsNews([ended('2', { pool: 'new' })]));
    stream.say(jobsNews([job('5', { pool: 'new' })]));
    expect(overviews()).toEqual(['new']);
  });
});

describe('what is said', () => {
  it('is nothing before any GPU is known', () => {
    expect(words()).toBeNull();
    stream.say({ type: 'pools', pools: [withGpus('cpus', 0)] });
    expect(words()).toBeNull();
  });

  it('is how many there are, where none is read', () => {
    stream.say({ type: 'pools', pools: [withGpus('a', 1)] });
    expect(words()?.text).toBe('1 GPU');
    stream.say({ type: 'pools', pools: [withGpus('a', 1), withGpus('b', 8)] });
    expect(words()).toMatchObject({ text: '9 GPUs', warning: '' });
    expect(words()?.caption).toContain('b: 8 GPUs; not read, since no job of yours runs there');
  });

  it('is what those do that are read, each pool by the number of its GPUs', () => {
    stream.say({ type: 'pools', pools: [withGpus('big', 16)] });
    stream.say(jobsNews([job('1', { pool: 'lab' }), job('2', { pool: 'here' })]));
    stream.say(
      overview('lab', [
        { busy: 3, utilization: 80 },
        { busy: 0, utilization: null }
      ])
    );
    stream.say(overview('here', [{ gpus: 2, busy: 1, utilization: 20 }]));
    expect(words()?.text).toBe('4/10 GPUs · 68 %');
    expect(words()?.caption.split('\n')).toEqual([
      'big: 16 GPUs; not read, since no job of yours runs there',
      'here: 1 of 2 GPUs in use, on average 20 %',
      'lab: 3 of 8 GPUs in use, on average 80 %',
      'Click to show the GPUs.'
    ]);
  });

  it('is no made-up number where the utilization is unknown', () => {
    stream.say(jobsNews([job('1', { pool: 'lab' })]));
    stream.say(overview('lab', [{ utilization: null }]));
    expect(words()?.text).toBe('1/4 GPUs');
    expect(words()?.caption).toContain('on average n/a');
  });

  it('takes part in what something else watches, and forgets it once nobody does', () => {
    stream.say({ type: 'pools', pools: [withGpus('lab', 4)] });
    const watch = models.gpus.of({ pool: 'lab', detail: 'nodes' }).watch();
    stream.say(overview('lab', [{ busy: 2, utilization: 30 }]));
    expect(words()?.text).toBe('2/4 GPUs · 30 %');
    const told = vi.fn();
    status.changed.connect(told);
    watch.dispose();
    vi.advanceTimersByTime(5000);
    expect(told).toHaveBeenCalled();
    expect(words()?.text).toBe('4 GPUs');
  });

  it('is what was last known while the server is away', () => {
    stream.say({ type: 'pools', pools: [withGpus('lab', 4)] });
    stream.say(jobsNews([job('1', { pool: 'lab' })]));
    stream.say(overview('lab', [{}]));
    stream.turn('lost');
    expect(words()?.text).toBe('4 GPUs');
  });
});

describe('warnings', () => {
  const alert = { uuid: 'GPU-1', index: 3, since: 400, job: null };

  beforeEach(() => {
    vi.setSystemTime(1_000_000);
    stream.say(jobsNews([job('1', { pool: 'lab', name: 'digits' })]));
  });

  it.each([
    [{ ...alert, kind: 'lost' } as const, 'GPU lost', 'GPU 3 of gpu1 (pool lab) is lost: its'],
    [{ ...alert, kind: 'hot' } as const, 'GPU too hot', 'runs slower because it is too hot'],
    [
      { ...alert, kind: 'idle', job: '1' } as const,
      'GPU not used',
      'is held by digits, which has used less than 5 % of it for 10 min 00 s.'
    ]
  ])('of a GPU (%#)', (told, short, long) => {
    stream.say(overview('lab', [{ alerts: [told] }]));
    expect(words()?.warning).toBe(short);
    expect(words()?.caption).toContain(long);
    stream.say(overview('lab', [{}]));
    expect(words()?.warning).toBe('');
  });

  it('of a node with jobs of ours that says nothing, once that lasts', () => {
    const away: Told = { state: 'stale', jobs: ['1'] };
    stream.say(overview('lab', [away, { ...away, jobs: [] }], { at: 1000 }));
    expect(words()?.warning).toBe('');
    stream.say(overview('lab', [away, { ...away, jobs: [] }], { at: 1006 }));
    expect(words()?.warning).toBe('node silent');
    expect(words()?.caption).toContain('gpu1 (pool lab) says nothing, and digits runs there.');
    stream.say(overview('lab', [{ ...away, state: 'live' }], { at: 1007 }));
    expect(words()?.warning).toBe('');
    stream.say(overview('lab', [{ ...away, state: 'unreachable', problem: 'No route.' }]));
    expect(words()?.caption).toContain('digits runs there. No route.');
  });

  it('not of a node whose only job is over', () => {
    stream.say(jobsNews([job('2', { pool: 'lab' }), ended('1', { pool: 'lab' })]));
    stream.say(overview('lab', [{ state: 'unreachable', jobs: ['1'] }]));
    expect(status.warnings).toEqual([]);
  });

  it('not of a GPU that the job of somebody else does not use', () => {
    stream.say(overview('lab', [{ alerts: [{ ...alert, kind: 'idle', job: 'theirs' }] }]));
    expect(status.warnings).toEqual([]);
  });

  it('of several are counted, the worst first, and not all told of when they are many', () => {
    const alerts = Array.from({ length: 10 }, (_, index) => ({
      ...alert,
      index,
      kind: 'hot' as const
    }));
    const lost = { ...alert, kind: 'lost' as const };
    stream.say(overview('lab', [{ alerts }, { alerts: [lost] }]));
    expect(words()?.warning).toBe('11 warnings');
    const lines = words()?.caption.split('\n') ?? [];
    expect(lines[0]).toContain('GPU 3 of gpu2 (pool lab) is lost');
    expect(lines[8]).toBe('and 3 more');
  });
});

it('adds up nothing of nothing', () => {
  expect(allInUse([])).toBeNull();
});
