/** What the server says of lines, in small; and a text that is edited as a cell's is. */

import { Signal } from '@lumino/signaling';

import type { JobItem, LineWords, OptionItem, PoolItem } from '../../api/types';
import type { IPoolsModel } from '../../tokens';
import type { ISource } from '../linecheck';

function option(name: string, more: Partial<OptionItem> = {}): OptionItem {
  return { name, metavar: '', help: '', values: '', choices: [], ...more };
}

export const WORDS: LineWords = {
  options: {
    accelerate: [
      option('POOL', { values: 'pools' }),
      option('--procs', { metavar: 'N', help: 'ranks on each node' }),
      option('--port', { metavar: 'PORT' }),
      option('--cpu'),
      option('--dry-run'),
      option('--send', { metavar: 'NAME,…', values: 'variables' }),
      option('--mlflow', { metavar: '[URI]' }),
      option('--mixed-precision', {
        metavar: 'no|fp16|bf16|fp8',
        choices: ['no', 'fp16', 'bf16', 'fp8']
      }),
      option('--use-fsdp'),
      option('--help')
    ],
    pool: [option('--help')],
    jobs: [option('--help')],
    'jobs list': [option('--pool', { metavar: 'TEXT', values: 'pools' }), option('--active')],
    'jobs logs': [option('ID', { values: 'jobs' }), option('--rank', { metavar: 'INTEGER' })],
    'pool attach': [option('NAME'), option('--kind', { metavar: 'TEXT', choices: ['local'] })],
    'pool show': [option('NAME', { values: 'pools' })]
  },
  verbs: { pool: ['attach', 'list', 'show'], jobs: ['list', 'logs'] }
};

export function pool(name: string, more: Partial<PoolItem> = {}): PoolItem {
  return {
    name,
    kind: 'local',
    options: {},
    created_at: 0,
    active_jobs: 0,
    status: 'live',
    problem: '',
    since: null,
    checked_at: null,
    nodes: null,
    leases: null,
    price: null,
    ...more
  };
}

export function job(id: string): JobItem {
  return {
    id,
    name: 'digits',
    kind: 'train',
    pool: 'here',
    state: 'running',
    desired: 'run',
    version: 1,
    nodes: 1,
    world: 2,
    message: '',
    created_at: 0,
    started_at: null,
    ended_at: null
  } as JobItem;
}

/** A text whose changes are told, as a shared model's are. */
export class FakeSource implements ISource {
  constructor(private _text: string) {}

  readonly changed: Signal<this, unknown> = new Signal<this, unknown>(this);

  getSource(): string {
    return this._text;
  }

  setSource(text: string): void {
    this._text = text;
    this.changed.emit(undefined);
  }

  updateSource(start: number, end: number, value = ''): void {
    this.setSource(this._text.slice(0, start) + value + this._text.slice(end));
  }
}

export class FakePools implements IPoolsModel {
  constructor(private _pools: readonly PoolItem[] | null) {}

  readonly changed: Signal<IPoolsModel, void> = new Signal<IPoolsModel, void>(this);
  readonly problem = null;
  watchers = 0;

  get pools(): readonly PoolItem[] | null {
    return this._pools;
  }

  set(pools: readonly PoolItem[]): void {
    this._pools = pools;
    this.changed.emit();
  }

  watch(): { dispose: () => void; isDisposed: boolean } {
    this.watchers += 1;
    return {
      isDisposed: false,
      dispose: () => {
        this.watchers -= 1;
      }
    };
  }
}
