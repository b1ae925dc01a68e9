/** The parts of a cell's output that are ours; the job's is made by `jupyter_aiinfra/widgets/job.py`. */

import { ACTIVE_STATES } from '../jobstate';
import type { IGpuUse } from '../widgets/rankgpus';

export const JOB_MIME = 'application/vnd.aiinfra.job+json';

/** Marks an output of GPUs; made by `jupyter_aiinfra/widgets/gpus.py`. */
export const GPUS_MIME = 'application/vnd.aiinfra.gpus+json';

export interface IJobReference {
  readonly id: string;
  readonly state: string;
  /** Values that the kernel hides may stand in the log that the server has. */
  readonly hides: boolean;
  /** What its ranks did with their GPUs; empty where that is not known. */
  readonly used: readonly IGpuUse[];
}

/** Ids are put into code and addresses; a notebook may come from anywhere. */
const ID = /^[0-9a-z]{1,64}$/;

/** Whether a text can be the id of a job. */
export function isJobId(text: unknown): text is string {
  return typeof text === 'string' && ID.test(text);
}

/** The reference in `value`, or `null` where there is none that we understand. */
export function jobReference(value: unknown): IJobReference | null {
  const { id, state, hides, gpus } = (value ?? {}) as Record<string, unknown>;
  if (!isJobId(id)) {
    return null;
  }
  const used = Array.isArray(gpus) ? gpus.flatMap(each => gpuUse(each) ?? []) : [];
  return { id, state: typeof state === 'string' ? state : '', hides: hides === true, used };
}

function gpuUse(value: unknown): IGpuUse | null {
  const told = (value ?? {}) as Record<string, unknown>;
  const number = (each: unknown): number | null =>
    typeof each === 'number' && Number.isFinite(each) ? each : null;
  const rank = number(told.rank);
  if (rank === null || !Array.isArray(told.gpus)) {
    return null;
  }
  return {
    rank,
    gpus: told.gpus.filter((name): name is string => typeof name === 'string'),
    mean_percent: number(told.mean_percent),
    peak_percent: number(told.peak_percent),
    peak_memory_bytes: number(told.peak_memory_bytes),
    memory_total_bytes: number(told.memory_total_bytes)
  };
}

/** Whether the output was written when its job was over, so that it holds all there is to say. */
export function isWhole({ state }: IJobReference): boolean {
  return state !== '' && !(ACTIVE_STATES as readonly string[]).includes(state);
}
