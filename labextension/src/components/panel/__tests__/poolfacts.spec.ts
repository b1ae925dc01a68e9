import { nullTranslator } from '@jupyterlab/translation';
import { describe, expect, it } from 'vitest';

import type { Node } from '../../../api/types';
import { aNode, aPool } from './pooldata';
import { clockText, gpuMemory, gpuUse, nodeFacts, poolFacts } from '../poolfacts';

const trans = nullTranslator.load('jupyter_aiinfra');

function gpu(index: number, name = 'NVIDIA A100 80GB'): Node['gpus'][number] {
  return {
    uuid: `GPU-${index}`,
    name,
    index,
    memory_total_bytes: 80e9,
    memory_used_bytes: null,
    used_by: []
  };
}

describe('gpuUse', () => {
  const lease = { pool: 'here', node: 'node', gpu: 'GPU-0', job: '1abc', shared: true, since: 0 };
  const process = { pid: 123, user: 'alice', command: 'python', memory_bytes: null };

  it('says who has a GPU', () => {
    const leases = [lease, { ...lease, job: '2def' }, { ...lease, gpu: 'GPU-1', job: '3' }];
    const pool = aPool({ leases });
    expect(gpuUse(gpu(0), pool, trans)).toBe('leased to 1abc, 2def');
    expect(gpuUse(gpu(2), pool, trans)).toBe('free');
    expect(gpuUse({ ...gpu(2), memory_used_bytes: 1e6 }, pool, trans)).toBe('free');
    expect(gpuUse({ ...gpu(2), used_by: [process] }, pool, trans)).toBe(
      'used by process 123 of alice'
    );
    expect(gpuUse({ ...gpu(2), used_by: [{ ...process, user: null }] }, pool, trans)).toBe(
      'used by process 123'
    );
    expect(gpuUse({ ...gpu(2), memory_used_bytes: 3e9 }, pool, trans)).toBe(
      'used by a process that cannot be seen'
    );
  });

  it('says nothing of GPUs that the pool gives out itself', () => {
    expect(gpuUse(gpu(0), aPool({ leases: null }), trans)).toBe('');
  });
});

describe('poolFacts', () => {
  it('counts GPUs by name over all nodes', () => {
    const nodes = [
      aNode({ name: 'a', gpus: [gpu(0), gpu(1)], memory_bytes: 500e9 }),
      aNode({ name: 'b', gpus: [gpu(0), gpu(1, 'NVIDIA T4')], memory_bytes: 500e9 })
    ];

    expect(poolFacts(aPool({ nodes }), trans)).toEqual([
      '2 nodes',
      '3 × NVIDIA A100 80GB',
      '1 × NVIDIA T4',
      '1.0 TB memory'
    ]);
  });

  it('says that there is no GPU, and how many cores instead', () => {
    const nodes = [aNode({ cpus: 8, memory_bytes: 16e9 })];

    expect(poolFacts(aPool({ nodes }), trans)).toEqual([
      '1 node',
      'no GPU',
      '8 cores',
      '16 GB memory'
    ]);
  });

  it('adds up nothing of which a part is unknown', () => {
    const nodes = [aNode({ cpus: 8, memory_bytes: 16e9 }), aNode({ cpus: null })];

    expect(poolFacts(aPool({ nodes }), trans)).toEqual(['2 nodes', 'no GPU']);
  });

  it('knows nothing of a pool that was not asked', () => {
    expect(poolFacts(aPool({ nodes: null }), trans)).toEqual([]);
  });
});

describe('nodeFacts', () => {
  it('leaves out what is unknown, and an address that is the name', () => {
    const node = aNode({ name: 'n', address: 'n', cpus: 2, memory_bytes: 8e9 });

    expect(nodeFacts(node, trans)).toEqual([
      ['Cores', '2'],
      ['Memory', '8.0 GB']
    ]);
    expect(nodeFacts({ ...node, address: '10.0.0.7' }, trans)[0]).toEqual(['Address', '10.0.0.7']);
  });
});

describe('gpuMemory', () => {
  it('is in GiB, as in the names of cards, and not made up', () => {
    expect(gpuMemory(80 * 2 ** 30)).toBe('80 GiB');
    expect(gpuMemory(null)).toBe('');
  });
});

describe('clockText', () => {
  it('has the day where that is not today', () => {
    const at = new Date(2026, 2, 5, 14, 7);
    const seconds = at.getTime() / 1000;

    expect(clockText(seconds, at)).toMatch(/^\d{2}:07/);
    expect(clockText(seconds, new Date(2026, 2, 6, 14, 7))).toMatch(/5.*07/);
  });
});
