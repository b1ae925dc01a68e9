/** The states of a job as people read them. */

import type { TranslationBundle } from '@jupyterlab/translation';
import {
  checkIcon,
  circleEmptyIcon,
  errorIcon,
  historyIcon,
  runIcon,
  stopIcon,
  type LabIcon
} from '@jupyterlab/ui-components';

import type { JobItem } from '../../api/types';
import { isActive } from '../../jobstate';

/** What a row shows: the observed state, or that the job is on its way to stop. */
export type ShownState = JobItem['state'] | 'stopping';

export function shownState(job: JobItem): ShownState {
  return isActive(job) && job.desired === 'stop' ? 'stopping' : job.state;
}

export function stateText(state: ShownState, trans: TranslationBundle): string {
  switch (state) {
    case 'queued':
      return trans.__('queued');
    case 'pending':
      return trans.__('pending');
    case 'starting':
      return trans.__('starting');
    case 'running':
      return trans.__('running');
    case 'stopping':
      return trans.__('stopping…');
    case 'succeeded':
      return trans.__('succeeded');
    case 'failed':
      return trans.__('failed');
    case 'cancelled':
      return trans.__('cancelled');
    case 'lost':
      return trans.__('lost');
  }
}

export const STATE_ICONS: Readonly<Record<ShownState, LabIcon>> = {
  queued: historyIcon,
  pending: historyIcon,
  starting: circleEmptyIcon,
  running: runIcon,
  stopping: stopIcon,
  succeeded: checkIcon,
  failed: errorIcon,
  cancelled: stopIcon,
  lost: errorIcon
};
