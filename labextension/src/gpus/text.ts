/** Readings of GPUs in words. What is unknown is `n/a`, and never 0. Pure, as `wire.ts` is. */

import type { Board, GpuRow, Holder, NodeRow, Process } from './wire';

/** The part of a translation bundle that is used here. */
export interface ITrans {
  __(text: string, ...values: (string | number)[]): string;
}

/** English, where nothing translates: in the widget of a cell. */
export const ENGLISH: ITrans = {
  __: (text, ...values) =>
    text.replace(/%(\d)/g, (_, number: string) => String(values[Number(number) - 1] ?? ''))
};

const MIB = 2 ** 20;
const GIB = 2 ** 30;
const TIB = 2 ** 40;
/** Of what is less than so many of a unit, the next smaller is easier to read. */
const FEWEST_TIB = 10;
const VENDORS = /^(NVIDIA|AMD|Tesla|GeForce)\s+/;
const ID_LENGTH = 8;

export function unknownText(trans: ITrans): string {
  return trans.__('n/a');
}

/** `71 %`, `412 W`, `n/a`. */
export function valueText(value: number | null, unit: string, trans: ITrans): string {
  return value === null ? unknownText(trans) : `${Math.round(value)} ${unit}`;
}

/** `412/700 W`; without the limit where that is unknown. */
export function ofText(
  value: number | null,
  limit: number | null,
  unit: string,
  trans: ITrans
): string {
  if (value === null) {
    return unknownText(trans);
  }
  return limit === null
    ? `${Math.round(value)} ${unit}`
    : `${Math.round(value)}/${Math.round(limit)} ${unit}`;
}

/** `40.5/80 GiB`; in MiB where all of it is less than one, in TiB where it is very many. */
export function memoryText(used: number | null, total: number | null, trans: ITrans): string {
  if (used === null && total === null) {
    return unknownText(trans);
  }
  const most = Math.max(used ?? 0, total ?? 0);
  const [unit, name] =
    most >= FEWEST_TIB * TIB ? [TIB, 'TiB'] : most >= GIB ? [GIB, 'GiB'] : [MIB, 'MiB'];
  const number = (bytes: number): string => {
    const value = bytes / unit;
    return value < 100 ? String(Math.round(value * 10) / 10) : value.toFixed(0);
  };
  const shown = used === null ? unknownText(trans) : number(used);
  return total === null ? `${shown} ${name}` : `${shown}/${number(total)} ${name}`;
}

/** `1.2 GB/s`: what goes over a bus or a network is counted in thousands. */
export function rateText(bytesPerSecond: number | null, trans: ITrans): string {
  if (bytesPerSecond === null) {
    return unknownText(trans);
  }
  const [unit, name] = bytesPerSecond >= 1e9 ? [1e9, 'GB/s'] : [1e6, 'MB/s'];
  const value = bytesPerSecond / unit;
  return `${value < 10 ? value.toFixed(1) : value.toFixed(0)} ${name}`;
}

/** `H100 80GB HBM3`: whose it is, everybody here knows. */
export function modelText(gpu: GpuRow): string {
  return gpu.name.replace(VENDORS, '');
}

/** `3`, or `slice 1`. */
export function indexText(gpu: GpuRow, trans: ITrans): string {
  const index = gpu.index === null ? '?' : String(gpu.index);
  return gpu.parent === null ? index : trans.__('slice %1', index);
}

/** `node3:0`. */
export function placeText(board: Board, gpu: GpuRow, trans: ITrans): string {
  const node = board.nodes[gpu.node]?.name ?? '?';
  return gpu.parent === null
    ? `${node}:${indexText(gpu, trans)}`
    : `${node}, ${indexText(gpu, trans)}`;
}

/** `rank 3`, `ranks 0, 1`; empty without any. */
export function ranksText(ranks: readonly number[], trans: ITrans): string {
  if (ranks.length === 0) {
    return '';
  }
  const [first] = ranks;
  return ranks.length === 1
    ? trans.__('rank %1', first ?? 0)
    : trans.__('ranks %1', ranks.join(', '));
}

export interface IJobNames {
  /** How a job is called; `undefined` where that is not known. */
  (id: string): string | undefined;
}

/** `train (rank 0)`, `1nga2d9c (leased)`. */
export function holderText(holder: Holder, trans: ITrans, names?: IJobNames): string {
  const name = names?.(holder.job) ?? holder.job.slice(0, ID_LENGTH);
  const ranks = ranksText(holder.ranks, trans);
  return ranks === '' ? trans.__('%1 (leased)', name) : `${name} (${ranks})`;
}

/** `ada: python (4711)`. */
export function processText({ user, command, pid }: Process, trans: ITrans): string {
  return `${user ?? unknownText(trans)}: ${command ?? '?'} (${pid})`;
}

/** What somebody should look at, each with words of its own; empty where all is well. */
export function troubleOf(gpu: GpuRow, trans: ITrans): string[] {
  if (gpu.lost) {
    return [trans.__('lost')];
  }
  const said = [];
  if (gpu.throttle?.length) {
    said.push(trans.__('slowed down: %1', gpu.throttle.join(', ').replaceAll('_', ' ')));
  }
  if (gpu.ecc_errors) {
    said.push(trans.__('ECC errors: %1', gpu.ecc_errors));
  }
  if (gpu.xid) {
    said.push(trans.__('XID %1', gpu.xid));
  }
  return said;
}

/** How a node is, in one word; empty where all is well. */
export function stateText({ state }: NodeRow, trans: ITrans): string {
  switch (state) {
    case 'live':
      return '';
    case 'stale':
      return trans.__('stale');
    case 'waiting':
      return trans.__('waiting');
    default:
      return trans.__('unreachable');
  }
}
