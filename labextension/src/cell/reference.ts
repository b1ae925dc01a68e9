/** The part of a cell's output that names its job; made by `jupyter_aiinfra/widgets/job.py`. */

import { ACTIVE_STATES } from '../jobstate';

export const JOB_MIME = 'application/vnd.aiinfra.job+json';

export interface IJobReference {
  readonly id: string;
  readonly state: string;
  /** Values that the kernel hides may stand in the log that the server has. */
  readonly hides: boolean;
}

/** Ids are put into code and addresses; a notebook may come from anywhere. */
const ID = /^[0-9a-z]{1,64}$/;

/** Whether a text can be the id of a job. */
export function isJobId(text: unknown): text is string {
  return typeof text === 'string' && ID.test(text);
}

/** The reference in `value`, or `null` where there is none that we understand. */
export function jobReference(value: unknown): IJobReference | null {
  const { id, state, hides } = (value ?? {}) as Record<string, unknown>;
  if (!isJobId(id)) {
    return null;
  }
  return { id, state: typeof state === 'string' ? state : '', hides: hides === true };
}

/** Whether the output was written when its job was over, so that it holds all there is to say. */
export function isWhole({ state }: IJobReference): boolean {
  return state !== '' && !(ACTIVE_STATES as readonly string[]).includes(state);
}
