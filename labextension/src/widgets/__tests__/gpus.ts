/** What a kernel says of GPUs, made of the messages that the server's own test makes. */

import { vi } from 'vitest';

import { delta, deltas, frame } from '../../gpus/__tests__/frames';
import type { GpusDelta, GpusFrame } from '../../api/types';
import type { IGpusChange, IWholeGpus } from '../gpuboards';

/** A job that has a GPU in the frames. */
export const JOB = '1nga2d9cenhm';

/** All of one pool, as message number `seq`. */
export function aWhole(seq = 1, values: Partial<GpusFrame> = {}): IWholeGpus {
  return { seq, pools: [{ pool: 'here', problem: '', frame: frame({ key: 0, ...values }) }] };
}

/** The change number `number`, which fits on the frame; further ones fit on each other. */
export function aChange(seq: number, number = 0, values: Partial<GpusDelta> = {}): IGpusChange {
  return { seq, changes: [{ ...(deltas[number] ?? delta({})), key: 0, ...values }] };
}

/** jsdom draws nothing; curves are looked at in a real browser. */
export function noCanvas(): void {
  vi.spyOn(HTMLCanvasElement.prototype, 'getContext').mockReturnValue(null);
}
