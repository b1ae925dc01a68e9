/** The nodes of a pool: how each is, what it has, and what its GPUs do. */

import type { TranslationBundle } from '@jupyterlab/translation';
import { caretDownIcon, caretRightIcon, checkIcon, errorIcon } from '@jupyterlab/ui-components';
import React, { useId, useState } from 'react';

import type { Node, PoolItem } from '../../api/types';
import { stateText } from '../../gpus/text';
import type { Board } from '../../gpus/wire';
import { warningIcon } from '../../icons';
import { NodeGpus, nodeRow, nodeUse, type IGpuViews } from './gpus';
import { gpuMemory, gpuUse, healthText, nodeFacts, whyText } from './poolfacts';

const HEALTH_ICONS = {
  live: checkIcon,
  degraded: warningIcon,
  unreachable: errorIcon,
  lost: errorIcon
} as const;

/** So many nodes of a pool are open from the beginning; of a larger one, none is. */
const FEW_NODES = 4;
/** A node that is open is watched by GPU: the one that was opened first makes room. */
const MOST_OPENED = 12;

/** Which nodes of the pools are open. */
export interface IOpenNodes {
  has(pool: PoolItem, node: string): boolean;
  toggle(pool: PoolItem, node: string): void;
}

export function useOpenNodes(): IOpenNodes {
  const [chosen, setChosen] = useState<ReadonlyMap<string, boolean>>(new Map());
  const key = (pool: PoolItem, node: string): string => JSON.stringify([pool.name, node]);
  const has = (pool: PoolItem, node: string): boolean =>
    chosen.get(key(pool, node)) ?? (pool.nodes?.length ?? 0) <= FEW_NODES;
  return {
    has,
    toggle: (pool, node) => {
      const next = new Map(chosen);
      next.delete(key(pool, node));
      next.set(key(pool, node), !has(pool, node));
      const opened = [...next].filter(([, isOpen]) => isOpen).map(([each]) => each);
      opened.slice(0, -MOST_OPENED).forEach(each => next.set(each, false));
      setChosen(next);
    }
  };
}

/** The options the pool was attached with, and its nodes with their GPUs. */
export function PoolDetails({
  pool,
  overview,
  open,
  ...views
}: IGpuViews & {
  pool: PoolItem;
  /** What the nodes do, a row a node; `null` where that is not known. */
  overview: Board | null;
  open: IOpenNodes;
}): React.JSX.Element {
  const { trans } = views;
  const options = Object.entries<unknown>(pool.options);
  return (
    <div className="aiinfra-PoolDetails">
      {options.length > 0 && (
        <Facts
          facts={options.map(([name, value]) => [
            name,
            typeof value === 'string' ? value : JSON.stringify(value)
          ])}
        />
      )}
      {pool.nodes === null ? (
        <p className="aiinfra-Pools-note">
          {trans.__('What it has is known once it has been checked.')}
        </p>
      ) : (
        <ul className="aiinfra-PoolDetails-nodes" aria-label={trans.__('Nodes')}>
          {pool.nodes.map(node => (
            <NodeDetails
              key={node.name}
              node={node}
              pool={pool}
              overview={overview}
              isOpen={open.has(pool, node.name)}
              onToggle={() => open.toggle(pool, node.name)}
              {...views}
            />
          ))}
        </ul>
      )}
    </div>
  );
}

/** A head that opens and closes, and below it the GPUs and the facts. */
function NodeDetails({
  node,
  pool,
  overview,
  isOpen,
  onToggle,
  ...views
}: IGpuViews & {
  node: Node;
  pool: PoolItem;
  overview: Board | null;
  isOpen: boolean;
  onToggle: () => void;
}): React.JSX.Element {
  const { trans } = views;
  const HealthIcon = HEALTH_ICONS[node.health];
  const Caret = isOpen ? caretDownIcon : caretRightIcon;
  const why = whyText(node, trans);
  const told = nodeRow(overview, node.name);
  // That one is waited for is so with every look, and no news.
  const isLate = told?.state === 'stale' || told?.state === 'unreachable';
  const id = useId();
  const use = nodeUse(overview, node.name, trans);
  return (
    <li data-node={node.name}>
      <button
        className="aiinfra-NodeToggle"
        aria-expanded={isOpen}
        aria-controls={id}
        onClick={onToggle}
      >
        <Caret.react tag="span" className="aiinfra-NodeToggle-caret" />
        <span className="aiinfra-PoolDetails-name">{node.name}</span>
        <span className="aiinfra-NodeStatus" data-status={node.health} title={why || undefined}>
          <HealthIcon.react tag="span" />
          {healthText(node, trans)}
        </span>
        {isLate && (
          <span
            className="aiinfra-NodeStatus"
            data-status="degraded"
            title={told.problem || undefined}
          >
            <warningIcon.react tag="span" />
            {trans.__('readings: %1', stateText(told, trans))}
          </span>
        )}
        {use && (
          <span
            className="aiinfra-NodeToggle-use"
            title={trans.__('GPUs that are busy, and the mean utilization of all')}
          >
            {use}
          </span>
        )}
      </button>
      {why && <p className="aiinfra-PoolDetails-why">{why}</p>}
      <div id={id} className="aiinfra-NodeBody" hidden={!isOpen}>
        {isOpen && <NodeBody node={node} pool={pool} {...views} />}
      </div>
    </li>
  );
}

function NodeBody({
  node,
  pool,
  ...views
}: IGpuViews & { node: Node; pool: PoolItem }): React.JSX.Element {
  const { trans } = views;
  const known = <KnownGpus node={node} pool={pool} trans={trans} />;
  return (
    <>
      {pool.status === 'unreachable' || node.health === 'unreachable' ? (
        known
      ) : (
        <NodeGpus pool={pool.name} node={node.name} fallback={known} {...views} />
      )}
      <Facts facts={nodeFacts(node, trans)} />
    </>
  );
}

/** The GPUs as they were when the pool was last asked. */
function KnownGpus({
  node,
  pool,
  trans
}: {
  node: Node;
  pool: PoolItem;
  trans: TranslationBundle;
}): React.JSX.Element | null {
  if (node.gpus.length === 0) {
    return null;
  }
  return (
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
