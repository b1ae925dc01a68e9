/** What the page of cost shows: of when, of what, and how it is sorted. Values, and no state. */

import type { CostDimension, ICostQuery } from '../tokens';

export const SPANS = ['today', 'week', 'month', 'last-month', 'custom'] as const;
export type Span = (typeof SPANS)[number];

export const KINDS = [
  'job',
  'notebook',
  'user',
  'pool',
  'project',
  'team',
  'cost_centre'
] as const satisfies readonly CostDimension[];
export type Kind = (typeof KINDS)[number];

export const COLUMNS = ['name', 'hours', 'used', 'idle', 'cost', 'idleCost'] as const;
export type Column = (typeof COLUMNS)[number];

/** Of one thing each: `{ pool: 'lab', user: 'ada' }`. */
export type Narrowed = { readonly [kind in Kind]?: string };

export interface IView {
  span: Span;
  /** The first and the last day of a `custom` span: `2026-11-09`. */
  from: string;
  to: string;
  /** What a line of the bill is of. */
  by: Kind;
  narrowed: Narrowed;
  sort: Column;
  down: boolean;
  /** What bars stand for: a currency, `gpu-hours` or `node-hours`; `null` is what there is. */
  measure: string | null;
}

export const FIRST_VIEW: IView = {
  span: 'week',
  from: '',
  to: '',
  by: 'job',
  narrowed: {},
  sort: 'cost',
  down: true,
  measure: null
};

/** The days of the span `week`; a chart has as many at least. */
export const WEEK_DAYS = 7;
const DAY = /^\d{4}-\d{2}-\d{2}$/;
const DAY_MILLISECONDS = 86_400_000;

/** A day, as the reader's calendar has it. */
export function dayOf(at: Date): string {
  const pad = (number: number): string => String(number).padStart(2, '0');
  return `${at.getFullYear()}-${pad(at.getMonth() + 1)}-${pad(at.getDate())}`;
}

/** So many days later; days have no hours, and no clocks that are changed. */
export function daysLater(day: string, count: number): string {
  return new Date(Date.parse(`${day}T00:00:00Z`) + count * DAY_MILLISECONDS)
    .toISOString()
    .slice(0, 10);
}

/** All days from one to another, both of them in it. */
export function daysBetween(first: string, last: string): string[] {
  const found = [];
  for (let day = first; day <= last; day = daysLater(day, 1)) {
    found.push(day);
  }
  return found;
}

/** The days of UTC that a report is about, as far as they have begun. */
export function utcDaysOf(report: { start: number; end: number }, now: number): string[] {
  const day = (seconds: number): string => new Date(seconds * 1000).toISOString().slice(0, 10);
  return daysBetween(day(report.start), day(Math.min(report.end - 1, now)));
}

/** The first and the last day that are shown; of a span that is not chosen whole, the day that is. */
export function daysOf({ span, from, to }: IView, now: Date): [first: string, last: string] {
  const today = dayOf(now);
  switch (span) {
    case 'today':
      return [today, today];
    case 'week':
      return [daysLater(today, 1 - WEEK_DAYS), today];
    case 'month':
      return [`${today.slice(0, 7)}-01`, today];
    case 'last-month': {
      const last = daysLater(`${today.slice(0, 7)}-01`, -1);
      return [`${last.slice(0, 7)}-01`, last];
    }
    case 'custom': {
      const first = isDay(from) ? from : isDay(to) ? to : today;
      const last = isDay(to) ? to : first;
      return first <= last ? [first, last] : [last, first];
    }
  }
}

/** What is asked for the bill: days are those of the server, as those of `%cost` are. */
export function billQuery(view: IView, now: Date): ICostQuery {
  return { period: daysOf(view, now).join('..'), by: view.by, ...view.narrowed };
}

/** What is asked for the bars: a week at least, or a day would stand there by itself. */
export function daysQuery(view: IView, now: Date): ICostQuery {
  const [first, last] = daysOf(view, now);
  const week = daysLater(last, 1 - WEEK_DAYS);
  const period = `${first < week ? first : week}..${last}`;
  return { period, by: 'day', ...view.narrowed };
}

export function isDay(text: string): boolean {
  return DAY.test(text) && !Number.isNaN(Date.parse(`${text}T00:00:00Z`));
}

/** The view after a click on the head of a column: numbers begin with the most, names with A. */
export function sortedBy(view: IView, column: Column): Pick<IView, 'sort' | 'down'> {
  const isSame = view.sort === column;
  return { sort: column, down: isSame ? !view.down : column !== 'name' };
}

/** A view as it was kept by JupyterLab, or as a command was given it. */
export function viewOf(given: Record<string, unknown>, before: IView = FIRST_VIEW): IView {
  const text = (name: string): string | null =>
    typeof given[name] === 'string' && given[name] !== '' ? given[name] : null;
  const found = KINDS.map(kind => [kind, text(kind)] as const);
  const isNarrowed = KINDS.some(kind => kind in given);
  const narrowed = Object.fromEntries(found.filter(([, value]) => value !== null)) as Narrowed;
  const [from, to] = [text('from') ?? before.from, text('to') ?? before.to];
  return {
    span: SPANS.find(each => each === given['span']) ?? before.span,
    from: isDay(from) ? from : before.from,
    to: isDay(to) ? to : before.to,
    by: KINDS.find(each => each === text('by')?.replace('-', '_')) ?? before.by,
    narrowed: isNarrowed ? narrowed : before.narrowed,
    sort: COLUMNS.find(each => each === given['sort']) ?? before.sort,
    down: typeof given['down'] === 'boolean' ? given['down'] : before.down,
    measure: text('measure') ?? before.measure
  };
}

/** What JupyterLab keeps of it. */
export function keptOf({ narrowed, ...view }: IView): { [name: string]: string | boolean | null } {
  return { ...view, ...narrowed };
}
