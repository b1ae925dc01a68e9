/** What an hour of a pool costs, as it is being said. */

import type { CatalogItem, PoolItem, PriceItem, PriceRequest } from '../api/types';
import { RequestError } from '../request';
import type { IAiInfraApi } from '../tokens';
import { Draft } from './draft';

export type PriceField = 'how' | 'amount' | 'unit' | 'sku' | 'region' | 'spot' | 'since';
export type PriceFault = 'missing' | 'not an amount' | 'not a time';

/** How long a search of the catalog waits for the next letter. */
const TYPING_MILLISECONDS = 250;
const MOST_OFFERED = 50;

export interface IPriceDraftOptions {
  api: Pick<IAiInfraApi, 'setPoolPrice' | 'prices'>;
  pool: PoolItem;
}

/** The draft of a price: an amount that somebody pays, or what the machines are in a catalog. */
export class PriceDraft extends Draft<PriceField, PriceFault, PriceItem> {
  constructor({ api, pool }: IPriceDraftOptions) {
    super(textsOf(pool));
    this._api = api;
    this.pool = pool;
    this._search();
  }

  readonly pool: PoolItem;

  /** Whether it is looked up in a catalog. */
  get isLookedUp(): boolean {
    return this.texts.how === 'sku';
  }

  /** What the catalog has of what was typed, the cheapest first. */
  get found(): readonly CatalogItem[] {
    return this._found;
  }

  /** What would be taken of the catalog, as far as that is clear. */
  get chosen(): CatalogItem | null {
    const { sku, region, spot } = this.texts;
    const fits = this._found.filter(
      each =>
        each.sku === sku.trim() &&
        each.spot === (spot !== '') &&
        (region.trim() === '' || each.region === region.trim())
    );
    return fits.length === 1 ? fits[0]! : null;
  }

  dispose(): void {
    clearTimeout(this._typing);
    this._isDisposed = true;
  }

  protected override onSet(field: PriceField): void {
    if (field === 'sku' || field === 'how') {
      this._search();
    }
  }

  protected check(): Partial<Record<PriceField, PriceFault>> {
    const { amount, sku, since } = this.texts;
    const found: Partial<Record<PriceField, PriceFault>> = {};
    if (this.isLookedUp) {
      if (sku.trim() === '') {
        found.sku = 'missing';
      }
    } else if (amount.trim() === '') {
      found.amount = 'missing';
    } else if (!/\d/.test(amount)) {
      found.amount = 'not an amount';
    }
    if (since.trim() !== '' && Number.isNaN(new Date(since).getTime())) {
      found.since = 'not a time';
    }
    return found;
  }

  protected send(): Promise<PriceItem> {
    const { amount, unit, sku, region, spot, since } = this.texts;
    const said: PriceRequest = {
      price: null,
      sku: null,
      region: null,
      spot: false,
      currency: null,
      since: since.trim() === '' ? null : new Date(since).getTime() / 1000
    };
    if (this.isLookedUp) {
      Object.assign(said, {
        sku: sku.trim(),
        region: region.trim() || null,
        spot: spot !== ''
      });
    } else {
      // Whoever writes the unit too means that one.
      said.price = amount.includes('/') ? amount.trim() : `${amount.trim()}/${unit}`;
    }
    return this._api.setPoolPrice(this.pool.name, said);
  }

  protected fieldOf({ option }: RequestError): PriceField | null {
    switch (option) {
      case 'price':
        return 'amount';
      case 'currency':
        return this.isLookedUp ? 'sku' : 'amount';
      case 'sku':
      case 'region':
      case 'spot':
      case 'since':
        return option;
      default:
        return null;
    }
  }

  /** Ask the catalog for what is typed; an answer that another question has overtaken is let go. */
  private _search(): void {
    clearTimeout(this._typing);
    if (!this.isLookedUp || this._isDisposed) {
      return;
    }
    this._typing = setTimeout(() => {
      const asked = this.texts.sku.trim();
      this._api.prices({ search: asked, limit: MOST_OFFERED }).then(
        found => {
          if (!this._isDisposed && this.texts.sku.trim() === asked) {
            this._found = found;
            this.tell();
          }
        },
        (error: unknown) => {
          // Without suggestions one can still type; what is wrong is said when it is sent.
          if (!(error instanceof RequestError)) {
            throw error;
          }
        }
      );
    }, TYPING_MILLISECONDS);
  }

  private _api: IPriceDraftOptions['api'];
  private _found: readonly CatalogItem[] = [];
  private _typing: ReturnType<typeof setTimeout> | undefined;
  private _isDisposed = false;
}

/** What it costs now is where one begins. */
function textsOf({ price, nodes }: PoolItem): Record<PriceField, string> {
  const amount = price?.price ? `${price.price.amount} ${price.price.currency.toLowerCase()}` : '';
  const isOwn = price === null || price.confidence === 'owner' || price.sku == null;
  const hasGpus = nodes?.some(({ gpus }) => gpus.length > 0) ?? true;
  const unit = price?.unit ? price.unit.replace(/-hour$/, '-h') : hasGpus ? 'gpu-h' : 'node-h';
  return {
    how: isOwn ? 'price' : 'sku',
    amount,
    unit,
    sku: price?.sku ?? '',
    region: price?.region ?? '',
    spot: price?.spot ? 'yes' : '',
    since: ''
  };
}
