/** Boards of any size, and trails of them, for tests. */

import type { GpusFrame } from '../../api/types';
import { frame } from '../../gpus/__tests__/frames';
import { Trail } from '../../gpus/history';
import { Board } from '../../gpus/wire';
import type { INames, ISource } from '../curves';

export const T0 = 1_000_000;

export const NAMES: INames = {
  userOf: job => (job === 'j1' ? 'ada' : null),
  nameOf: job => `name of ${job}`,
  rank: rank => `rank ${rank}`
};

/** `nodes` nodes of `gpus` GPUs, each GPU at as many percent as `of` says; `null` is unknown. */
export function board(
  nodes: number,
  gpus: number,
  at: number,
  of: (gpu: number) => number | null,
  change: (gpu: GpusFrame['gpus'][number], number: number) => object = () => ({})
): Board {
  const first = frame();
  const [node] = first.nodes;
  const [gpu] = first.gpus;
  const count = nodes * gpus;
  const rows = Array.from({ length: count }, (_, number) => {
    const row = {
      ...(gpu as NonNullable<typeof gpu>),
      holders: [],
      node: Math.floor(number / gpus),
      index: number % gpus,
      uuid: `GPU-${number}`
    };
    return { ...row, ...change(row, number) };
  });
  return new Board({
    ...first,
    at,
    nodes: Array.from({ length: nodes }, (_, number) => ({
      ...(node as NonNullable<typeof node>),
      name: `n${number}`,
      gpus
    })),
    gpus: rows,
    node_values: Array<null>(nodes * first.node_series.length).fill(null),
    gpu_values: first.gpu_series.flatMap((_, series) =>
      rows.map((_row, number) => (series === 0 ? of(number) : 10 * series))
    )
  });
}

export function source(boards: readonly Board[], pool = 'here'): ISource {
  const trail = new Trail();
  boards.forEach(each => trail.push(each));
  return { pool, board: boards.at(-1) ?? null, trail };
}
