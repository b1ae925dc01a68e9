/** What the status bar says of GPUs, in words. */

import type { TranslationBundle } from '@jupyterlab/translation';

import { durationText } from '../widgets/format';
import { allInUse, type GpuStatus, type IGpuWarning, type IPoolUse } from './gpustatus';

/** How many warnings are told one by one. */
const MOST_TOLD = 8;

export interface IGpuWords {
  /** `3/8 GPUs · 71 %`; `8 GPUs` where none is read. */
  text: string;
  /** What is wrong, in a word or two; empty where nothing is. */
  warning: string;
  /** A line for each warning and each pool. */
  caption: string;
}

/** `null` where no GPU is known. `nameOf` returns the name of a job. */
export function gpuWords(
  { pools, warnings }: Pick<GpuStatus, 'pools' | 'warnings'>,
  nameOf: (job: string) => string,
  trans: TranslationBundle
): IGpuWords | null {
  const all = allInUse(pools);
  if (all === null) {
    return null;
  }
  const now = Date.now() / 1000;
  const told = warnings.slice(0, MOST_TOLD).map(each => warningText(each, { nameOf, now }, trans));
  if (warnings.length > MOST_TOLD) {
    told.push(trans.__('and %1 more', warnings.length - MOST_TOLD));
  }
  const lines = [...told, ...pools.map(pool => poolText(pool, trans))];
  return {
    text: useText(all, trans),
    warning: shortText(warnings, trans),
    caption: [...lines, trans.__('Click to show the GPUs.')].join('\n')
  };
}

/** `3/8 GPUs · 71 %`, or how many there are where their use is not known. */
export function useText(
  { total, busy, utilization }: Omit<IPoolUse, 'pool'>,
  trans: TranslationBundle
): string {
  if (busy === null) {
    return trans._n('%1 GPU', '%1 GPUs', total);
  }
  const used = trans.__('%1/%2 GPUs', busy, total);
  return utilization === null ? used : trans.__('%1 · %2 %', used, Math.round(utilization));
}

function poolText({ pool, total, busy, utilization }: IPoolUse, trans: TranslationBundle): string {
  if (busy === null) {
    return trans._n(
      '%2: %1 GPU; not read, since no job of yours runs there',
      '%2: %1 GPUs; not read, since no job of yours runs there',
      total,
      pool
    );
  }
  const mean = utilization === null ? trans.__('n/a') : trans.__('%1 %', Math.round(utilization));
  return trans.__('%1: %2 of %3 GPUs in use, on average %4', pool, busy, total, mean);
}

function shortText(warnings: readonly IGpuWarning[], trans: TranslationBundle): string {
  const [first] = warnings;
  if (first === undefined) {
    return '';
  }
  if (warnings.length > 1) {
    return trans._n('%1 warning', '%1 warnings', warnings.length);
  }
  switch (first.kind) {
    case 'lost':
      return trans.__('GPU lost');
    case 'away':
      return trans.__('node silent');
    case 'hot':
      return trans.__('GPU too hot');
    case 'idle':
      return trans.__('GPU not used');
  }
}

/** One warning in a sentence. */
export function warningText(
  { kind, pool, node, index, uuid, jobs, since, reason }: IGpuWarning,
  { nameOf, now }: { nameOf: (job: string) => string; now: number },
  trans: TranslationBundle
): string {
  const gpu = trans.__('GPU %1 of %2 (pool %3)', index ?? uuid ?? '?', node, pool);
  const names = jobs.map(nameOf).join(', ');
  switch (kind) {
    case 'lost':
      return trans.__('%1 is lost: its driver does not reach it any more.', gpu);
    case 'hot':
      return trans.__('%1 runs slower because it is too hot.', gpu);
    case 'idle':
      return trans.__(
        '%1 is held by %2, which has used less than 5 % of it for %3.',
        gpu,
        names,
        durationText(Math.max(0, now - (since ?? now)), true)
      );
    case 'away': {
      const said = trans.__('%1 (pool %2) says nothing, and %3 runs there.', node, pool, names);
      return reason === '' ? said : `${said} ${reason}`;
    }
  }
}
