/** The list of runs: narrowed, sorted, and as far back as somebody has looked. */

import type { IDisposable } from '@lumino/disposable';
import { Signal, type ISignal } from '@lumino/signaling';

import type { RunItem } from '../api/types';
import { newestFirst } from '../models/runs';
import { isRunActive, runMoment, runSeconds } from '../models/runwords';
import { RequestError } from '../request';
import type { IAiInfraApi, IRunsModel } from '../tokens';
import type { IView, RunColumn, StateFilter } from './view';

/** Runs that one question asks for; many where all of them have to be known to be sorted. */
const PAGE = 200;
const LARGE_PAGE = 1000;
/** Beyond so many nothing is sorted. */
const MOST_SORTED = 20_000;
/** How long a search waits for the next letter before the server is asked. */
const TYPING_MILLISECONDS = 120;
const ACTIVE = 'due,queued,running';

export type RunFilter = Pick<IView, 'schedule' | 'search' | 'state' | 'runSort' | 'runDown'>;

/** How far back the runs that match are known. */
interface IReach {
  last: RunItem | null;
  more: boolean;
}

/**
 * What the page knows already is shown at once; the server is asked for the rest page by page, and
 * the model says what changes. Sorted by anything but time, all pages are asked for.
 */
export class RunList implements IDisposable {
  constructor(options: { runs: IRunsModel; api: Pick<IAiInfraApi, 'runs'> }) {
    this._runs = options.runs;
    this._api = options.api;
    this._resets = options.runs.resets;
    options.runs.changed.connect(this._onRuns);
  }

  get changed(): ISignal<RunList, void> {
    return this._changed;
  }

  /** Whether an answer is waited for. */
  get isAsking(): boolean {
    return this._asking !== null;
  }

  /** Why the last question has no answer. */
  get problem(): RequestError | null {
    return this._problem;
  }

  /** Whether the server has more that match. */
  get more(): boolean {
    return this._reach?.more ?? true;
  }

  /** Whether anything is known yet. */
  get isKnown(): boolean {
    return this._reach !== null;
  }

  get isDisposed(): boolean {
    return this._isDisposed;
  }

  /** Those that match, in order. */
  get rows(): readonly RunItem[] {
    this._rows ??= this._sorted(this._matching());
    return this._rows;
  }

  /** Show these; the first call begins. */
  narrow(filter: RunFilter): void {
    const before = this._filter;
    this._filter = filter;
    this._rows = null;
    const isOther =
      before === null ||
      before.schedule !== filter.schedule ||
      before.search.trim() !== filter.search.trim() ||
      before.state !== filter.state;
    if (isOther) {
      const typed = before !== null && before.search !== filter.search;
      this._restart(typed ? TYPING_MILLISECONDS : 0);
    } else if (isSortedByTime(filter) === false && this.more) {
      void this._ask();
    }
    this._changed.emit();
  }

  /** The end of what is known is in sight. */
  showMore(): void {
    if (this._reach?.more && this._problem === null) {
      void this._ask();
    }
  }

  /** Ask again, after there was no answer. */
  retry(): void {
    this._problem = null;
    void this._ask();
  }

  dispose(): void {
    if (!this._isDisposed) {
      this._isDisposed = true;
      clearTimeout(this._typing);
      this._abort();
      this._runs.changed.disconnect(this._onRuns);
      Signal.clearData(this);
    }
  }

  private _onRuns = (): void => {
    this._rows = null;
    if (this._resets !== this._runs.resets) {
      this._resets = this._runs.resets;
      this._restart(0);
    }
    this._changed.emit();
  };

  private _restart(delay: number): void {
    if (this._filter === null) {
      return;
    }
    clearTimeout(this._typing);
    this._abort();
    this._problem = null;
    this._reach = null;
    this._found.clear();
    if (delay === 0) {
      void this._ask();
    } else {
      this._typing = setTimeout(() => void this._ask(), delay);
    }
  }

  private _abort(): void {
    this._asking?.abort();
    this._asking = null;
  }

  private async _ask(): Promise<void> {
    if (this._asking !== null || this._filter === null || this._isDisposed) {
      return;
    }
    const asking = (this._asking = new AbortController());
    const filter = this._filter;
    const { schedule, search, state } = filter;
    const text = search.trim();
    const isByTime = isSortedByTime(filter);
    try {
      const { runs, more } = await this._api.runs(
        {
          schedule: schedule ?? undefined,
          state: state === 'active' ? ACTIVE : state || undefined,
          text: text || undefined,
          before: this._reach?.last?.id,
          limit: isByTime ? PAGE : LARGE_PAGE
        },
        asking.signal
      );
      if (asking !== this._asking) {
        return;
      }
      this._asking = null;
      this._problem = null;
      this._reach = { last: runs.at(-1) ?? this._reach?.last ?? null, more };
      runs.forEach(({ id }) => this._found.add(id));
      this._rows = null;
      this._runs.take(runs);
      if (more && !isByTime && this._found.size < MOST_SORTED) {
        void this._ask();
      }
      this._changed.emit();
    } catch (error) {
      if (asking !== this._asking) {
        return; // nobody waits for it any more
      }
      this._asking = null;
      if (!(error instanceof RequestError)) {
        throw error;
      }
      this._problem = error;
      this._changed.emit();
    }
  }

  private _matching(): RunItem[] {
    const { _filter: filter, _reach: reach } = this;
    if (filter === null) {
      return [];
    }
    const words = filter.search.trim().toLowerCase();
    return (this._runs.runs ?? this._known()).filter(
      run =>
        (filter.schedule === null || run.schedule === filter.schedule) &&
        inState(run, filter.state) &&
        (words === '' || this._found.has(run.id) || holds(run, words)) &&
        (!reach?.more ||
          reach.last === null ||
          isRunActive(run) ||
          newestFirst(run, reach.last) <= 0)
    );
  }

  /** What was answered before the stream has told of any. */
  private _known(): RunItem[] {
    return [...this._found].flatMap(id => this._runs.find(id) ?? []).sort(newestFirst);
  }

  private _sorted(runs: RunItem[]): RunItem[] {
    const { runSort, runDown } = this._filter ?? { runSort: 'when', runDown: true };
    if (runSort === 'when') {
      return runDown ? runs : runs.reverse();
    }
    const now = Date.now() / 1000;
    const keyed = runs.map(run => ({ run, key: keyOf(run, runSort, now) }));
    const turn = runDown ? -1 : 1;
    return keyed
      .sort(
        (one, other) => turn * compareKeys(one.key, other.key) || newestFirst(one.run, other.run)
      )
      .map(({ run }) => run);
  }

  private _runs: IRunsModel;
  private _api: Pick<IAiInfraApi, 'runs'>;
  private _filter: RunFilter | null = null;
  private _reach: IReach | null = null;
  /** What the server has answered to this filter. */
  private _found = new Set<string>();
  private _rows: readonly RunItem[] | null = null;
  private _asking: AbortController | null = null;
  private _problem: RequestError | null = null;
  private _resets: number;
  private _typing: ReturnType<typeof setTimeout> | undefined;
  private _isDisposed = false;
  private _changed = new Signal<RunList, void>(this);
}

function isSortedByTime({ runSort, runDown }: RunFilter): boolean {
  return runSort === 'when' && runDown;
}

function inState(run: RunItem, filter: StateFilter): boolean {
  return filter === '' || (filter === 'active' ? isRunActive(run) : run.state === filter);
}

/** As the server searches. */
function holds(run: RunItem, words: string): boolean {
  return [run.id, run.schedule_name, run.reason ?? ''].some(text =>
    text.toLowerCase().includes(words)
  );
}

type Key = string | number;

function keyOf(run: RunItem, column: RunColumn, now: number): Key {
  switch (column) {
    case 'when':
      return runMoment(run);
    case 'took':
      return runSeconds(run, now) ?? -1;
    case 'schedule':
      return run.schedule_name;
    case 'state':
      return run.state;
    case 'trigger':
      return run.trigger;
    case 'reason':
      return run.reason ?? '';
  }
}

export function compareKeys(one: Key, other: Key): number {
  return typeof one === 'number' && typeof other === 'number'
    ? one - other
    : String(one).localeCompare(String(other));
}
