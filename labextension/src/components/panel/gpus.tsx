/** What the GPUs of a pool and of its nodes do, live, in the panel. */

import type { TranslationBundle } from '@jupyterlab/translation';
import type { CommandRegistry } from '@lumino/commands';
import React, { useEffect, useReducer, useRef, useState } from 'react';

import type { GpuTopic, LiveGpus } from '../../gpus/live';
import { GpuStrips } from '../../gpus/strip';
import { memoryText, valueText } from '../../gpus/text';
import type { Board, ISummary, NodeRow } from '../../gpus/wire';
import { CommandIDs, type IAiInfraModels } from '../../tokens';

export interface IGpuViews {
  models: IAiInfraModels;
  commands: CommandRegistry;
  trans: TranslationBundle;
  /** Whether it is in sight: nothing is watched else. */
  isVisible: boolean;
}

/**
 * What is told of a scope, watched while `isVisible`; `null` watches nothing. The component is drawn
 * anew with each frame.
 */
export function useLive(
  models: IAiInfraModels,
  topic: GpuTopic | null,
  isVisible: boolean
): LiveGpus | null {
  const [, redraw] = useReducer((count: number) => count + 1, 0);
  const [live, setLive] = useState<LiveGpus | null>(null);
  const key = JSON.stringify(topic);
  useEffect(() => {
    if (topic === null || !isVisible) {
      setLive(null);
      return;
    }
    const found = models.gpus.of(topic);
    const watch = found.watch();
    const slot = (): void => redraw();
    found.changed.connect(slot);
    setLive(found);
    return () => {
      found.changed.disconnect(slot);
      watch.dispose();
    };
  }, [models, key, isVisible]);
  return live;
}

/** `3/8 GPUs busy`, the mean of what they do, and how many are free, beside a bar. */
export function PoolUse({
  live,
  trans
}: {
  live: LiveGpus | null;
  trans: TranslationBundle;
}): React.JSX.Element | null {
  const board = live?.board ?? null;
  const summary = board?.summary() ?? null;
  if (summary === null || summary.total === 0) {
    return null;
  }
  const { total, busy, utilization } = summary;
  const isOld = live?.state !== 'live';
  return (
    <div className="aiinfra-PoolUse" data-old={isOld || undefined}>
      <Meter share={busy / total} />
      <span className="aiinfra-PoolUse-part">{busyText(summary, trans)}</span>
      <span className="aiinfra-PoolUse-part" title={trans.__('Mean utilization of the GPUs')}>
        {valueText(utilization, '%', trans)}
      </span>
      <span className="aiinfra-PoolUse-part">{trans.__('%1 free', total - busy)}</span>
    </div>
  );
}

/** `3/8 GPUs busy`. */
export function busyText({ busy, total }: ISummary, trans: TranslationBundle): string {
  return trans._n('%2/%1 GPU busy', '%2/%1 GPUs busy', total, busy);
}

/** A node of an overview in short: `3/8 · 71 %`; empty where it has no GPU or is not heard. */
export function nodeUse(board: Board | null, name: string, trans: TranslationBundle): string {
  const number = board?.nodes.findIndex(node => node.name === name) ?? -1;
  const node = board?.nodes[number];
  if (!board || !node?.gpus || node.state !== 'live') {
    return '';
  }
  const busy = board.nodeValue(number, 'busy');
  const mean = board.nodeValue(number, 'utilization');
  return trans.__('%1/%2 · %3', busy ?? '?', node.gpus, valueText(mean, '%', trans));
}

/** What an overview says of a node; `null` where it does not. */
export function nodeRow(board: Board | null, name: string): NodeRow | null {
  return board?.nodes.find(node => node.name === name) ?? null;
}

/** The GPUs of one node, each a row, and what the node itself does. */
export function NodeGpus({
  models,
  commands,
  trans,
  isVisible,
  pool,
  node,
  fallback
}: IGpuViews & {
  pool: string;
  node: string;
  /** What to show until there is anything live, and where there never is. */
  fallback: React.ReactNode;
}): React.JSX.Element {
  const live = useLive(models, { pool, node }, isVisible);
  const board = live?.board ?? null;
  const problem = live?.problem ?? null;
  const row = nodeRow(board, node);
  if (board === null || row === null || (row.gpus === null && board.gpus.length === 0)) {
    return (
      <>
        {fallback}
        {problem && <p className="aiinfra-PoolDetails-why">{problem.message}</p>}
      </>
    );
  }
  const isOld = live?.state !== 'live' || row.state !== 'live';
  return (
    <div className="aiinfra-NodeGpus" data-old={isOld || undefined}>
      {board.gpus.length > 0 && live && (
        <Strips live={live} models={models} commands={commands} trans={trans} node={node} />
      )}
      <Load board={board} row={row} trans={trans} />
      {problem && <p className="aiinfra-PoolDetails-why">{problem.message}</p>}
    </div>
  );
}

/** The rows are drawn by themselves, once a second, and not by React. */
function Strips({
  live,
  models,
  commands,
  trans,
  node
}: {
  live: LiveGpus;
  models: IAiInfraModels;
  commands: CommandRegistry;
  trans: TranslationBundle;
  node: string;
}): React.JSX.Element {
  const place = useRef<HTMLDivElement>(null);
  useEffect(() => {
    if (place.current === null) {
      return;
    }
    const strips = new GpuStrips(place.current, {
      trans,
      heads: 'never',
      names: id => models.jobs.find(id)?.name,
      onJob: id => void commands.execute(CommandIDs.openJob, { id })
    });
    const draw = (): void => {
      if (live.board) {
        strips.draw(live.board, live.trail);
      }
    };
    live.changed.connect(draw);
    draw();
    return () => {
      live.changed.disconnect(draw);
      strips.dispose();
    };
  }, [live]);
  return <div ref={place} role="group" aria-label={trans.__('GPUs of %1', node)} />;
}

/** Processors and memory of a node, and that it has no GPU where that is so. */
function Load({
  board,
  row,
  trans
}: {
  board: Board;
  row: NodeRow;
  trans: TranslationBundle;
}): React.JSX.Element {
  const number = board.nodes.indexOf(row);
  const cpu = board.nodeValue(number, 'cpu');
  const memory = board.nodeValue(number, 'memory');
  const all = row.memory_total_bytes;
  return (
    <div className="aiinfra-NodeLoad">
      {row.gpus === 0 && <span>{trans.__('no GPU')}</span>}
      <span className="aiinfra-NodeLoad-part">
        {trans.__('CPU %1', valueText(cpu, '%', trans))}
        <Meter share={cpu === null ? 0 : cpu / 100} />
      </span>
      <span className="aiinfra-NodeLoad-part">
        {trans.__('memory %1', memoryText(memory, all, trans))}
        <Meter share={memory === null || !all ? 0 : memory / all} />
      </span>
    </div>
  );
}

/** A bar beside a text that says the same. */
function Meter({ share }: { share: number }): React.JSX.Element {
  const width = `${(Math.min(Math.max(share, 0), 1) * 100).toFixed(1)}%`;
  return (
    <span className="aiinfra-Meter" aria-hidden="true">
      <span className="aiinfra-Meter-fill" style={{ width }} />
    </span>
  );
}
