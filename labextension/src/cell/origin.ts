/** Which job a cell is the origin of, by its text and by what its outputs say. */

import type { Cell, CodeCell, ICodeCellModel } from '@jupyterlab/cells';

import type { JobDetail, JobItem } from '../api/types';
import { LAUNCH_MAGIC, launchLine } from '../editor/launchline';
import { JOB_MIME, jobReference, type IJobReference } from './reference';

/** Whether a cell is one of code. Asks its model, which needs none of JupyterLab's code. */
export function isCodeCell(cell: Cell): cell is CodeCell {
  return cell.model.type === 'code';
}

/** The jobs that a cell's outputs show. */
export function outputsOf({ outputs }: ICodeCellModel): IJobReference[] {
  const found: IJobReference[] = [];
  for (let index = 0; index < outputs.length; index += 1) {
    const named = jobReference(outputs.get(index).data[JOB_MIME]);
    if (named) {
      found.push(named);
    }
  }
  return found;
}

/** Whether a job was launched from a cell with this text. */
export function isOrigin(
  source: string,
  { line, code }: Pick<JobDetail, 'line' | 'code'>
): boolean {
  const launch = launchLine(source);
  if (!launch || !code.trim()) {
    return false;
  }
  const body = source.slice(launch.magicStart + LAUNCH_MAGIC.length + launch.text.length);
  // IPython puts values in the place of `{name}` and `$name` before we see the line.
  const isExpanded = /[{$]/.test(launch.text);
  const sameLine = isExpanded || words(launch.text) === words(line);
  return sameLine && body.replace(/^\n/, '').trimEnd() === code.trimEnd();
}

function words(line: string): string {
  return line.trim().split(/\s+/).join(' ');
}

/**
 * Whether a job came from the notebook at `path`, which is relative to the server's folder.
 *
 * The kernel knows the whole path; a server whose folder lies elsewhere shows only the end of it.
 */
export function isFrom(job: Pick<JobItem, 'notebook'>, path: string): boolean {
  const known = (job.notebook ?? '').replaceAll('\\', '/');
  const asked = path.replace(/^\/+/, '');
  return asked !== '' && (known === asked || known.endsWith(`/${asked}`));
}
