/** The lines of a bill in words, found by their text and sorted. */

import type { Amount, CostLine, CostReport } from '../api/types';
import { costText, shareText, type IWords } from '../cost/text';
import type { Column, Kind } from './view';

const HOUR = 3_600;

export interface ILineText {
  line: CostLine;
  name: string;
  /** What is said beside the name. */
  detail: string;
  hours: string;
  used: string;
  idle: string;
  cost: string;
  idleCost: string;
}

/** `12.3`, `1,204.0`; of a little there are more places. */
export function hoursText(seconds: number): string {
  const hours = seconds / HOUR;
  const places = hours > 0 && hours < 0.1 ? 3 : 1;
  return hours.toLocaleString('en-US', {
    minimumFractionDigits: places,
    maximumFractionDigits: places
  });
}

/** What a line of something is called; what has none of it says so. */
export function lineName(line: CostLine, by: string, trans: IWords): string {
  if (line.unallocated) {
    return line.key === null || by !== 'pool'
      ? trans.__('(nobody)')
      : trans.__('%1, nobody', line.key);
  }
  return line.name || shortName(by, line.key ?? '') || trans.__('(none)');
}

/** A notebook by its name alone: many have the same folder. */
export function shortName(kind: string, value: string): string {
  return kind === 'notebook' ? (value.split('/').at(-1) ?? value) : value;
}

/** What is said beside the name: the id of a job, the folder of a notebook. */
function detailOf({ key, name, unallocated }: CostLine, by: string): string {
  if (key === null || unallocated) {
    return '';
  }
  if (by === 'notebook') {
    return key.slice(0, Math.max(0, key.lastIndexOf('/')));
  }
  return by === 'job' && name ? key : '';
}

export function lineText(line: CostLine, by: string, trans: IWords): ILineText {
  const unknown = trans.__('n/a');
  const isMeasured = line.used_seconds + line.idle_seconds > 0;
  const share = (part: number): string =>
    shareText(isMeasured && line.allocated_seconds ? part / line.allocated_seconds : null, trans);
  const onNodes = line.node_seconds > 0 ? trans.__('%1 node-h', hoursText(line.node_seconds)) : '';
  const onGpus = line.allocated_seconds > 0 ? hoursText(line.allocated_seconds) : '';
  const cost = costText(line.cost);
  return {
    line,
    name: lineName(line, by, trans),
    detail: detailOf(line, by),
    hours: [onGpus, onNodes].filter(Boolean).join(' + ') || hoursText(0),
    used: share(line.used_seconds),
    idle: share(line.idle_seconds),
    cost:
      cost !== null && line.unpriced_seconds > 0
        ? trans.__('%1 + unpriced', cost)
        : (cost ?? unknown),
    idleCost: isMeasured ? (costText(line.idle_cost) ?? unknown) : unknown
  };
}

/** The lines that have a text in their name or id, in the order that was chosen. */
export function shownLines(
  report: CostReport,
  { search, sort, down }: { search: string; sort: Column; down: boolean },
  trans: IWords
): ILineText[] {
  const needle = search.trim().toLowerCase();
  const found = report.lines
    .map(line => lineText(line, report.by, trans))
    .filter(({ name, detail }) => `${name} ${detail}`.toLowerCase().includes(needle));
  const names = new Intl.Collator(undefined, { numeric: true, sensitivity: 'base' });
  const order =
    sort === 'name'
      ? (one: ILineText, other: ILineText): number => names.compare(one.name, other.name)
      : (one: ILineText, other: ILineText): number => compare(one.line, other.line, sort);
  const sign = down ? -1 : 1;
  // What is not known is last in either direction, and below it what nobody had.
  return found.sort(
    (one, other) =>
      Number(one.line.unallocated) - Number(other.line.unallocated) ||
      Number(isUnknown(one.line, sort)) - Number(isUnknown(other.line, sort)) ||
      sign * order(one, other)
  );
}

function compare(one: CostLine, other: CostLine, sort: Column): number {
  if (sort !== 'cost' && sort !== 'idleCost') {
    return numberOf(one, sort) - numberOf(other, sort);
  }
  // Amounts of two currencies cannot be compared: those of one stand together, in its own order.
  const [mine, others] = [amountsOf(one, sort), amountsOf(other, sort)];
  const [first, second] = [mine[0], others[0]];
  if (first !== undefined && second !== undefined && first.currency !== second.currency) {
    return first.currency < second.currency ? 1 : -1;
  }
  return Number(first?.amount ?? 0) - Number(second?.amount ?? 0);
}

function amountsOf(line: CostLine, sort: Column): readonly Amount[] {
  return sort === 'idleCost' ? line.idle_cost : line.cost;
}

function numberOf(line: CostLine, sort: Column): number {
  const whole = line.allocated_seconds || 1;
  switch (sort) {
    case 'used':
      return line.used_seconds / whole;
    case 'idle':
      return line.idle_seconds / whole;
    default:
      return line.allocated_seconds + line.node_seconds;
  }
}

function isUnknown(line: CostLine, sort: Column): boolean {
  switch (sort) {
    case 'used':
    case 'idle':
      return line.used_seconds + line.idle_seconds === 0;
    case 'cost':
    case 'idleCost':
      return amountsOf(line, sort).length === 0;
    default:
      return false;
  }
}

export function kindText(kind: Kind, trans: IWords): string {
  const words: Record<Kind, string> = {
    job: trans.__('job'),
    notebook: trans.__('notebook'),
    user: trans.__('user'),
    pool: trans.__('pool'),
    project: trans.__('project'),
    team: trans.__('team'),
    cost_centre: trans.__('cost centre')
  };
  return words[kind];
}
