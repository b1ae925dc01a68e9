import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { eur, price, usd } from '../../__tests__/costsamples';
import { pool } from '../../__tests__/samples';
import type { CatalogItem, PoolItem, PriceItem, PriceRequest } from '../../api/types';
import { RequestError } from '../../request';
import { PriceDraft } from '../pricedraft';

const P5: CatalogItem = {
  sku: 'aws:p5.48xlarge',
  gpu: 'H100',
  gpus: 8,
  region: 'us-east-1',
  spot: false,
  price: usd(6.88),
  unit: 'gpu-hour',
  machine: usd(55.04),
  source: 'a list',
  as_of: '2026-11-09',
  age_days: 16,
  old: false,
  confidence: 'list'
};

const setPoolPrice = vi.fn<(name: string, request: PriceRequest) => Promise<PriceItem>>();
const prices = vi.fn<() => Promise<CatalogItem[]>>();

function draftOf(given: Partial<PoolItem> = {}): PriceDraft {
  return new PriceDraft({ api: { setPoolPrice, prices }, pool: pool('lab', given) });
}

beforeEach(() => {
  vi.useFakeTimers();
  setPoolPrice.mockReset().mockResolvedValue(price());
  prices.mockReset().mockResolvedValue([P5, { ...P5, spot: true, price: usd(3) }]);
});

afterEach(() => {
  vi.useRealTimers();
});

describe('a price that somebody says', () => {
  it('is for a GPU, or for a node where there is none', async () => {
    const draft = draftOf();
    draft.set('amount', '2.49');
    await expect(draft.submit()).resolves.toEqual(price());
    expect(setPoolPrice).toHaveBeenCalledWith('lab', {
      price: '2.49/gpu-h',
      sku: null,
      region: null,
      spot: false,
      currency: null,
      since: null
    });
    expect(draftOf({ nodes: [{ gpus: [] } as never] }).texts.unit).toBe('node-h');
    draft.set('amount', '€1.20/node-h');
    await draft.submit();
    expect(setPoolPrice.mock.lastCall![1].price).toBe('€1.20/node-h');
  });

  it('begins with what it is', () => {
    const known = price({ price: eur(0.95), unit: 'node-hour' });
    const { texts } = draftOf({ price: known });
    expect(texts).toMatchObject({ how: 'price', amount: '0.95 eur', unit: 'node-h' });
  });

  it('may hold since an earlier time', async () => {
    const draft = draftOf();
    draft.set('amount', '2');
    draft.set('since', '2026-11-01T00:00');
    await draft.submit();
    const since = new Date('2026-11-01T00:00').getTime() / 1000;
    expect(setPoolPrice.mock.lastCall![1].since).toBe(since);
  });

  it('is not sent without an amount', async () => {
    const draft = draftOf();
    await draft.submit();
    expect(draft.problems).toEqual({ amount: 'missing' });
    draft.set('amount', 'cheap');
    draft.set('since', 'yesterday');
    await draft.submit();
    expect(draft.problems).toEqual({ amount: 'not an amount', since: 'not a time' });
    expect(setPoolPrice).not.toHaveBeenCalled();
  });

  it('says at its field why it was refused', async () => {
    setPoolPrice.mockRejectedValue(
      new RequestError('refused', 'no price', { option: 'price', status: 400 })
    );
    const draft = draftOf();
    draft.set('amount', '2');
    await expect(draft.submit()).resolves.toBeNull();
    expect(draft.refusals.amount?.message).toBe('no price');
  });
});

describe('a price of a catalog', () => {
  it('is looked for while one types, and not with each letter', async () => {
    const draft = draftOf();
    const told = vi.fn();
    draft.set('how', 'sku');
    draft.changed.connect(told);
    draft.set('sku', 'aws:p5');
    draft.set('sku', 'aws:p5.48xlarge');
    await vi.advanceTimersByTimeAsync(300);
    expect(prices.mock.calls).toEqual([[{ search: 'aws:p5.48xlarge', limit: 50 }]]);
    expect(draft.found).toHaveLength(2);
    expect(draft.chosen).toEqual(P5);
    draft.set('spot', 'yes');
    expect(draft.chosen?.price).toEqual(usd(3));
    draft.set('region', 'mars');
    expect(draft.chosen).toBeNull();
    expect(told).toHaveBeenCalled();
  });

  it('is sent by its name', async () => {
    const draft = draftOf();
    draft.set('how', 'sku');
    await draft.submit();
    expect(draft.problems).toEqual({ sku: 'missing' });
    draft.set('sku', ' aws:p5.48xlarge ');
    draft.set('spot', 'yes');
    await draft.submit();
    expect(setPoolPrice.mock.lastCall![1]).toMatchObject({
      price: null,
      sku: 'aws:p5.48xlarge',
      region: null,
      spot: true
    });
    draft.dispose();
  });

  it('can be typed also where the catalog does not answer', async () => {
    prices.mockRejectedValue(new RequestError('unreachable', 'gone'));
    const draft = draftOf({ price: price({ confidence: 'list', sku: 'aws:p5.48xlarge' }) });
    expect(draft.isLookedUp).toBe(true);
    await vi.advanceTimersByTimeAsync(300);
    expect(draft.found).toEqual([]);
    await draft.submit();
    expect(setPoolPrice).toHaveBeenCalledOnce();
  });

  it('looks for nothing any more once the form is closed', async () => {
    const draft = draftOf();
    draft.set('how', 'sku');
    draft.dispose();
    await vi.advanceTimersByTimeAsync(300);
    expect(prices).not.toHaveBeenCalled();
  });
});
