/** A node of a pool: how it is, what it has, and who has its GPUs. */

import type { TranslationBundle } from '@jupyterlab/translation';
import { checkIcon, errorIcon } from '@jupyterlab/ui-components';
import React from 'react';

import type { Node, PoolItem } from '../../api/types';
import { warningIcon } from '../../icons';
import { gpuMemory, gpuUse, healthText, nodeFacts, whyText } from './poolfacts';

const HEALTH_ICONS = {
  live: checkIcon,
  degraded: warningIcon,
  unreachable: errorIcon,
  lost: errorIcon
} as const;

export function NodeDetails({
  node,
  pool,
  trans
}: {
  node: Node;
  pool: PoolItem;
  trans: TranslationBundle;
}): React.JSX.Element {
  const HealthIcon = HEALTH_ICONS[node.health];
  const why = whyText(node, trans);
  return (
    <li data-node={node.name}>
      <div className="aiinfra-PoolDetails-node">
        <span className="aiinfra-PoolDetails-name">{node.name}</span>
        <span className="aiinfra-NodeStatus" data-status={node.health} title={why || undefined}>
          <HealthIcon.react tag="span" />
          {healthText(node, trans)}
        </span>
      </div>
      {why && <p className="aiinfra-PoolDetails-why">{why}</p>}
      <Facts facts={nodeFacts(node, trans)} />
      {node.gpus.length > 0 && (
        <ul className="aiinfra-PoolDetails-gpus" aria-label={trans.__('GPUs')}>
          {node.gpus.map(gpu => (
            <li key={gpu.uuid} title={gpu.uuid}>
              <span className="aiinfra-PoolDetails-index">{gpu.index}</span>
              <span>{gpu.name}</span>
              <span>{gpuMemory(gpu.memory_total_bytes)}</span>
              <span className="aiinfra-PoolDetails-use">
                {node.health === 'unreachable' ? '' : gpuUse(gpu, pool, trans)}
              </span>
            </li>
          ))}
        </ul>
      )}
    </li>
  );
}

export function Facts({
  facts
}: {
  facts: readonly (readonly [string, string])[];
}): React.JSX.Element {
  return (
    <dl className="aiinfra-PoolDetails-facts">
      {facts.map(([word, value]) => (
        <React.Fragment key={word}>
          <dt>{word}</dt>
          <dd>{value}</dd>
        </React.Fragment>
      ))}
    </dl>
  );
}
