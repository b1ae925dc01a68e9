/** Overviews of pools as the server tells them. */

import type { GpusFrame } from '../../api/types';
import type { NodeRow } from '../../gpus/wire';

export type Told = Partial<NodeRow> & {
  busy?: number | null;
  utilization?: number | null;
};

let seq = 0;

/** An overview of a pool with these nodes, each of four GPUs if nothing else is said. */
export function overview(pool: string, nodes: Told[], values: Partial<GpusFrame> = {}): GpusFrame {
  seq += 1;
  const told = (name: 'busy' | 'utilization', other: number): (number | null)[] =>
    nodes.map(node => {
      const value = node[name];
      return value === undefined ? other : value;
    });
  return {
    type: 'gpus',
    key: 7,
    seq,
    at: 1000,
    scope: { pool, node: null, job: null, detail: 'nodes' },
    node_series: [
      { name: 'utilization', unit: '%', step: 1 },
      { name: 'memory', unit: 'bytes', step: 512 * 2 ** 20 },
      { name: 'power', unit: 'W', step: 10 },
      { name: 'busy', unit: 'GPUs', step: 1 }
    ],
    gpu_series: [],
    nodes: nodes.map(({ busy: _busy, utilization: _utilization, ...node }, number) => ({
      name: `gpu${number + 1}`,
      state: 'live',
      problem: '',
      problems: [],
      gpus: 4,
      cpu_count: 64,
      memory_total_bytes: 2 ** 39,
      jobs: [],
      alerts: [],
      ...node
    })),
    gpus: [],
    node_values: [
      ...told('utilization', 50),
      ...nodes.map(() => 80),
      ...nodes.map(() => 100),
      ...told('busy', 1)
    ],
    gpu_values: [],
    ...values
  };
}
