/** Jobs of a notebook that its cells do not show: begun before a reload or a restart. */

import type { CodeCell } from '@jupyterlab/cells';
import type { NotebookPanel } from '@jupyterlab/notebook';

import type { JobDetail, JobItem } from '../api/types';
import { launchLine } from '../editor/launchline';
import { isActive } from '../jobstate';
import type { IAiInfraApi } from '../tokens';
import { isCodeCell, isFrom, isOrigin, outputsOf } from './origin';

/** How long ago a job may have ended whose results are still offered. */
const DAY_SECONDS = 86_400;
/** How many jobs are looked at for one notebook. */
const MOST_JOBS = 20;

export interface IOrphan {
  cell: CodeCell;
  detail: JobDetail;
}

/**
 * Find the cells of a notebook whose newest job they do not show, and that job.
 *
 * It goes on, or has left results within the last day. Rejects with a `RequestError` only.
 */
export async function findOrphans(
  panel: NotebookPanel,
  options: { api: IAiInfraApi; path: string; isDismissed: (id: string) => boolean; now: number }
): Promise<IOrphan[]> {
  const { api, path, isDismissed, now } = options;
  const cells = panel.content.widgets.filter(
    (cell): cell is CodeCell =>
      isCodeCell(cell) && launchLine(cell.model.sharedModel.getSource()) !== null
  );
  if (!cells.length) {
    return [];
  }
  const [active, ended] = await Promise.all([
    api.jobs({ state: 'active' }),
    api.jobs({ state: 'ended' })
  ]);
  const recent = ended.jobs.filter(job => now - (job.ended_at ?? 0) < DAY_SECONDS);
  const jobs = [...active.jobs, ...recent]
    .filter(job => job.kind === 'train' && isFrom(job, path))
    .sort((one, other) => other.created_at - one.created_at)
    .slice(0, MOST_JOBS);

  const found: IOrphan[] = [];
  const waiting = new Set(cells.filter(cell => cell.model.executionState !== 'running'));
  for (const job of jobs) {
    if (!waiting.size) {
      break;
    }
    const shownBy = cells.find(cell => outputsOf(cell.model).some(({ id }) => id === job.id));
    if (shownBy) {
      waiting.delete(shownBy);
      continue;
    }
    const detail = await api.job(job.id);
    const cell = [...waiting].find(each => isOrigin(each.model.sharedModel.getSource(), detail));
    if (cell) {
      // Older jobs of the same cell are of no interest, whether this one is or not.
      waiting.delete(cell);
      if (isWorthTelling(job, detail) && !isDismissed(job.id)) {
        found.push({ cell, detail });
      }
    }
  }
  return found;
}

function isWorthTelling(job: JobItem, { fetch }: JobDetail): boolean {
  return isActive(job) || (job.state === 'succeeded' && fetch.length > 0);
}
