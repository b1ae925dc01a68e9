/** What the states of a job mean to the list of jobs. */

import type { TranslationBundle } from '@jupyterlab/translation';

import type { JobItem, JobState, Silence } from './api/types';

export const ACTIVE_STATES: readonly JobState[] = ['queued', 'pending', 'starting', 'running'];

/** Whether a job is not over yet. */
export function isActive(job: Pick<JobItem, 'state'>): boolean {
  return ACTIVE_STATES.includes(job.state);
}

/** Seconds that a job has run, or waited to; it does not grow any more once the job is over. */
export function elapsedSeconds(job: JobItem, now: number): number {
  return Math.max(0, (job.ended_at ?? now) - (job.started_at ?? job.created_at));
}

/** That the pool of a job does not answer the server, and when it last did. */
export function silenceText({ message, heard_at }: Silence, trans: TranslationBundle): string {
  const said = message.replace(/[.\s]+$/, '');
  return heard_at === null
    ? trans.__('%1. The state shown is the last one known; the job itself may be well.', said)
    : trans.__(
        '%1. Last heard at %2; the state shown is that of then, and the job itself may be well.',
        said,
        new Date(heard_at * 1000).toLocaleTimeString()
      );
}
