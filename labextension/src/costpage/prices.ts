/** What an hour of each pool costs, who says so, and how old that is. */

import type { TranslationBundle } from '@jupyterlab/translation';

import type { PoolItem, PriceItem } from '../api/types';
import { priceAgeText, priceRateText } from '../cost/text';
import { h } from '../widgets/dom';
import { Redrawn } from './redraw';

export interface IPricesOptions {
  trans: TranslationBundle;
  /** Say what a pool costs. */
  setPrice: (pool: string) => void;
}

export class Prices {
  constructor(options: IPricesOptions) {
    this._options = options;
    const { trans } = options;
    this._body = new Redrawn(
      h('div', { class: 'aiinfra-CostPage-tables', tabindex: '0', role: 'region' })
    );
    this._body.node.setAttribute('aria-label', trans.__('Prices'));
    this.node.append(
      h('div', { class: 'aiinfra-CostPage-head' }, h('h2', {}, trans.__('Prices of pools'))),
      this._body.node
    );
  }

  readonly node = h('section', { class: 'aiinfra-CostPage-prices' });

  update(pools: readonly PoolItem[] | null): void {
    this.node.hidden = pools === null || pools.length === 0;
    const known = (pools ?? []).map(({ name, price }) => ({ name, price }));
    this._body.draw(JSON.stringify(known), () => [this._table(known)]);
  }

  private _table(pools: readonly Pick<PoolItem, 'name' | 'price'>[]): HTMLElement {
    const { trans, setPrice } = this._options;
    const names = [
      trans.__('pool'),
      trans.__('price'),
      trans.__('source'),
      trans.__('as of'),
      trans.__('age'),
      trans.__('confidence'),
      ''
    ];
    const rows = pools.map(({ name, price }) => {
      const button = h('button', {
        type: 'button',
        class: 'aiinfra-CostPage-link',
        'data-focus': name
      });
      button.textContent = price === null ? trans.__('Set a price…') : trans.__('Change…');
      button.setAttribute('aria-label', trans.__('Set the price of %1', name));
      button.addEventListener('click', () => setPrice(name));
      const head = h('th', { scope: 'row' }, name);
      return h('tr', {}, head, ...this._cells(price), h('td', {}, button));
    });
    return h(
      'table',
      { class: 'aiinfra-CostPage-table' },
      h('thead', {}, h('tr', {}, ...names.map(name => h('th', { scope: 'col' }, name)))),
      h('tbody', {}, ...rows)
    );
  }

  private _cells(price: PriceItem | null): HTMLElement[] {
    const { trans } = this._options;
    if (price === null) {
      const text = trans.__('unknown: what runs there costs n/a');
      return [h('td', { colspan: '5', class: 'aiinfra-CostPage-quiet' }, text)];
    }
    const sku = [price.sku, price.region].filter(Boolean).join(', ');
    const rate = h('td', {}, priceRateText(price, trans));
    if (sku) {
      rate.append(h('span', { class: 'aiinfra-CostPage-quiet' }, ` ${sku}`));
    }
    const age = h('td', {}, priceAgeText(price, trans));
    age.classList.toggle('aiinfra-mod-warn', price.old);
    return [
      rate,
      h('td', {}, price.source || trans.__('n/a')),
      h('td', {}, price.as_of ?? trans.__('n/a')),
      age,
      h('td', {}, price.confidence ?? trans.__('n/a'))
    ];
  }

  private _options: IPricesOptions;
  private _body: Redrawn;
}
