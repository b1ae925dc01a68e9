/** The attached pools, as the stream tells of them. */

import type { IDisposable } from '@lumino/disposable';
import { Signal, type ISignal } from '@lumino/signaling';

import type { PoolItem } from '../api/types';
import type { IAiInfraStream, IPoolsModel, IProblem, IWatchOptions, News } from '../tokens';

const TOPIC = { topic: 'pools', id: null, rank: null } as const;

/** Keeps the last list of the pools, also while nobody watches or the server is gone. */
export class PoolsModel implements IPoolsModel {
  constructor(options: { stream: IAiInfraStream }) {
    this._stream = options.stream;
    options.stream.news.connect((_sender, news) => this._onNews(news));
  }

  get pools(): readonly PoolItem[] | null {
    return this._pools;
  }

  get problem(): IProblem | null {
    return this._problem;
  }

  get changed(): ISignal<IPoolsModel, void> {
    return this._changed;
  }

  watch(options?: IWatchOptions): IDisposable {
    return this._stream.watch(TOPIC, options);
  }

  private _onNews(news: News): void {
    if (news.type === 'pools') {
      this._pools = news.pools;
      this._problem = null;
      this._changed.emit();
    } else if (news.type === 'problem' && news.topic?.topic === 'pools') {
      this._problem = { message: news.message, hint: news.hint };
      this._changed.emit();
    }
  }

  private _stream: IAiInfraStream;
  private _pools: readonly PoolItem[] | null = null;
  private _problem: IProblem | null = null;
  private _changed = new Signal<IPoolsModel, void>(this);
}
