/** What the server finds wrong with the launch line of one cell, kept up to date while it is typed. */

import { Text } from '@jupyterlab/coreutils';
import type { IDisposable } from '@lumino/disposable';
import { Signal, type ISignal } from '@lumino/signaling';

import type { LineProblem } from '../api/types';
import { RequestError } from '../request';
import type { IAiInfraApi, ILineCheck, ILineProblem, IPoolsModel } from '../tokens';
import { launchLine } from './launchline';

const IDLE_MS = 300;

/** The text of a cell, shared with whoever else edits it. */
export interface ISource {
  getSource(): string;
  readonly changed: ISignal<unknown, unknown>;
}

export interface ILineCheckOptions {
  api: IAiInfraApi;
  source: ISource;
  /** Whose names matter to what is right: the line is checked again when they change. */
  pools?: IPoolsModel | null;
}

/**
 * Asks the server 300 ms after the last change of the line, and only then; a page that is hidden
 * asks once it is seen again. Until an answer comes, the last one stands.
 */
export class LineCheck implements ILineCheck, IDisposable {
  constructor({ api, source, pools = null }: ILineCheckOptions) {
    this._api = api;
    this._source = source;
    this._pools = pools;
    source.changed.connect(this._onSource);
    pools?.changed.connect(this._onPools);
    this._names = poolNames(pools);
    document.addEventListener('visibilitychange', this._onVisible);
    this._onSource();
  }

  get problems(): readonly ILineProblem[] {
    return this._problems;
  }

  readonly changed: Signal<ILineCheck, void> = new Signal<ILineCheck, void>(this);

  get isDisposed(): boolean {
    return this._isDisposed;
  }

  dispose(): void {
    if (this._isDisposed) {
      return;
    }
    this._isDisposed = true;
    window.clearTimeout(this._timer);
    document.removeEventListener('visibilitychange', this._onVisible);
    this._source.changed.disconnect(this._onSource);
    this._pools?.changed.disconnect(this._onPools);
    Signal.clearData(this);
  }

  private readonly _onSource = (): void => {
    const line = launchLine(this._source.getSource())?.text ?? null;
    if (line === this._line) {
      return;
    }
    this._line = line;
    this._schedule();
  };

  private readonly _onPools = (): void => {
    const names = poolNames(this._pools);
    if (names !== this._names) {
      this._names = names;
      this._schedule();
    }
  };

  private _schedule(): void {
    // An answer that is still under way is about another line, or other pools.
    this._asked += 1;
    window.clearTimeout(this._timer);
    this._timer = window.setTimeout(() => void this._check(), IDLE_MS);
  }

  private readonly _onVisible = (): void => {
    if (this._waiting && !document.hidden) {
      void this._check();
    }
  };

  private async _check(): Promise<void> {
    this._waiting = document.hidden;
    const line = this._line;
    if (this._waiting || line === null) {
      return;
    }
    const asked = this._asked;
    try {
      const report = await this._api.checkLine(line);
      if (asked === this._asked && !this._isDisposed) {
        this._take(line, report.problems);
      }
    } catch (error) {
      // A server that is away is told elsewhere; the next change of the line asks again.
      if (!(error instanceof RequestError)) {
        throw error;
      }
    }
  }

  private _take(line: string, problems: readonly LineProblem[]): void {
    const at = launchLine(this._source.getSource());
    if (at === null) {
      return;
    }
    this._problems = problems.map(problem =>
      problem.start === problem.end
        ? { ...problem, start: at.magicStart, end: at.start }
        : {
            ...problem,
            start: at.start + Text.charIndexToJsIndex(problem.start, line),
            end: at.start + Text.charIndexToJsIndex(problem.end, line)
          }
    );
    this.changed.emit();
  }

  private _api: IAiInfraApi;
  private _source: ISource;
  private _pools: IPoolsModel | null;
  private _names: string | null;
  private _line: string | null = null;
  private _asked = 0;
  private _timer = 0;
  private _waiting = false;
  private _problems: readonly ILineProblem[] = [];
  private _isDisposed = false;
}

function poolNames(model: IPoolsModel | null): string | null {
  return model?.pools ? JSON.stringify(model.pools.map(pool => pool.name).sort()) : null;
}
