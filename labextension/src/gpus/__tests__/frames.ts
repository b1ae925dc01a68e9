/** The messages that the server's own test makes, and the numbers they come to. */

import type { GpusDelta, GpusFrame } from '../../api/types';
import told from '../../../../tests/wire/gpus.json';

type Values = (number | null)[];

/** What is so after each message. */
export const steps = told as unknown as {
  message: GpusFrame | GpusDelta;
  node_values: Values;
  gpu_values: Values;
}[];

/** Another frame each time: tests change what they are given. */
export function frame(values: Partial<GpusFrame> = {}): GpusFrame {
  return { ...structuredClone(steps[0]?.message as GpusFrame), ...values };
}

export const deltas = steps.slice(1).map(({ message }) => message as GpusDelta);

/** A delta that changes only numbers. */
export function delta(values: Partial<GpusDelta>): GpusDelta {
  return {
    type: 'gpus+',
    key: 3,
    seq: 2,
    since: 1,
    at: 2,
    n: '',
    g: '',
    nodes: {},
    gpus: {},
    ...values
  };
}
