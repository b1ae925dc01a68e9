/** All GPUs in one line: how many are in use, and what of them somebody should look at. */

import type { IDisposable } from '@lumino/disposable';
import { Signal, type ISignal } from '@lumino/signaling';

import type { LiveGpus } from '../gpus/live';
import type { Board, NodeRow } from '../gpus/wire';
import type { IAiInfraModels, IAiInfraStream, News } from '../tokens';

/** A node that is late once is no news. */
const LATE_SECONDS = 5;
/** What is not told again for so long is looked at by nobody any more. */
const WATCHDOG_MILLISECONDS = 4_000;

/** What is wrong: with a GPU, or with a node on which jobs of ours run. */
export interface IGpuWarning {
  kind: 'lost' | 'hot' | 'idle' | 'away';
  pool: string;
  node: string;
  /** The GPU's number on its node; `null` where that is unknown, or where it is about the node. */
  index: number | null;
  uuid: string | null;
  /** The jobs it is about, by their ids. */
  jobs: readonly string[];
  /** Since when, in seconds since the epoch; `null` where that is unknown. */
  since: number | null;
  /** Why, in the server's words; may be empty. */
  reason: string;
}

/** What there is to say of one pool. */
export interface IPoolUse {
  pool: string;
  /** How many GPUs it has. */
  total: number;
  /** How many are in use; `null` where the pool is not read just now. */
  busy: number | null;
  /** The mean of those that tell theirs. */
  utilization: number | null;
}

export interface IGpuStatusOptions {
  models: Pick<IAiInfraModels, 'jobs' | 'pools' | 'gpus'>;
  stream: IAiInfraStream;
}

/**
 * Follows the overview of those pools on which jobs of ours run, and of those that something else
 * in this page watches anyway. Of any other pool it says what was last known, and reads nothing:
 * that would keep connections to its nodes.
 */
export class GpuStatus implements IDisposable {
  constructor({ models, stream }: IGpuStatusOptions) {
    this._models = models;
    this._stream = stream;
    models.jobs.changed.connect(this._settle);
    models.pools.changed.connect(this._settle);
    stream.stateChanged.connect(this._tell);
    stream.news.connect(this._onNews);
    this._jobs = models.jobs.watch();
    this._settle();
  }

  get changed(): ISignal<GpuStatus, void> {
    return this._changed;
  }

  /** The pools of which it is known that they have GPUs, by name. */
  get pools(): readonly IPoolUse[] {
    const known = this._facts();
    for (const pool of this._lives.keys()) {
      const board = this._board(pool);
      if (board) {
        const { total, busy, utilization } = board.summary();
        known.set(pool, { pool, total, busy, utilization });
      }
    }
    return [...known.values()]
      .filter(({ total }) => total > 0)
      .sort((one, other) => (one.pool < other.pool ? -1 : 1));
  }

  /** Those that are worst first. */
  get warnings(): readonly IGpuWarning[] {
    const found: IGpuWarning[] = [];
    for (const pool of this._lives.keys()) {
      const board = this._board(pool);
      board?.nodes.forEach(node => found.push(...this._warningsOf(pool, node, board.at)));
    }
    return found.sort((one, other) => WORST.indexOf(one.kind) - WORST.indexOf(other.kind));
  }

  get isDisposed(): boolean {
    return this._isDisposed;
  }

  dispose(): void {
    this._isDisposed = true;
    this._jobs.dispose();
    const { jobs, pools } = this._models;
    jobs.changed.disconnect(this._settle);
    pools.changed.disconnect(this._settle);
    this._stream.stateChanged.disconnect(this._tell);
    this._stream.news.disconnect(this._onNews);
    this._lives.forEach(live => live.changed.disconnect(this._onFrame));
    this._lives.clear();
    this._watches.forEach(watch => watch.dispose());
    this._watches.clear();
    clearTimeout(this._watchdog);
    Signal.clearData(this);
  }

  /** Watch the pools on which jobs are, as far as they may have GPUs, and no other. */
  private _settle = (): void => {
    const facts = this._facts();
    const running = this._models.jobs.jobs.filter(({ state }) => ON_NODES.includes(state));
    const active = new Set(running.map(({ pool }) => pool));
    this._without.forEach(pool => {
      if (!active.has(pool)) {
        this._without.delete(pool); // the next job there may find another pool of that name
      }
    });
    const wanted = [...active].filter(
      pool => facts.get(pool)?.total !== 0 && !this._without.has(pool)
    );
    for (const [pool, watch] of this._watches) {
      if (!wanted.includes(pool)) {
        watch.dispose();
        this._watches.delete(pool);
      }
    }
    for (const pool of wanted) {
      if (!this._watches.has(pool)) {
        this._watches.set(pool, this._follow(pool).watch());
      }
    }
    this._tell();
  };

  /** Hear of a pool's overview, whoever watches it. */
  private _follow(pool: string): LiveGpus {
    const live = this._models.gpus.of({ pool, detail: 'nodes' });
    if (this._lives.get(pool) !== live) {
      this._lives.get(pool)?.changed.disconnect(this._onFrame);
      this._lives.set(pool, live);
      live.changed.connect(this._onFrame);
    }
    return live;
  }

  private _onNews = (_sender: IAiInfraStream, news: News): void => {
    if (news.type === 'gpus' && news.scope.detail === 'nodes' && news.scope.pool !== null) {
      this._follow(news.scope.pool);
      this._tell();
    }
  };

  private _onFrame = (live: LiveGpus): void => {
    const pool = live.board?.scope.pool;
    if (pool && live.board && isWithoutGpus(live.board) && this._watches.has(pool)) {
      this._without.add(pool);
      this._settle();
      return;
    }
    if (live.board) {
      this._noteSilence(live.board);
    }
    // Who stops to watch says nothing: the last frame stays, and is no news soon.
    clearTimeout(this._watchdog);
    this._watchdog = setTimeout(this._tell, WATCHDOG_MILLISECONDS);
    this._tell();
  };

  private _noteSilence({ scope, nodes, at }: Board): void {
    for (const { name, state } of nodes) {
      const key = keyOf(scope.pool ?? '', name);
      if (state === 'live' || state === 'waiting') {
        this._silent.delete(key);
      } else if (!this._silent.has(key)) {
        this._silent.set(key, at);
      }
    }
  }

  /** What is told of a pool just now. */
  private _board(pool: string): Board | null {
    const live = this._lives.get(pool);
    return live && live.state !== 'idle' && live.state !== 'lost' ? live.board : null;
  }

  private _warningsOf(pool: string, row: NodeRow, at: number): IGpuWarning[] {
    const { name: node, state, jobs, problem, alerts } = row;
    const found: IGpuWarning[] = alerts
      .filter(({ job }) => job === null || this._isOurs(job))
      .map(({ kind, index, uuid, since, job }) => ({
        ...{ kind, pool, node, index, uuid, since, reason: '' },
        jobs: job === null ? [] : [job]
      }));
    const since = this._silent.get(keyOf(pool, node)) ?? null;
    const isLong = since !== null && at - since >= LATE_SECONDS;
    const isAway = state === 'unreachable' || (state === 'stale' && isLong);
    const known = jobs.filter(id => this._isOurs(id));
    if (isAway && known.length > 0) {
      found.push({
        ...{ kind: 'away', pool, node, index: null, uuid: null, jobs: known, since },
        reason: problem
      });
    }
    return found;
  }

  /** Not one of somebody else, nor one that is over: its lease may be let go of a moment later. */
  private _isOurs(id: string): boolean {
    const job = this._models.jobs.find(id);
    return job !== undefined && ON_NODES.includes(job.state);
  }

  /** By pool what is known of it without reading: as when it was last asked. */
  private _facts(): Map<string, IPoolUse> {
    const facts = new Map<string, IPoolUse>();
    for (const { name, nodes } of this._models.pools.pools ?? []) {
      if (
        nodes !== null &&
        nodes.every(node => node.health !== 'unreachable' || node.cpus !== null)
      ) {
        const total = nodes.reduce((sum, { gpus }) => sum + gpus.length, 0);
        facts.set(name, { pool: name, total, busy: null, utilization: null });
      }
    }
    return facts;
  }

  private _tell = (): void => {
    this._changed.emit();
  };

  private _models: Pick<IAiInfraModels, 'jobs' | 'pools' | 'gpus'>;
  private _stream: IAiInfraStream;
  private _jobs: IDisposable;
  private _lives = new Map<string, LiveGpus>();
  private _watches = new Map<string, IDisposable>();
  /** Pools that were found to have none. */
  private _without = new Set<string>();
  private _silent = new Map<string, number>();
  private _watchdog: ReturnType<typeof setTimeout> | undefined;
  private _isDisposed = false;
  private _changed = new Signal<GpuStatus, void>(this);
}

const WORST: readonly IGpuWarning['kind'][] = ['lost', 'away', 'hot', 'idle'];
const ON_NODES: readonly string[] = ['starting', 'running'];

/** All that read are added up: of the others only the number is known. */
export function allInUse(
  pools: readonly IPoolUse[]
): { total: number; busy: number | null; utilization: number | null } | null {
  if (pools.length === 0) {
    return null;
  }
  const read = pools.filter(({ busy }) => busy !== null);
  const counted = read.length > 0 ? read : pools;
  const total = counted.reduce((sum, each) => sum + each.total, 0);
  if (read.length === 0) {
    return { total, busy: null, utilization: null };
  }
  const telling = read.filter(({ utilization }) => utilization !== null);
  const weight = telling.reduce((sum, each) => sum + each.total, 0);
  const sum = telling.reduce((all, each) => all + (each.utilization ?? 0) * each.total, 0);
  return {
    total,
    busy: read.reduce((all, each) => all + (each.busy ?? 0), 0),
    utilization: weight > 0 ? sum / weight : null
  };
}

/** Every node has told, and none has a GPU. */
function isWithoutGpus({ nodes }: Board): boolean {
  return nodes.length > 0 && nodes.every(({ gpus }) => gpus === 0);
}

function keyOf(pool: string, node: string): string {
  return JSON.stringify([pool, node]);
}
