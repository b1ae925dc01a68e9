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
  // Of a node that has never answered nothing is known; what the others have is known all the same.
  const known = nodes.filter(node => node.health !== 'unreachable' || node.cpus !== null);
  const memory = known.length > 0 ? total(known.map(node => node.memory_bytes)) : null;
  return [
    trans._n('1 node', '%1 nodes', nodes.length),
    ...(known.length > 0 ? gpuTexts(known, trans) : []),
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
    [trans.__('Address'), node.address === node.name ? null : node.address || null],
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

/** A state, and the time since when it is so where that is known. */
export function sinceText(state: string, since: number | null, trans: TranslationBundle): string {
  return since === null ? state : trans.__('%1 since %2', state, clockText(since, new Date()));
}

/** How a node is, and since when. */
export function healthText({ health, since }: Node, trans: TranslationBundle): string {
  switch (health) {
    case 'live':
      return trans.__('live');
    case 'degraded':
      return trans.__('answers again');
    case 'unreachable':
      return sinceText(trans.__('unreachable'), since, trans);
    case 'lost':
      return sinceText(trans.__('lost'), since, trans);
  }
}

/** Why a node is not well; nothing where it is, or where nothing is known. */
export function whyText(node: Node, trans: TranslationBundle): string {
  if (node.health === 'degraded') {
    return (
      node.problem ?? trans.__('It did not answer a short time ago, and may be gone again soon.')
    );
  }
  return node.problem ?? '';
}

/** Which nodes of a pool that answers in part do not, by name where they are few. */
export function troubleText({ status, nodes }: PoolItem, trans: TranslationBundle): string {
  if (status !== 'degraded' || nodes === null) {
    return '';
  }
  const silent = nodes.filter(node => node.health === 'unreachable').map(node => node.name);
  if (silent.length === 0) {
    return trans.__('All nodes answer again; a short time ago not all did.');
  }
  const all = nodes.length;
  return silent.length <= MOST_NAMED
    ? trans._n('%2 does not answer.', '%2 do not answer.', silent.length, silent.join(', '))
    : trans.__('%1 of %2 nodes do not answer.', silent.length, all);
}

const MOST_NAMED = 3;

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
