/** The parts of a run's page beside its notebook: parameters, attempts, results. */

import type { TranslationBundle } from '@jupyterlab/translation';

import type { RunItem, Values } from '../api/types';
import { note } from '../jobpage/sections';
import { isRunActive, runStateText, valueText } from '../models/runwords';
import type { RunFinding } from '../models/schedulewire';
import type { IAiInfraApi, ResultForm } from '../tokens';
import { h } from '../widgets/dom';
import { plural } from '../widgets/format';

const FORMS: readonly ResultForm[] = ['ipynb', 'html', 'py', 'pdf'];

/** The values that the run was given; those of its version where it has none of its own. */
export async function parametersNode(
  run: RunItem,
  api: Pick<IAiInfraApi, 'schedule'>,
  trans: TranslationBundle
): Promise<HTMLElement> {
  let values: Values | null = run.parameters;
  let from = trans.__('Given for this run.');
  if (values === null) {
    const { versions } = await api.schedule(run.schedule);
    const version = versions.find(({ number }) => number === run.version);
    values = version?.parameters ?? null;
    from = trans.__('Those of version %1 of the schedule.', run.version);
  }
  if (values === null) {
    return note(trans.__('The version that it ran is no longer known.'));
  }
  const names = Object.keys(values);
  if (names.length === 0) {
    return note(trans.__('None is given: the notebook’s own values hold.'));
  }
  const rows = names.map(name =>
    h(
      'tr',
      {},
      h('th', { scope: 'row' }, name),
      h('td', {}, h('code', {}, valueText(values[name])))
    )
  );
  return h(
    'div',
    {},
    note(from),
    h('table', { class: 'aiinfra-JobPage-table' }, h('tbody', {}, ...rows))
  );
}

/** Every attempt is a job of its own. */
export function attemptsNode(
  run: RunItem,
  { trans, openJob }: { trans: TranslationBundle; openJob: (id: string) => void }
): HTMLElement {
  const launched = run.job !== null && run.started_at !== null ? [run.job] : [];
  const jobs = [...run.jobs, ...launched.filter(id => !run.jobs.includes(id))];
  if (jobs.length === 0) {
    return note(
      isRunActive(run) ? trans.__('Nothing has been launched yet.') : trans.__('Nothing was run.')
    );
  }
  const head = [trans.__('Attempt'), trans.__('Job'), trans.__('How it ended')];
  const rows = jobs.map((id, place) => {
    const isLast = place === jobs.length - 1 && run.attempt === place + 1;
    const link = h(
      'button',
      { type: 'button', class: 'aiinfra-RunPage-link', title: trans.__('Open job %1', id) },
      id
    );
    link.addEventListener('click', () => openJob(id));
    const how = isLast ? runStateText(run.state, trans) : trans.__('tried again');
    return h('tr', {}, h('td', {}, String(place + 1)), h('td', {}, link), h('td', {}, how));
  });
  const waits =
    run.state === 'queued' && run.attempt > jobs.length
      ? [note(trans.__('Attempt %1 waits for its time.', run.attempt))]
      : [];
  return h(
    'div',
    {},
    h(
      'table',
      { class: 'aiinfra-JobPage-table' },
      h('thead', {}, h('tr', {}, ...head.map(name => h('th', { scope: 'col' }, name)))),
      h('tbody', {}, ...rows)
    ),
    ...waits
  );
}

/** What was stored, to be downloaded, and what was masked in it. */
export function resultsNode(
  run: RunItem,
  options: {
    api: Pick<IAiInfraApi, 'runOutputUrl'>;
    findings: readonly RunFinding[];
    trans: TranslationBundle;
  }
): HTMLElement {
  const { api, findings, trans } = options;
  const files = filesOf(run);
  const parts: HTMLElement[] = [];
  if (files.size === 0) {
    parts.push(
      note(
        isRunActive(run)
          ? trans.__('What it makes is stored when it has ended.')
          : trans.__('Nothing is stored of it.')
      )
    );
  } else {
    const links = FORMS.map(form => {
      const link = h('a', { class: 'aiinfra-JobPage-button', download: '', rel: 'noopener' });
      link.textContent = formText(form, trans);
      link.href = api.runOutputUrl(run.id, form);
      return link;
    });
    parts.push(h('p', { class: 'aiinfra-RunPage-downloads' }, ...links));
    const rows = [...files].flatMap(([form, urls]) =>
      urls.map(url => h('tr', {}, h('th', { scope: 'row' }, form), h('td', {}, url)))
    );
    parts.push(
      h('h3', {}, trans.__('Where it lies')),
      h('table', { class: 'aiinfra-JobPage-table' }, h('tbody', {}, ...rows))
    );
  }
  const problems = problemsOf(run);
  if (problems.length > 0) {
    parts.push(
      h('h3', {}, trans.__('What could not be stored')),
      h('ul', {}, ...problems.map(text => h('li', {}, text)))
    );
  }
  return h('div', {}, ...parts, ...findingsNodes(findings, trans));
}

export function findingsText(findings: readonly RunFinding[], trans: TranslationBundle): string {
  const count = findings.reduce((sum, each) => sum + each.count, 0);
  const cells = [...new Set(findings.flatMap(({ cell }) => (cell === null ? [] : [cell])))];
  return count === 0
    ? ''
    : trans.__(
        '%1 masked, in %2',
        plural(count, 'secret'),
        cells.length === 1 ? trans.__('cell %1', cells[0]) : plural(cells.length, 'cell')
      );
}

function findingsNodes(findings: readonly RunFinding[], trans: TranslationBundle): HTMLElement[] {
  if (findings.length === 0) {
    return [];
  }
  const head = [trans.__('Cell'), trans.__('What'), trans.__('Times')];
  const rows = findings.map(({ cell, kind, count }) =>
    h(
      'tr',
      {},
      h('td', {}, cell === null ? trans.__('n/a') : String(cell)),
      h('td', {}, kind),
      h('td', { class: 'aiinfra-mod-number' }, String(count))
    )
  );
  return [
    h('h3', {}, trans.__('Secrets that were masked')),
    h(
      'table',
      { class: 'aiinfra-JobPage-table' },
      h('thead', {}, h('tr', {}, ...head.map(name => h('th', { scope: 'col' }, name)))),
      h('tbody', {}, ...rows)
    )
  ];
}

/** Whether anything is stored of it, by form. */
export function filesOf({ outputs }: RunItem): Map<string, string[]> {
  const found = new Map<string, string[]>();
  const { files } = outputs;
  if (typeof files === 'object' && files !== null) {
    for (const [form, urls] of Object.entries(files)) {
      const texts = Array.isArray(urls) ? urls.filter(url => typeof url === 'string') : [];
      if (texts.length > 0) {
        found.set(form, texts);
      }
    }
  }
  return found;
}

function problemsOf({ outputs }: RunItem): string[] {
  const { problems } = outputs;
  return Array.isArray(problems) ? problems.filter(text => typeof text === 'string') : [];
}

function formText(form: ResultForm, trans: TranslationBundle): string {
  const words: Record<ResultForm, string> = {
    ipynb: trans.__('Notebook'),
    html: trans.__('HTML'),
    py: trans.__('Script'),
    pdf: trans.__('PDF')
  };
  return words[form];
}
