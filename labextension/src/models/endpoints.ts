/** The endpoints, as the server tells when it is asked. */

import { DisposableDelegate, type IDisposable } from '@lumino/disposable';
import { Signal, type ISignal } from '@lumino/signaling';

import type {
  EndpointItem,
  EndpointKey,
  EndpointKeyRequest,
  EndpointOptions,
  EndpointSecret,
  ScaleRequest
} from '../api/types';
import { RequestError } from '../request';
import type { IAiInfraApi, IEndpointsModel, IProblem, IRemoval } from '../tokens';
import { Rates } from './endpointrates';
import { decideIn } from './removal';

const POLL_MILLISECONDS = 2_000;
/** While there is none, or the server does not answer. */
const CALM_MILLISECONDS = 10_000;

/** Asks the server while somebody watches and the page is visible. */
export class EndpointsModel implements IEndpointsModel {
  constructor(options: { api: IAiInfraApi }) {
    this._api = options.api;
  }

  readonly rates = new Rates();

  get endpoints(): readonly EndpointItem[] | null {
    this._sorted ??=
      this._known &&
      [...this._known.values()].filter(({ id }) => !this._hidden.has(id)).sort(byName);
    return this._sorted;
  }

  get problem(): IProblem | null {
    return this._problem;
  }

  get changed(): ISignal<IEndpointsModel, void> {
    return this._changed;
  }

  watch(): IDisposable {
    this._watches += 1;
    if (this._watches === 1) {
      document.addEventListener('visibilitychange', this._onVisibility);
      this._plan(0);
    }
    return new DisposableDelegate(() => {
      this._watches -= 1;
      if (this._watches === 0) {
        document.removeEventListener('visibilitychange', this._onVisibility);
        clearTimeout(this._timer);
      }
    });
  }

  refresh(): void {
    if (this._isWanted) {
      this._plan(0);
    }
  }

  find(id: string): EndpointItem | undefined {
    return this.endpoints?.find(each => each.id === id || each.name === id);
  }

  async promote(id: string): Promise<EndpointItem> {
    return this._take(await this._api.promoteEndpoint(id));
  }

  async rollback(id: string, to?: number): Promise<EndpointItem> {
    return this._take(await this._api.rollbackEndpoint(id, to === undefined ? {} : { to }));
  }

  async split(id: string, weights: Readonly<Record<string, number>>): Promise<EndpointItem> {
    return this._take(await this._api.splitEndpoint(id, weights));
  }

  async scale(id: string, request: ScaleRequest): Promise<EndpointItem> {
    return this._take(await this._api.scaleEndpoint(id, request));
  }

  async configure(id: string, options: EndpointOptions): Promise<EndpointItem> {
    return this._take(await this._api.configureEndpoint(id, options));
  }

  async addKey(id: string, request: EndpointKeyRequest): Promise<EndpointSecret> {
    return this._after(await this._api.addEndpointKey(id, request));
  }

  async rotateKey(id: string, key: string): Promise<EndpointSecret> {
    return this._after(await this._api.rotateEndpointKey(id, key));
  }

  async revokeKey(id: string, key: string): Promise<EndpointKey> {
    return this._after(await this._api.revokeEndpointKey(id, key));
  }

  remove(id: string, seconds: number): IRemoval {
    this._hidden.add(id);
    this._tell();
    const { undo, decided } = decideIn(seconds);
    return { undo, done: this._removeIf(id, decided) };
  }

  private async _removeIf(id: string, decided: Promise<boolean>): Promise<boolean> {
    try {
      const go = await decided;
      if (go) {
        await this._api.removeEndpoint(id);
        this._known?.delete(id);
        this._after(null);
      }
      return go;
    } finally {
      this._hidden.delete(id);
      this._tell();
    }
  }

  /** Show what a request has answered; the list that is on its way may not know of it yet. */
  private _take(item: EndpointItem): EndpointItem {
    if (this._known !== null) {
      this._known.set(item.id, item);
      this._tell();
    }
    return this._after(item);
  }

  /** Something was changed: what was asked before counts no more. */
  private _after<T>(answer: T): T {
    this._asking = null;
    this.refresh();
    return answer;
  }

  private get _isWanted(): boolean {
    return this._watches > 0 && !document.hidden;
  }

  /** Ask in `delay`, in place of when it would have been. */
  private _plan(delay: number): void {
    clearTimeout(this._timer);
    this._timer = setTimeout(() => void this._ask(), delay);
  }

  private async _ask(): Promise<void> {
    const asking = (this._asking = this._api.endpoints());
    try {
      const found = await asking;
      if (asking === this._asking) {
        this._put(found);
      }
    } catch (error) {
      if (!(error instanceof RequestError)) {
        throw error;
      }
      if (asking === this._asking) {
        this._problem = error;
      }
    }
    if (asking === this._asking) {
      this._tell();
      if (this._isWanted) {
        const isCalm = this._problem !== null || this._known?.size === 0;
        this._plan(isCalm ? CALM_MILLISECONDS : POLL_MILLISECONDS);
      }
    }
  }

  private _put(found: readonly EndpointItem[]): void {
    const now = Date.now() / 1000;
    this._problem = null;
    this._known = new Map(found.map(each => [each.id, each]));
    found.forEach(each => this.rates.push(each, now));
    this.rates.keep(new Set(this._known.keys()));
  }

  private _onVisibility = (): void => {
    if (this._isWanted) {
      this._plan(0);
    } else {
      clearTimeout(this._timer);
    }
  };

  private _tell(): void {
    this._sorted = null;
    this._changed.emit();
  }

  private _api: IAiInfraApi;
  private _known: Map<string, EndpointItem> | null = null;
  private _sorted: readonly EndpointItem[] | null = null;
  /** Those that are about to be removed. */
  private _hidden = new Set<string>();
  private _problem: IProblem | null = null;
  private _watches = 0;
  private _timer: ReturnType<typeof setTimeout> | undefined;
  /** The last question: the answer of an earlier one counts no more. */
  private _asking: Promise<EndpointItem[]> | null = null;
  private _changed = new Signal<IEndpointsModel, void>(this);
}

function byName(one: EndpointItem, other: EndpointItem): number {
  return one.name.localeCompare(other.name) || (one.id < other.id ? -1 : 1);
}
