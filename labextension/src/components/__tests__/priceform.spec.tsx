import { nullTranslator } from '@jupyterlab/translation';
import { configure, fireEvent, screen, waitFor } from '@testing-library/react';
import axe from 'axe-core';
import { afterEach, describe, expect, it, vi } from 'vitest';

import { price, usd } from '../../__tests__/costsamples';
import { pool } from '../../__tests__/samples';
import type { PoolItem } from '../../api/types';
import { PriceDraft } from '../../models/pricedraft';
import { RequestError } from '../../request';
import type { IAiInfraApi } from '../../tokens';
import { showPriceForm } from '../priceform';

const trans = nullTranslator.load('jupyter_aiinfra');

// The form is loaded when it is first shown, which takes seconds on a busy machine.
configure({ asyncUtilTimeout: 60_000 });

/** Colours are for a browser to judge: there are none here. */
const AXE = { rules: { 'color-contrast': { enabled: false } } };

const FOUND = {
  sku: 'aws:p5.48xlarge',
  gpu: 'H100',
  gpus: 8,
  region: 'us-east-1',
  spot: false,
  price: usd(6.88),
  unit: 'gpu-hour',
  machine: usd(55.04),
  source: 'a list',
  as_of: '2026-06-09',
  age_days: 169,
  old: true,
  confidence: 'list'
};

async function open(
  setPoolPrice: IAiInfraApi['setPoolPrice'],
  given: Partial<PoolItem> = {}
): Promise<{ done: Promise<unknown> }> {
  const prices = (): Promise<(typeof FOUND)[]> => Promise.resolve([FOUND]);
  const api = { setPoolPrice, prices };
  const done = showPriceForm(new PriceDraft({ api, pool: pool('lab', given) }), trans);
  await waitFor(() => expect(document.activeElement?.closest('.aiinfra-Form')).not.toBeNull());
  return { done };
}

function type(label: string | RegExp, text: string): void {
  fireEvent.change(screen.getByLabelText(label), { target: { value: text } });
}

const accept = (): HTMLButtonElement =>
  document.querySelector('.jp-Dialog-footer .jp-mod-accept') as HTMLButtonElement;

afterEach(() => {
  document.querySelector<HTMLButtonElement>('.jp-Dialog-footer .jp-mod-reject')?.click();
  document.body.replaceChildren();
});

describe('the form of a price', () => {
  it('takes an amount for an hour of a GPU or a node', async () => {
    const setPoolPrice = vi.fn<IAiInfraApi['setPoolPrice']>(() => Promise.resolve(price()));
    const { done } = await open(setPoolPrice);
    expect(document.body.textContent).toContain('what runs there has no cost');
    type('Price', '1.20 eur');
    type('For an hour of', 'node-h');
    expect(document.body.textContent).toContain('The GPUs of a node share its price.');
    accept().click();
    expect(await done).toEqual(price());
    expect(setPoolPrice.mock.calls[0]![1].price).toBe('1.20 eur/node-h');
  });

  it('shows what the catalog has of a machine, and that it is old', async () => {
    const setPoolPrice = vi.fn<IAiInfraApi['setPoolPrice']>(() => Promise.resolve(price()));
    const { done } = await open(setPoolPrice, { price: price() });
    expect(document.body.textContent).toContain('Now: $2.49 a GPU-hour');
    type('An hour costs', 'sku');
    type('Machine', 'aws:p5.48xlarge');
    const said = '$6.88/GPU-h, 169 days old, may have changed, from a list';
    expect((await screen.findByText(said)).getAttribute('role')).toBe('status');
    const offered = [...document.querySelectorAll('datalist option')];
    expect(offered.map(each => each.getAttribute('label'))).toContain('8 × H100 · $6.88/GPU-h');
    fireEvent.click(screen.getByLabelText('Spot machines'));
    accept().click();
    await done;
    expect(setPoolPrice.mock.calls[0]![1]).toMatchObject({ sku: 'aws:p5.48xlarge', spot: true });
  });

  it('says at its field why it was refused', async () => {
    await open(() =>
      Promise.reject(new RequestError('refused', 'no sku', { option: 'sku', status: 400 }))
    );
    type('An hour costs', 'sku');
    type('Machine', 'aws:nothing');
    accept().click();
    await screen.findByText('no sku');
    expect(screen.getByLabelText('Machine').getAttribute('aria-invalid')).toBe('true');
  });

  it('has no accessibility fault that axe knows', async () => {
    await open(() => Promise.reject(new Error('not expected')));
    accept().click();
    await screen.findByText('This is needed.');
    const form = document.querySelector('.aiinfra-Form') as HTMLElement;
    expect((await axe.run(form, AXE)).violations).toEqual([]);
  });
});
