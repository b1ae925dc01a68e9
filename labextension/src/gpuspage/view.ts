/** What the page of GPUs shows: of which, by what, and of when. Values, and no state. */

export const SERIES = ['utilization', 'memory', 'power', 'temperature'] as const;
export type SeriesName = (typeof SERIES)[number];

export const KINDS = ['pool', 'node', 'gpu', 'user', 'job', 'rank'] as const;
export type Kind = (typeof KINDS)[number];

/** The seconds of the live view, which is read by the second. */
export const LIVE_SECONDS = 300;
/** All of a job, from its beginning to its end. */
export const WHOLE_JOB = 0;
export const SPANS = [LIVE_SECONDS, 3_600, 21_600, 86_400, 604_800, 2_592_000] as const;

const SHORTEST_SECONDS = 10;
const LONGEST_SECONDS = 400 * 86_400;

/** Seconds since the epoch. */
export interface IWindow {
  start: number;
  end: number;
}

export interface IView {
  /** `null` is all pools. A job has its own nodes, and counts alone. */
  pool: string | null;
  node: string | null;
  job: string | null;
  /** What a curve is of; `null` is what suits. */
  by: Kind | null;
  /** One of `SPANS`, up to now; or `WHOLE_JOB`. */
  span: number;
  /** What was zoomed into, in place of the span. */
  window: IWindow | null;
  /** What the rows of many GPUs show. */
  heat: SeriesName;
}

export const FIRST_VIEW: IView = {
  pool: null,
  node: null,
  job: null,
  by: null,
  span: LIVE_SECONDS,
  window: null,
  heat: 'utilization'
};

/** Whether it is the live view, which moves by the second. */
export function isLive(view: IView): boolean {
  return view.window === null && view.span === LIVE_SECONDS;
}

/** What a curve is of, in a view that leaves it open. */
export function kindOf({ by, job, pool }: IView): Kind {
  if (by !== null && kindsOf({ job }).includes(by)) {
    return by;
  }
  return job !== null ? 'rank' : pool !== null ? 'gpu' : 'pool';
}

export function kindsOf({ job }: Pick<IView, 'job'>): Kind[] {
  return job !== null ? ['rank', 'gpu', 'node'] : ['pool', 'node', 'gpu', 'user', 'job'];
}

/** The window made larger or smaller by a factor; `at` stays where it is on the screen. */
export function zoomed(shown: IWindow, factor: number, at: number, now: number): IWindow {
  const length = Math.min(
    Math.max((shown.end - shown.start) * factor, SHORTEST_SECONDS),
    LONGEST_SECONDS
  );
  const share = (at - shown.start) / Math.max(1, shown.end - shown.start);
  return within({ start: at - share * length, end: at + (1 - share) * length }, now);
}

/** The window moved by a share of its length. */
export function panned(shown: IWindow, share: number, now: number): IWindow {
  const by = (shown.end - shown.start) * share;
  return within({ start: shown.start + by, end: shown.end + by }, now);
}

/** What was dragged over, in either direction; `null` where that is too little to have been meant. */
export function dragged(from: number, to: number, now: number): IWindow | null {
  const [start, end] = [Math.min(from, to), Math.max(from, to)];
  if (end - start < 1) {
    return null;
  }
  const missing = Math.max(0, SHORTEST_SECONDS - (end - start)) / 2;
  return within({ start: start - missing, end: end + missing }, now);
}

/** Whole seconds. The future has nothing to show: it is as long a window that ends now, then. */
function within({ start, end }: IWindow, now: number): IWindow {
  const length = Math.round(end - start);
  const last = Math.min(Math.round(end), Math.ceil(now));
  return { start: Math.max(0, last - length), end: last };
}

/** A view as it was kept by JupyterLab, or as a command was given it. */
export function viewOf(given: Record<string, unknown>, before: IView = FIRST_VIEW): IView {
  const text = (name: 'pool' | 'node' | 'job'): string | null =>
    typeof given[name] === 'string' && given[name] !== '' ? given[name] : null;
  const isScoped = 'pool' in given || 'node' in given || 'job' in given;
  const scope = isScoped ? { pool: text('pool'), node: text('node'), job: text('job') } : {};
  const { by, span, heat } = given;
  return {
    ...before,
    ...scope,
    // A node alone says nothing.
    ...(isScoped && text('pool') === null ? { node: null } : {}),
    by: KINDS.find(kind => kind === by) ?? (isScoped ? null : before.by),
    span: [...SPANS, WHOLE_JOB].find(each => each === span) ?? before.span,
    heat: SERIES.find(name => name === heat) ?? before.heat,
    window: isScoped ? null : before.window
  };
}

/** What JupyterLab keeps of it; what was zoomed into is gone after a reload. */
export function keptOf({ pool, node, job, by, span, heat }: IView): {
  [name: string]: string | number | null;
} {
  return { pool, node, job, by, span, heat };
}
