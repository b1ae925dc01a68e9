/** What the states of a job mean to the list of jobs. */

import type { JobItem, JobState } from './api/types';

export const ACTIVE_STATES: readonly JobState[] = ['queued', 'pending', 'starting', 'running'];

/** Whether a job is not over yet. */
export function isActive(job: Pick<JobItem, 'state'>): boolean {
  return ACTIVE_STATES.includes(job.state);
}

/** Seconds that a job has run, or waited to; it does not grow any more once the job is over. */
export function elapsedSeconds(job: JobItem, now: number): number {
  return Math.max(0, (job.ended_at ?? now) - (job.started_at ?? job.created_at));
}
