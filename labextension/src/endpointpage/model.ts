/** What the page of endpoints knows: how it is looked at, and what has happened to one of them. */

import type { IDisposable } from '@lumino/disposable';
import { Signal, type ISignal } from '@lumino/signaling';

import type { EndpointEvent, EndpointItem } from '../api/types';
import { RequestError } from '../request';
import type { IAiInfraApi, IEndpointsModel, IProblem } from '../tokens';
import { FIRST_VIEW, keptOf, viewOf, type IView } from './view';

export interface IModelOptions {
  api: Pick<IAiInfraApi, 'endpoint'>;
  endpoints: IEndpointsModel;
}

/** Watches only while it is `active`. */
export class EndpointPageModel implements IDisposable {
  constructor(options: IModelOptions) {
    this._options = options;
    options.endpoints.changed.connect(this._onChanged);
  }

  get view(): IView {
    return this._view;
  }

  /** What JupyterLab keeps of the view. */
  get kept(): { [name: string]: string | boolean } {
    return keptOf(this._view);
  }

  /** The endpoint that is looked at; `null` where it is none, or is not known. */
  get endpoint(): EndpointItem | null {
    const { endpoint } = this._view;
    return endpoint === null ? null : (this._options.endpoints.find(endpoint) ?? null);
  }

  /** What has happened to it, oldest first; `null` before that is known. */
  get events(): readonly EndpointEvent[] | null {
    return this._events;
  }

  get eventsProblem(): IProblem | null {
    return this._eventsProblem;
  }

  /** The view is another. */
  get viewChanged(): ISignal<EndpointPageModel, void> {
    return this._viewChanged;
  }

  /** Something is to be drawn anew. */
  get changed(): ISignal<EndpointPageModel, void> {
    return this._changed;
  }

  get isDisposed(): boolean {
    return this._isDisposed;
  }

  set active(active: boolean) {
    if (active && this._watching === null && !this._isDisposed) {
      this._watching = this._options.endpoints.watch();
    } else if (!active) {
      this._watching?.dispose();
      this._watching = null;
    }
  }

  /** Look at it otherwise; of another endpoint nothing is kept of what was written for this one. */
  show(change: Partial<IView>): void {
    this._view = viewOf(
      'endpoint' in change ? { ...change, endpoint: change.endpoint ?? '' } : { ...change },
      this._view
    );
    this._viewChanged.emit();
    this._onChanged();
  }

  dispose(): void {
    if (!this._isDisposed) {
      this.active = false;
      this._isDisposed = true;
      this._options.endpoints.changed.disconnect(this._onChanged);
      Signal.clearData(this);
    }
  }

  private _onChanged = (): void => {
    if (!this._isDisposed) {
      this._follow();
      this._changed.emit();
    }
  };

  /** What has happened is asked for where it is looked at, each time that something has. */
  private _follow(): void {
    const { endpoint } = this;
    if (this._view.tab !== 'history' || endpoint === null) {
      return;
    }
    const key = eventsKey(endpoint);
    if (key !== this._eventsKey) {
      if (endpoint.id !== this._eventsOf) {
        [this._eventsOf, this._events] = [endpoint.id, null];
      }
      this._eventsKey = key;
      void this._ask(endpoint.id, key);
    }
  }

  private async _ask(id: string, key: string): Promise<void> {
    try {
      const { events } = await this._options.api.endpoint(id);
      if (key === this._eventsKey) {
        [this._events, this._eventsProblem] = [events, null];
      }
    } catch (error) {
      if (!(error instanceof RequestError)) {
        throw error;
      }
      if (key === this._eventsKey) {
        // Asked again with the next news of any kind.
        [this._eventsKey, this._eventsProblem] = ['', error];
      }
    }
    if (!this._isDisposed) {
      this._changed.emit();
    }
  }

  private _options: IModelOptions;
  private _view: IView = FIRST_VIEW;
  private _watching: IDisposable | null = null;
  private _events: readonly EndpointEvent[] | null = null;
  private _eventsProblem: IProblem | null = null;
  private _eventsOf = '';
  private _eventsKey = '';
  private _isDisposed = false;
  private _viewChanged = new Signal<EndpointPageModel, void>(this);
  private _changed = new Signal<EndpointPageModel, void>(this);
}

/** All that an event changes of an endpoint. */
function eventsKey({
  id,
  rollout,
  traffic,
  scaling,
  options,
  versions,
  keys
}: EndpointItem): string {
  const states = versions.map(({ number, state, wanted }) => [number, state, wanted]);
  const change = rollout && [rollout.id, rollout.begun, rollout.state];
  return JSON.stringify([id, change, traffic, scaling, options, states, keys]);
}
