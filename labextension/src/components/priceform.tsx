/** The form that says what an hour of a pool costs, in a dialog. */

import type { TranslationBundle } from '@jupyterlab/translation';
import React from 'react';

import type { CatalogItem, PriceItem } from '../api/types';
import { priceAgeText } from '../cost/text';
import type { PriceDraft, PriceFault, PriceField } from '../models/pricedraft';
import { given } from './draftfield';
import { showForm } from './formdialog';
import { Choice, Flag, MomentInput, TextInput } from './formfields';
import { namedFields } from './namedfields';
import { useSignal } from './usesignal';

/** Show the form; the price that was said by it, or `null` where it was closed instead. */
export async function showPriceForm(
  draft: PriceDraft,
  trans: TranslationBundle
): Promise<PriceItem | null> {
  try {
    return await showForm({
      draft,
      title: trans.__('Price of %1', draft.pool.name),
      accept: trans.__('Set the price'),
      sending: trans.__('Setting…'),
      fields: <PriceFields draft={draft} trans={trans} />,
      trans
    });
  } finally {
    draft.dispose();
  }
}

interface IFieldsProps {
  draft: PriceDraft;
  trans: TranslationBundle;
}

function PriceFields({ draft, trans }: IFieldsProps): React.JSX.Element {
  useSignal(draft.changed);
  const { price } = draft.pool;
  return (
    <>
      <p className="aiinfra-Form-what">
        {price === null
          ? trans.__('Nobody has said what it costs, so what runs there has no cost.')
          : trans.__('Now: %1', price.text)}
      </p>
      <Field {...{ draft, trans, name: 'how', label: trans.__('An hour costs') }}>
        <Choice
          {...given(draft, 'how')}
          choices={[
            { value: 'price', label: trans.__('what I say') },
            { value: 'sku', label: trans.__('what a catalog says') }
          ]}
        />
      </Field>
      {draft.isLookedUp ? (
        <LookedUp draft={draft} trans={trans} />
      ) : (
        <Said draft={draft} trans={trans} />
      )}
      <Field
        {...{ draft, trans, name: 'since', label: trans.__('Since (optional)') }}
        help={trans.__('Empty: from now on. What was since an earlier time is counted anew.')}
      >
        <MomentInput {...given(draft, 'since')} />
      </Field>
    </>
  );
}

/** An amount that somebody pays. */
function Said({ draft, trans }: IFieldsProps): React.JSX.Element {
  return (
    <>
      <Field
        {...{ draft, trans, name: 'amount', label: trans.__('Price') }}
        help={trans.__('Such as 2.49, 2.49 eur or €2.49; dollars where no currency is said.')}
      >
        <TextInput
          {...given(draft, 'amount')}
          required
          placeholder={trans.__('for example: 2.49')}
        />
      </Field>
      <Field
        {...{ draft, trans, name: 'unit', label: trans.__('For an hour of') }}
        help={
          draft.texts.unit === 'node-h'
            ? trans.__('The GPUs of a node share its price. Also for machines without GPUs.')
            : trans.__('Jobs that use no GPU have no price by it.')
        }
      >
        <Choice
          {...given(draft, 'unit')}
          choices={[
            { value: 'gpu-h', label: trans.__('a GPU') },
            { value: 'node-h', label: trans.__('a whole node') }
          ]}
        />
      </Field>
    </>
  );
}

/** What the machines are in a catalog, which knows the price. */
function LookedUp({ draft, trans }: IFieldsProps): React.JSX.Element {
  const { found, chosen } = draft;
  const skus = new Map(found.map(each => [each.sku, each]));
  const regions = new Set(
    found.filter(({ sku }) => sku === draft.texts.sku.trim()).map(({ region }) => region)
  );
  return (
    <>
      <Field
        {...{ draft, trans, name: 'sku', label: trans.__('Machine') }}
        help={trans.__('Type a part of its name, or of its GPU.')}
      >
        <TextInput
          {...given(draft, 'sku')}
          required
          placeholder={trans.__('for example: aws:p5.48xlarge')}
          choices={[...skus.values()].map(each => ({
            value: each.sku,
            label: machineText(each, trans)
          }))}
        />
      </Field>
      <Field {...{ draft, trans, name: 'region', label: trans.__('Region (optional)') }}>
        <TextInput
          {...given(draft, 'region')}
          choices={[...regions].filter(Boolean).map(value => ({ value, label: value }))}
        />
      </Field>
      <Flag
        id="aiinfra-price-spot"
        label={trans.__('Spot machines')}
        help=""
        checked={draft.texts.spot !== ''}
        onFlag={ticked => draft.set('spot', ticked ? 'yes' : '')}
      />
      <p className="aiinfra-Form-what" role="status">
        {chosen && foundText(chosen, trans)}
      </p>
    </>
  );
}

const { Field } = namedFields<PriceField, PriceFault>('price', faultText);

/** `8 × H100 · $6.88/GPU-h`. */
function machineText(item: CatalogItem, trans: TranslationBundle): string {
  const gpus = item.gpus > 0 ? trans.__('%1 × %2', item.gpus, item.gpu) : trans.__('no GPU');
  return trans.__('%1 · %2', gpus, rateText(item, trans));
}

function rateText({ unit, price }: CatalogItem, trans: TranslationBundle): string {
  return unit === 'node-hour'
    ? trans.__('%1/node-h', price.text)
    : trans.__('%1/GPU-h', price.text);
}

/** The price that would be taken, how old it is, and who says so. */
function foundText(item: CatalogItem, trans: TranslationBundle): string {
  const age = priceAgeText(item, trans);
  return trans.__('%1, %2, from %3', rateText(item, trans), age, item.source);
}

function faultText(fault: PriceFault | undefined, trans: TranslationBundle): string {
  switch (fault) {
    case undefined:
      return '';
    case 'missing':
      return trans.__('This is needed.');
    case 'not an amount':
      return trans.__('This is no amount of money.');
    case 'not a time':
      return trans.__('This is no time.');
  }
}
