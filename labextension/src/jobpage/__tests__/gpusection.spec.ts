import { nullTranslator } from '@jupyterlab/translation';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { fakeApi, FakeStream } from '../../__tests__/fakes';
import type { GpuCurve, GpuRange, JobDetail } from '../../api/types';
import { jobDetail } from '../../cell/__tests__/jobs';
import { frame } from '../../gpus/__tests__/frames';
import { GpusModel } from '../../gpus/live';
import { RequestError } from '../../request';
import type { IAiInfraApi, IGpuRangeQuery } from '../../tokens';
import { curveNode, figures } from '../gpupast';
import { GpuSection } from '../gpusection';

const trans = nullTranslator.load('jupyter_aiinfra');
const ID = '1nga2d9cenhm';
const GIB = 2 ** 30;
const PLACED: Partial<JobDetail> = { placement: [{ node: 'n0', gpus: ['GPU-a', 'GPU-b'] }] };

function curve(values: Partial<GpuCurve>): GpuCurve {
  const mean = values.mean ?? [10, null, 30];
  return {
    pool: 'here',
    node: 'n0',
    gpu: 'GPU-a',
    series: 'utilization',
    mean,
    least: mean,
    most: mean,
    user: null,
    job: ID,
    rank: 0,
    ...values
  };
}

function range(...curves: GpuCurve[]): GpuRange {
  return { start: 1000, width_seconds: 10, count: 3, curves };
}

let stream: FakeStream;
let section: GpuSection;
const opened = vi.fn();
const known = vi.fn();

function make(methods: Partial<IAiInfraApi> = {}): void {
  const api = fakeApi({ gpuHistory: () => Promise.resolve([]), ...methods });
  const gpus = new GpusModel({ api, stream });
  section = new GpuSection({ id: ID, api, gpus, trans, onOpen: opened, onKnown: known });
  document.body.append(section.node);
}

/** What is seen of the section, its parts one after the other. */
function text(selector = '*'): string[] {
  const found = section.node.querySelectorAll<HTMLElement>(selector);
  return [...found].filter(node => !node.closest('[hidden]')).map(node => node.textContent ?? '');
}

const settled = (): Promise<void> => new Promise(resolve => setTimeout(resolve));

beforeEach(() => {
  vi.spyOn(HTMLCanvasElement.prototype, 'getContext').mockReturnValue(null);
  opened.mockClear();
  known.mockClear();
  stream = new FakeStream();
});

afterEach(() => {
  section.dispose();
  expect(stream.watched).toEqual([]);
  document.body.replaceChildren();
});

describe('while the job runs', () => {
  it('is watched while it is in sight, and only then', () => {
    make();
    section.visible = true;
    expect(stream.watched).toEqual([]);
    section.update(jobDetail({ id: ID }));
    expect(stream.watched).toMatchObject([{ topic: 'gpus', id: ID }]);
    section.visible = false;
    expect(stream.watched).toEqual([]);
  });

  it('shows the GPUs by rank, their sum, and the nodes', async () => {
    make();
    section.update(jobDetail({ id: ID }));
    section.visible = true;
    expect(text('p')).toEqual(['loading…']);
    expect(section.hasGpus).toBe(false);

    const told = frame();
    told.scope = { pool: null, node: null, job: ID, detail: 'gpus' };
    told.gpus = told.gpus.map((gpu, number) => ({
      ...gpu,
      parent: null,
      holders: [{ job: ID, ranks: [3 - number], leased: true }]
    }));
    stream.say(told);
    await new Promise(resolve => requestAnimationFrame(() => setTimeout(() => resolve(null))));
    expect([section.hasGpus, known.mock.calls.length]).toEqual([true, 1]);
    expect(text('.aiinfra-JobGpus-bar span')[0]).toMatch(/^4 GPUs · \d+ % · /);
    expect(text('.aiinfra-Gpus-title')).toEqual(['rank 0', 'rank 1', 'rank 2', 'rank 3']);
    expect(text('.aiinfra-JobGpus-nodes tbody tr')).toEqual([
      'n013 % of 64 cores100 GiB',
      'n113 %100 GiB'
    ]);
    section.node.querySelector<HTMLElement>('.aiinfra-JobGpus-bar button')?.click();
    expect(opened).toHaveBeenCalledOnce();
  });

  it('says that there is no GPU, and what the nodes do', () => {
    make();
    section.update(jobDetail({ id: ID }));
    section.visible = true;
    const told = frame({ gpus: [], gpu_values: [] });
    told.scope = { pool: null, node: null, job: ID, detail: 'gpus' };
    told.nodes = told.nodes.map(node => ({ ...node, gpus: 0, state: 'stale', problem: 'slow' }));
    stream.say(told);
    expect(text('p')[0]).toContain('This job has no GPU.');
    expect(text('tbody tr')[0]).toContain('⚠ stale: slow');
    expect(section.hasGpus).toBe(false);
  });

  it('says why it cannot be told, and that it is not known where', () => {
    make();
    section.update(jobDetail({ id: ID }));
    section.visible = true;
    const topic = { topic: 'gpus', id: ID, rank: null } as const;
    stream.say({ type: 'problem', message: 'cannot be read', hint: 'ask', topic });
    expect(text('p')).toEqual(['cannot be read. ask']);
    const scope = { pool: null, node: null, job: ID, detail: 'gpus' } as const;
    stream.say(frame({ scope, nodes: [], gpus: [], node_values: [], gpu_values: [] }));
    expect(text('p')).toEqual(['It is not known yet where this job runs.']);
  });
});

describe('when it is over', () => {
  const over = jobDetail({ id: ID, state: 'succeeded' }, PLACED);

  it('shows what was recorded, a row a rank', async () => {
    const asked = vi.fn((query: IGpuRangeQuery) =>
      Promise.resolve(
        range(
          curve({ rank: 1, gpu: 'GPU-b', mean: [50, 70, null], most: [80, 99, null] }),
          curve({ rank: 0 }),
          curve({ rank: 1, gpu: 'GPU-b', series: 'memory', mean: [GIB, 3 * GIB, null] }),
          curve({ rank: null, gpu: 'GPU-c', mean: [null, null, null], most: [null, null, null] })
        )
      ).finally(() => expect(query.job).toBe(ID))
    );
    make({ gpuRange: asked });
    section.update(over);
    expect(section.hasGpus).toBe(true);
    section.visible = true;
    await settled();
    expect(text('tbody tr')).toEqual([
      '0n0GPU-a20 %30 %n/an/a',
      '1n0GPU-b60 %99 %2 GiB3 GiB',
      'n/an0GPU-cn/an/an/an/a'
    ]);
    expect(asked).toHaveBeenCalledOnce();
    section.update({ ...over });
    section.visible = false;
    section.visible = true;
    await settled();
    expect(asked).toHaveBeenCalledOnce();
  });

  it('turns from live to what was recorded as the job ends', async () => {
    make({ gpuRange: () => Promise.resolve(range(curve({}))) });
    section.update(jobDetail({ id: ID }, PLACED));
    section.visible = true;
    expect(stream.watched).toHaveLength(1);
    section.update(over);
    expect(stream.watched).toEqual([]);
    await settled();
    expect(text('tbody tr')).toHaveLength(1);
  });

  it('shows the nodes of a job without a GPU', async () => {
    const gpuRange = ({ of }: IGpuRangeQuery): Promise<GpuRange> =>
      Promise.resolve(
        of === 'nodes'
          ? range(
              curve({ gpu: null, rank: null, job: null, series: 'cpu', node: 'n1' }),
              curve({ gpu: null, rank: null, job: null, series: 'memory', node: 'n1', mean: [GIB] })
            )
          : range()
      );
    make({ gpuRange });
    section.update(jobDetail({ id: ID, state: 'failed' }));
    section.visible = true;
    await settled();
    expect(text('p')[0]).toContain('This job had no GPU.');
    expect(text('tbody tr')).toEqual(['n120 %30 %1 GiB1 GiB']);
  });

  it.each([
    [over, 'Nothing was recorded of the GPUs of this job.'],
    [jobDetail({ id: ID, state: 'failed' }), 'This job had no GPU, and nothing was recorded']
  ])('says that nothing was recorded (%#)', async (detail, said) => {
    make({ gpuRange: () => Promise.resolve(range()) });
    section.update(detail);
    section.visible = true;
    await settled();
    expect(text('p')[0]).toContain(said);
    expect(text('p')[1]).toContain('record_gpus');
  });

  it('says what the server refuses, and asks again', async () => {
    let isBroken = true;
    const gpuRange = (): Promise<GpuRange> =>
      isBroken
        ? Promise.reject(new RequestError('refused', 'no database', { hint: 'start it' }))
        : Promise.resolve(range(curve({})));
    make({ gpuRange });
    section.update(over);
    section.visible = true;
    await settled();
    expect(text('[role="alert"]')[0]).toContain('no databasestart it');
    isBroken = false;
    section.node.querySelector<HTMLElement>('[role="alert"] button')?.click();
    await settled();
    expect(text('tbody tr')).toHaveLength(1);
  });
});

describe('a curve', () => {
  it('is of what is known, with a gap where nothing is', () => {
    make();
    const svg = curveNode(curve({ mean: [0, 100, null, 50] }), 'Utilization', trans);
    expect(svg.getAttribute('viewBox')).toBe('0 0 4 24');
    const lines = [...svg.querySelectorAll('.aiinfra-JobPage-line')];
    expect(lines.map(line => line.getAttribute('d'))).toEqual([
      'M0 23.00L1 23.00L1 1.00L2 1.00',
      'M3 12.00L4 12.00'
    ]);
  });

  it('is two numbers, which are unknown where nothing is known', () => {
    make();
    expect(figures(undefined)).toEqual({ mean: null, peak: null });
    expect(figures(curve({ mean: [null, 10, 20], most: [null, 11, 40] }))).toEqual({
      mean: 15,
      peak: 40
    });
  });
});
