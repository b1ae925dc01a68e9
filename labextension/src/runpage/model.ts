/** What the page of a run knows: the run, its notebook, and the job of its present attempt. */

import type { IDisposable } from '@lumino/disposable';
import { Signal, type ISignal } from '@lumino/signaling';

import type { RunItem } from '../api/types';
import { JobPageModel } from '../jobpage/pagemodel';
import { RunNotebookModel } from '../models/runnotebook';
import { RequestError } from '../request';
import type { IAiInfraApi, IAiInfraStream, IProblem, IRunsModel } from '../tokens';

const NOT_FOUND = 404;

/** Of runs that are compared with one, so many before it are offered. */
const MOST_BEFORE = 20;
/** What has an output to compare with. */
const ENDED = 'succeeded,failed,cancelled,lost';

export interface IRunPageModelOptions {
  api: IAiInfraApi;
  stream: IAiInfraStream;
  runs: IRunsModel;
  id: string;
}

/** Asks for the run once as it is made; watches its notebook while it is seen. */
export class RunPageModel implements IDisposable {
  constructor(options: IRunPageModelOptions) {
    this.api = options.api;
    this.id = options.id;
    this._stream = options.stream;
    this._runs = options.runs;
    this.notebook = new RunNotebookModel({ id: options.id, stream: options.stream });
    this.notebook.changed.connect(this._onNotebook);
    this._runs.changed.connect(this._onRuns);
    this._stream.stateChanged.connect(this._onState);
    void this._load();
  }

  readonly api: IAiInfraApi;
  readonly id: string;
  readonly notebook: RunNotebookModel;

  /** The run as last told; `null` before that. */
  get run(): RunItem | null {
    return this._run;
  }

  /** The job of its present attempt; `null` where none has been launched. */
  get job(): JobPageModel | null {
    return this._job;
  }

  /** It is in the record no longer. */
  get gone(): boolean {
    return this._gone;
  }

  /** The server does not answer: all of this is what was known. */
  get away(): boolean {
    return this._stream.state === 'lost' || this._unreachable;
  }

  /** Why the run is not known, or its notebook not told of. */
  get problem(): IProblem | null {
    return this._problem ?? this.notebook.problem;
  }

  get changed(): ISignal<RunPageModel, void> {
    return this._changed;
  }

  get isDisposed(): boolean {
    return this._isDisposed;
  }

  /** Whether somebody looks: the notebook, which may be large, is watched only then. */
  setSeen(seen: boolean): void {
    if (seen && this._watching === null && !this._isDisposed) {
      this._watching = this.notebook.watch();
    } else if (!seen) {
      this._watching?.dispose();
      this._watching = null;
    }
    this._job?.setSeen(seen);
    this._seen = seen;
  }

  /** The runs of the same schedule before this one that have run, the newest first. */
  async before(): Promise<readonly RunItem[]> {
    if (this._run === null) {
      return [];
    }
    const { schedule, id } = this._run;
    const { runs } = await this.api.runs({
      schedule,
      before: id,
      state: ENDED,
      limit: MOST_BEFORE
    });
    return runs;
  }

  dispose(): void {
    if (!this._isDisposed) {
      this._isDisposed = true;
      this._watching?.dispose();
      this._runs.changed.disconnect(this._onRuns);
      this._stream.stateChanged.disconnect(this._onState);
      this.notebook.dispose();
      this._dropJob();
      Signal.clearData(this);
    }
  }

  private async _load(): Promise<void> {
    try {
      const run = await this.api.run(this.id);
      this._unreachable = false;
      // What the stream said in the meantime is newer.
      if (this._run === null) {
        this._runs.take([run]);
        this._take(run);
      }
    } catch (error) {
      if (!(error instanceof RequestError)) {
        throw error;
      }
      this._gone ||= error.status === NOT_FOUND;
      this._unreachable = error.failure === 'unreachable';
      if (!this._gone && !this._unreachable) {
        this._problem = { message: error.message, hint: error.hint };
      }
    }
    this._tell();
  }

  private _onNotebook = (): void => {
    const run = this.notebook.progress?.run;
    if (run !== undefined) {
      this._problem = null;
      this._unreachable = this._gone = false;
      this._runs.take([run]);
      this._take(run);
    }
    this._tell();
  };

  private _onRuns = (): void => {
    const run = this._runs.find(this.id);
    if (run !== undefined && run !== this._run) {
      this._take(run);
      this._tell();
    }
  };

  private _take(run: RunItem): void {
    this._run = run;
    if (run.job !== (this._job?.id ?? null)) {
      this._dropJob();
      if (run.job !== null && run.started_at !== null) {
        this._job = new JobPageModel({ api: this.api, stream: this._stream, id: run.job });
        this._job.setSeen(this._seen);
        this._job.changed.connect(this._tell);
      }
    }
  }

  private _dropJob(): void {
    this._job?.changed.disconnect(this._tell);
    this._job?.dispose();
    this._job = null;
  }

  private _onState = (): void => {
    if (this._stream.state === 'live') {
      this._unreachable = false;
      if (this._run === null && !this._gone) {
        void this._load();
        return;
      }
    }
    this._tell();
  };

  private _tell = (): void => {
    if (!this._isDisposed) {
      this._changed.emit();
    }
  };

  private _stream: IAiInfraStream;
  private _runs: IRunsModel;
  private _run: RunItem | null = null;
  private _job: JobPageModel | null = null;
  private _watching: IDisposable | null = null;
  private _seen = false;
  private _gone = false;
  private _unreachable = false;
  private _problem: IProblem | null = null;
  private _isDisposed = false;
  private _changed = new Signal<RunPageModel, void>(this);
}
