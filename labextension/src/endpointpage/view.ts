/** What the page of endpoints shows, and how it is sorted. Values, and no state. */

export const TABS = [
  'overview',
  'try',
  'samples',
  'replicas',
  'keys',
  'settings',
  'history'
] as const;
export type Tab = (typeof TABS)[number];

export const COLUMNS = ['name', 'state', 'traffic', 'rate', 'p95', 'errors', 'replicas'] as const;
export type Column = (typeof COLUMNS)[number];

export const LANGUAGES = ['curl', 'python', 'javascript'] as const;
export type Language = (typeof LANGUAGES)[number];

/** How an endpoint is called: at its own address, or through this Jupyter server. */
export const WAYS = ['direct', 'jupyter'] as const;
export type Way = (typeof WAYS)[number];

/** More of a request than this is not kept over a reload. */
const MOST_KEPT = 10_000;

export interface IView {
  /** The endpoint that is shown, by its id or name; `null`: the list of all. */
  endpoint: string | null;
  tab: Tab;
  find: string;
  sort: Column;
  down: boolean;
  language: Language;
  way: Way;
  /** The request that is tried, as JSON; empty: the example of what is served. */
  body: string;
}

export const FIRST_VIEW: IView = {
  endpoint: null,
  tab: 'overview',
  find: '',
  sort: 'name',
  down: false,
  language: 'curl',
  way: 'direct',
  body: ''
};

/** A view as it was kept by JupyterLab, or as a command was given it. */
export function viewOf(given: Record<string, unknown>, before: IView = FIRST_VIEW): IView {
  const text = (name: string, other: string): string =>
    typeof given[name] === 'string' ? given[name] : other;
  const one = <T extends string>(name: string, known: readonly T[], other: T): T =>
    known.find(each => each === given[name]) ?? other;
  const endpoint = 'endpoint' in given ? text('endpoint', '') || null : before.endpoint;
  const isOther = endpoint !== before.endpoint;
  return {
    endpoint,
    tab: one('tab', TABS, isOther ? FIRST_VIEW.tab : before.tab),
    find: text('find', before.find),
    sort: one('sort', COLUMNS, before.sort),
    down: typeof given['down'] === 'boolean' ? given['down'] : before.down,
    language: one('language', LANGUAGES, before.language),
    way: one('way', WAYS, before.way),
    body: text('body', isOther ? '' : before.body)
  };
}

/** What JupyterLab keeps of it. */
export function keptOf(view: IView): { [name: string]: string | boolean } {
  const body = view.body.length > MOST_KEPT ? '' : view.body;
  return { ...view, endpoint: view.endpoint ?? '', body };
}

/** The order after a click on the head of a column: names begin with A, numbers with the largest. */
export function sortedBy(view: IView, column: Column): Partial<IView> {
  const isFirstDown = column === 'rate' || column === 'p95' || column === 'errors';
  return { sort: column, down: view.sort === column ? !view.down : isFirstDown };
}
