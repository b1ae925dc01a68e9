/** What an hour of a pool costs, and how old that price is. */

import type { TranslationBundle } from '@jupyterlab/translation';
import type { CommandRegistry } from '@lumino/commands';
import React from 'react';

import type { PoolItem } from '../../api/types';
import { priceText } from '../../cost/text';
import { CommandIDs } from '../../tokens';

/** A click says another. Nothing where that cannot be. */
export function PoolPrice({
  pool,
  commands,
  trans
}: {
  pool: PoolItem;
  commands: CommandRegistry;
  trans: TranslationBundle;
}): React.JSX.Element | null {
  if (!commands.hasCommand(CommandIDs.setPrice)) {
    return null;
  }
  const { name, price } = pool;
  const isKnown = price !== null && price.price !== null;
  return (
    <span>
      <button
        className="aiinfra-LinkButton aiinfra-PoolRow-price"
        data-old={price?.old || undefined}
        title={
          isKnown
            ? trans.__('%1. Click to change it.', price.text)
            : trans.__('Nobody has said what %1 costs. Click to say it.', name)
        }
        onClick={() => void commands.execute(CommandIDs.setPrice, { name })}
      >
        {isKnown ? priceText(price, trans) : trans.__('price unknown')}
      </button>
    </span>
  );
}
