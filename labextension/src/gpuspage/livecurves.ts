/** Curves of the last seconds, made anew each second: of what was there, only what is new is read. */

import {
  emptyLines,
  FEWEST_ROWS,
  fewest,
  groupsOf,
  isOrdered,
  MOST_LINES,
  type ICurves,
  type IGroup,
  type IHeatRow,
  type ILine,
  type ILiveOptions,
  type ISource
} from './curves';
import { SERIES, type SeriesName } from './view';

/** So many seconds may still change: a tick that came late is put into the second before, too. */
const OPEN_SECONDS = 4;

/** What was made last, and of what. */
interface IMade {
  key: string;
  sources: readonly unknown[];
  from: number;
  count: number;
  lines: Map<string, ILine>;
  rows: Map<string, IHeatRow>;
}

interface IGroups {
  drawn: IGroup[];
  each: IGroup[];
}

export class LiveCurves {
  make(sources: readonly ISource[], options: ILiveOptions): ICurves {
    const { from, count, heat } = options;
    const { drawn, each } = this._groups(sources, options);
    const old = this._usable(sources, options);
    // The places that are as they were, moved by as many seconds as have gone by.
    const moved = old === null ? 0 : from - old.from;
    const kept = old === null ? 0 : Math.max(0, count - moved - OPEN_SECONDS);
    const lines = emptyLines();
    const madeLines = new Map<string, ILine>();
    for (const series of SERIES) {
      lines[series] = drawn.map(group => {
        const name = `${series}\n${group.key}`;
        const line = lineOf(group, series, { from, count, kept, moved, old: old?.lines.get(name) });
        madeLines.set(name, line);
        return line;
      });
    }
    const madeRows = new Map<string, IHeatRow>();
    const rows = each.map(group => {
      const row = rowOf(group, heat, { from, count, kept, moved, old: old?.rows.get(group.key) });
      madeRows.set(group.key, row);
      return row;
    });
    this._made = {
      key: keyOf(sources, options),
      sources: sources.map(({ trail }) => trail),
      from,
      count,
      lines: madeLines,
      rows: madeRows
    };
    return { t0: from, width: 1, count, rows, ...fewest(lines) };
  }

  private _groups(sources: readonly ISource[], { kind, names }: ILiveOptions): IGroups {
    const boards = sources.map(({ board }) => board);
    // Whose GPUs are may change with any row; where they are does not.
    const ofOwners = kind === 'user' || kind === 'job' || kind === 'rank';
    const key = ofOwners ? `${kind} ${boards.map(board => board?.revision ?? '').join()}` : kind;
    const same = boards.every((board, place) => board === this._boards[place]);
    if (this._known !== null && same && key === this._groupsKey) {
      return this._known;
    }
    const wanted = groupsOf(sources, kind, names);
    const isMany = wanted.length > MOST_LINES && isOrdered(kind);
    const each = isMany ? wanted : groupsOf(sources, 'gpu', names);
    const found = {
      drawn: isMany ? groupsOf(sources, 'pool', names) : wanted,
      each: each.length < FEWEST_ROWS ? [] : each
    };
    if (this._known === null || !alike(found.drawn, this._known.drawn)) {
      // Of other GPUs, what was there is of no use.
      this._made = null;
    }
    this._known = found;
    [this._boards, this._groupsKey] = [boards, key];
    return found;
  }

  /** What was made last, where the seconds of it are still as they were. */
  private _usable(sources: readonly ISource[], options: ILiveOptions): IMade | null {
    const made = this._made;
    const { from, count } = options;
    const isUsable =
      made !== null &&
      made.key === keyOf(sources, options) &&
      made.count === count &&
      from >= made.from &&
      from < made.from + count &&
      sources.every(({ trail }, place) => trail === made.sources[place]);
    return isUsable ? made : null;
  }

  private _made: IMade | null = null;
  private _known: IGroups | null = null;
  private _groupsKey = '';
  private _boards: ISource['board'][] = [];
}

function alike(some: readonly IGroup[], others: readonly IGroup[]): boolean {
  const text = (groups: readonly IGroup[]): string =>
    JSON.stringify(
      groups.map(({ key, members }) => [key, members.map(({ node, uuid }) => node + uuid)])
    );
  return text(some) === text(others);
}

function keyOf(sources: readonly ISource[], { kind, heat }: ILiveOptions): string {
  return JSON.stringify([kind, heat, sources.map(({ trail }) => trail.pastRevision)]);
}

interface IPart<T> {
  from: number;
  count: number;
  /** So many places from the first on are those of `old`, `moved` places on. */
  kept: number;
  moved: number;
  old: T | undefined;
}

/** An array of which the first places are taken over. */
function taken(
  old: Float32Array | undefined,
  { count, kept, moved }: IPart<unknown>
): Float32Array {
  const made = new Float32Array(count);
  if (old !== undefined) {
    made.set(old.subarray(moved, moved + kept));
  }
  return made;
}

function lineOf({ key, label, members }: IGroup, series: SeriesName, part: IPart<ILine>): ILine {
  const { from, count, old } = part;
  const kept = old === undefined ? 0 : part.kept;
  const length = count - kept;
  const mean = taken(old?.mean, part);
  const least = taken(old?.least, part);
  const most = taken(old?.most, part);
  const values = new Float32Array(length);
  const known = new Uint16Array(length);
  mean.fill(0, kept);
  least.fill(Infinity, kept);
  most.fill(-Infinity, kept);
  for (const { trail, node, uuid } of members) {
    if (!trail.copy(node, uuid, series, from + kept, values)) {
      continue;
    }
    for (let number = 0, place = kept; number < length; number += 1, place += 1) {
      const value = values[number] as number;
      // Only NaN is not what it is.
      if (value === value) {
        mean[place] = (mean[place] as number) + value;
        known[number] = (known[number] as number) + 1;
        if (value < (least[place] as number)) {
          least[place] = value;
        }
        if (value > (most[place] as number)) {
          most[place] = value;
        }
      }
    }
  }
  for (let number = 0, place = kept; number < length; number += 1, place += 1) {
    const parts = known[number] as number;
    if (parts === 0) {
      mean[place] = least[place] = most[place] = NaN;
    } else {
      mean[place] = (mean[place] as number) / parts;
    }
  }
  return { key, label, mean, least, most };
}

function rowOf(group: IGroup, series: SeriesName, part: IPart<IHeatRow>): IHeatRow {
  const { key, label, below, members } = group;
  const [only] = members;
  const { from, old } = part;
  if (members.length === 1 && only) {
    const kept = old === undefined ? 0 : part.kept;
    const values = taken(old?.values, part);
    only.trail.copy(only.node, only.uuid, series, from + kept, values.subarray(kept));
    return { key, label, group: below, values };
  }
  // A mean of several is a line of which only the mean is looked at; there are few of them.
  const { mean } = lineOf(group, series, { ...part, kept: 0, old: undefined });
  return { key, label, group: below, values: mean };
}
