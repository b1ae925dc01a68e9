/** What is drawn: curves over the same buckets, made of live seconds or of what was recorded. */

import type { GpuCurve, GpuRange } from '../api/types';
import type { Trail } from '../gpus/history';
import type { Board, GpuRow } from '../gpus/wire';
import { SERIES, type Kind, type SeriesName } from './view';

/** More lines than this cannot be told from each other. */
export const MOST_LINES = 8;
/** Fewer GPUs than this need no rows of their own below the charts. */
export const FEWEST_ROWS = 5;

/** One line, by buckets; a gap is NaN. */
export interface ILine {
  key: string;
  label: string;
  mean: Float32Array;
  least: Float32Array;
  most: Float32Array;
}

/** A row of the map of many GPUs. `group` is what it stands below: its node. */
export interface IHeatRow {
  key: string;
  label: string;
  group: string;
  values: Float32Array;
}

export interface ICurves {
  /** When the first bucket begins, and how long each is, in seconds. */
  t0: number;
  width: number;
  count: number;
  lines: Record<SeriesName, ILine[]>;
  rows: IHeatRow[];
  /** How many lines there are beyond those that are drawn. */
  hidden: number;
}

/** The GPUs of a pool as they are watched; of a job, those that it has. */
export interface ISource {
  pool: string;
  board: Board | null;
  trail: Trail;
}

export interface IMember {
  trail: Trail;
  node: string;
  uuid: string;
}

export interface IGroup {
  key: string;
  label: string;
  /** What it stands below in the map. */
  below: string;
  members: IMember[];
}

export interface INames {
  /** Whose a job is. */
  userOf(job: string): string | null;
  nameOf(job: string): string;
  rank(rank: number): string;
}

export function emptyLines(): Record<SeriesName, ILine[]> {
  return { utilization: [], memory: [], power: [], temperature: [] };
}

/** GPUs in groups, in the order of the boards. A slice is a part of its GPU, unless each stands alone. */
export function groupsOf(sources: readonly ISource[], kind: Kind, names: INames): IGroup[] {
  const groups = new Map<string, IGroup>();
  const isAlone = isOneNode(sources);
  for (const { pool, board, trail } of sources) {
    board?.gpus.forEach(gpu => {
      if (gpu.parent !== null && kind !== 'gpu') {
        return;
      }
      const node = board.nodes[gpu.node]?.name ?? '?';
      const member = { trail, node, uuid: gpu.uuid };
      const place = { pool, node, isAlone };
      for (const { key, label } of whose(gpu, kind, place, names, board.scope.job)) {
        const below = sources.length > 1 ? `${pool}/${node}` : node;
        const group = groups.get(key) ?? { key, label, below, members: [] };
        group.members.push(member);
        groups.set(key, group);
      }
    });
  }
  const made = [...groups.values()];
  return kind === 'rank' ? made.sort((a, b) => Number(a.key) - Number(b.key)) : made;
}

function whose(
  gpu: GpuRow,
  kind: Kind,
  { pool, node, isAlone }: { pool: string; node: string; isAlone: boolean },
  names: INames,
  scope: string | null
): { key: string; label: string }[] {
  switch (kind) {
    case 'pool':
      return [{ key: pool, label: pool }];
    case 'node':
      return [{ key: `${pool}\n${node}`, label: node }];
    case 'gpu':
      return [{ key: `${pool}\n${node}\n${gpu.uuid}`, label: gpuLabel(isAlone ? '' : node, gpu) }];
    case 'job':
      return gpu.holders.map(({ job }) => ({ key: job, label: names.nameOf(job) }));
    case 'rank': {
      const ranks = gpu.holders.find(({ job }) => job === scope)?.ranks ?? [];
      return ranks.map(rank => ({ key: String(rank), label: names.rank(rank) }));
    }
    case 'user': {
      const users = new Set<string>();
      gpu.holders.forEach(({ job }) => users.add(names.userOf(job) ?? ''));
      gpu.processes?.forEach(({ user }) => users.add(user ?? ''));
      return [...users].filter(Boolean).map(user => ({ key: user, label: user }));
    }
  }
}

/** `n3:0`; `GPU 0` where there is only one node. */
export function gpuLabel(node: string, gpu: Pick<GpuRow, 'index' | 'parent'>): string {
  const index = gpu.index ?? '?';
  const name = gpu.parent === null ? String(index) : `slice ${index}`;
  return node === '' ? `${gpu.parent === null ? 'GPU ' : ''}${name}` : `${node}:${name}`;
}

export function isOneNode(sources: readonly ISource[]): boolean {
  return sources.reduce((sum, { board }) => sum + (board?.nodes.length ?? 0), 0) === 1;
}

export interface ILiveOptions {
  kind: Kind;
  heat: SeriesName;
  /** The first second, and how many. */
  from: number;
  count: number;
  names: INames;
}

/** What has an order is drawn as a map where it is many; users and jobs are the largest first. */
export function isOrdered(kind: Kind): boolean {
  return kind !== 'user' && kind !== 'job';
}

/** Only the lines that work most, where there are too many to be told from each other. */
export function fewest(lines: Record<SeriesName, ILine[]>): Pick<ICurves, 'lines' | 'hidden'> {
  const hidden = lines.utilization.length - MOST_LINES;
  if (hidden <= 0) {
    return { lines, hidden: 0 };
  }
  const weight = (line: ILine): number =>
    line.mean.reduce((sum, value) => sum + (Number.isNaN(value) ? 0 : value), 0);
  const kept = new Set(
    [...lines.utilization]
      .sort((a, b) => weight(b) - weight(a))
      .slice(0, MOST_LINES)
      .map(({ key }) => key)
  );
  const made = emptyLines();
  for (const series of SERIES) {
    made[series] = lines[series].filter(({ key }) => kept.has(key));
  }
  return { lines: made, hidden };
}

/** What one answer, or two (lines, and rows of the map), come to. */
export function recordedCurves(
  drawn: GpuRange,
  mapped: GpuRange | null,
  options: { names: INames; heat: SeriesName; labels: ReadonlyMap<string, string> }
): ICurves {
  const { names, heat, labels } = options;
  const lines = emptyLines();
  for (const curve of drawn.curves) {
    const series = SERIES.find(name => name === curve.series);
    if (series) {
      lines[series].push({
        ...namedBy(curve, names, labels),
        mean: numbers(curve.mean),
        least: numbers(curve.least),
        most: numbers(curve.most)
      });
    }
  }
  const several = new Set((mapped?.curves ?? []).map(({ pool }) => pool)).size > 1;
  const rows = (mapped?.curves ?? [])
    .filter(({ series }) => series === heat)
    .map(curve => ({
      ...namedBy(curve, names, labels),
      group: several ? `${curve.pool}/${curve.node ?? ''}` : (curve.node ?? curve.pool),
      values: numbers(curve.mean)
    }));
  const same = mapped === null || mapped.count === drawn.count;
  return {
    t0: drawn.start,
    width: drawn.width_seconds,
    count: drawn.count,
    rows: same && rows.length >= FEWEST_ROWS ? ordered(rows) : [],
    ...fewest(lines)
  };
}

/** As people count: the node 10 comes after the node 9. */
function ordered(rows: IHeatRow[]): IHeatRow[] {
  const { compare } = new Intl.Collator(undefined, { numeric: true });
  return rows.sort((a, b) => compare(a.group, b.group) || compare(a.label, b.label));
}

function namedBy(
  curve: GpuCurve,
  names: INames,
  labels: ReadonlyMap<string, string>
): { key: string; label: string } {
  const { pool, node, gpu, user, job, rank } = curve;
  if (rank != null) {
    // One rank may have several.
    return { key: `${rank}\n${node ?? ''}\n${gpu ?? ''}`, label: names.rank(rank) };
  }
  if (user != null) {
    return { key: user, label: user };
  }
  if (gpu !== null) {
    const key = `${pool}\n${node ?? ''}\n${gpu}`;
    return { key, label: labels.get(key) ?? `${node ?? ''}:${gpu.slice(0, 12)}` };
  }
  if (job != null) {
    return { key: job, label: names.nameOf(job) };
  }
  return node === null ? { key: pool, label: pool } : { key: `${pool}\n${node}`, label: node };
}

function numbers(values: readonly (number | null)[]): Float32Array {
  return Float32Array.from(values, value => value ?? NaN);
}

/** The bucket of a time, or -1 outside. */
export function bucketAt({ t0, width, count }: ICurves, time: number): number {
  const place = Math.floor((time - t0) / width);
  return place >= 0 && place < count ? place : -1;
}

/** The newest bucket of which anything is known of a line, among the last few; else the last. */
export function newestOf(line: ILine, back = 3): number {
  const last = line.mean.length - 1;
  for (let place = last; place > last - back && place >= 0; place -= 1) {
    if (!Number.isNaN(line.mean[place])) {
      return place;
    }
  }
  return last;
}

export function isEmpty(curves: ICurves): boolean {
  const known = (values: Float32Array): boolean => values.some(value => !Number.isNaN(value));
  return (
    !SERIES.some(series => curves.lines[series].some(({ mean }) => known(mean))) &&
    !curves.rows.some(({ values }) => known(values))
  );
}
