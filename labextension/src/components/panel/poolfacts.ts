/** What a pool has, in words. */

import type { TranslationBundle } from '@jupyterlab/translation';

import type { Gpu, Node, PoolItem } from '../../api/types';
import { sizeText } from '../../widgets/format';

/** `1 node`, `4 × NVIDIA A100 80GB` or `no GPU`, cores, memory: what is known of it. */
export function poolFacts(pool: PoolItem, trans: TranslationBundle): string[] {
  const { nodes } = pool;
  if (nodes === null) {
    return [];
  }
  const memory = total(nodes.map(node => node.memory_bytes));
  return [
    trans._n('1 node', '%1 nodes', nodes.length),
    ...gpuTexts(nodes, trans),
    ...(memory === null ? [] : [trans.__('%1 memory', sizeText(memory))])
  ];
}

/** The GPUs by name and count; where there are none, that, and the cores. */
export function gpuTexts(nodes: readonly Node[], trans: TranslationBundle): string[] {
  const counts = new Map<string, number>();
  for (const { name } of nodes.flatMap(node => node.gpus)) {
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  if (counts.size > 0) {
    return [...counts].map(([name, count]) => `${count} × ${name}`);
  }
  const cores = total(nodes.map(node => node.cpus));
  return [trans.__('no GPU'), ...(cores === null ? [] : [trans._n('1 core', '%1 cores', cores)])];
}

/** What one node has, as pairs of a word and a value; what is unknown is left out. */
export function nodeFacts(node: Node, trans: TranslationBundle): [string, string][] {
  const facts: [string, string | null][] = [
    [trans.__('Address'), node.address === node.name ? null : node.address],
    [trans.__('Cores'), node.cpus === null ? null : String(node.cpus)],
    [trans.__('Memory'), sizeText(node.memory_bytes)],
    [trans.__('Free disk'), sizeText(node.disk_free_bytes)],
    [trans.__('Most ranks'), node.max_procs === null ? null : String(node.max_procs)],
    [trans.__('Python'), node.python?.version ?? null],
    [trans.__('GPU driver'), node.driver]
  ];
  return facts.filter((fact): fact is [string, string] => Boolean(fact[1]));
}

/** The memory of a GPU in the unit that is in its name: a card of 80 GB has 80 GiB. */
export function gpuMemory(bytes: number | null): string {
  return bytes === null ? '' : `${Math.round(bytes / 2 ** 30)} GiB`;
}

/** Memory in use above which somebody computes on a GPU, also where no process is to be seen. */
const IDLE_BYTES = 2 ** 30;

/** Whether a GPU is free, or who has it; nothing where the pool gives its GPUs out itself. */
export function gpuUse(gpu: Gpu, pool: PoolItem, trans: TranslationBundle): string {
  if (pool.leases === null) {
    return '';
  }
  const jobs = pool.leases.filter(lease => lease.gpu === gpu.uuid).map(lease => lease.job);
  if (jobs.length > 0) {
    return trans.__('leased to %1', jobs.join(', '));
  }
  const [process] = gpu.used_by;
  if (process !== undefined) {
    return process.user === null
      ? trans.__('used by process %1', process.pid)
      : trans.__('used by process %1 of %2', process.pid, process.user);
  }
  return (gpu.memory_used_bytes ?? 0) < IDLE_BYTES
    ? trans.__('free')
    : trans.__('used by a process that cannot be seen');
}

/** When something was, in hours and minutes; with the day where that was not today. */
export function clockText(seconds: number, now: Date): string {
  const at = new Date(seconds * 1000);
  const isToday = at.toDateString() === now.toDateString();
  const time = { hour: '2-digit', minute: '2-digit' } as const;
  return isToday
    ? at.toLocaleTimeString(undefined, time)
    : at.toLocaleString(undefined, { day: 'numeric', month: 'short', ...time });
}

/** The sum; `null` (unknown) as soon as one of them is. */
function total(values: readonly (number | null)[]): number | null {
  return values.reduce((sum, value) => (sum === null || value === null ? null : sum + value), 0);
}
