/** The installation check as rows of text, and those rows as an element. */

import type { TranslationBundle } from '@jupyterlab/translation';

import type { Health } from '../api/health';
import { RequestError } from '../request';

export type Row = {
  readonly label: string;
  readonly value: string;
  /** Whether this is what is wrong. */
  readonly bad?: boolean;
};

export type Report = {
  readonly rows: readonly Row[];
  /** What to do next; empty when there is nothing to do. */
  readonly hint: string;
};

/** Say what a health report says, in the user's language. */
export function healthReport(health: Health, trans: TranslationBundle): Report {
  const { store } = health;
  return {
    rows: [
      { label: trans.__('Version'), value: health.version },
      store.ok
        ? { label: trans.__('Database'), value: trans.__('reachable (%1)', store.url) }
        : {
            label: trans.__('Database'),
            value: trans.__('not usable (%1): %2', store.url, store.message),
            bad: true
          },
      { label: trans.__('Attached pools'), value: known(health.pools, trans) },
      { label: trans.__('Running jobs'), value: known(health.jobs.active, trans) }
    ],
    hint: store.hint
  };
}

/** Say why no health report came. */
export function errorReport(error: RequestError, trans: TranslationBundle): Report {
  return {
    rows: [{ label: outcome(error, trans), value: error.message, bad: true }],
    hint: error.hint || advice(error, trans)
  };
}

/** Draw a report: a description list, and the hint below it. */
export function createReport(report: Report): HTMLElement {
  const element = document.createElement('div');
  const list = element.appendChild(document.createElement('dl'));
  list.className = 'aiinfra-report';
  for (const row of report.rows) {
    list.appendChild(document.createElement('dt')).textContent = row.label;
    const value = list.appendChild(document.createElement('dd'));
    value.textContent = row.value;
    value.dataset.status = row.bad ? 'bad' : 'good';
  }
  if (report.hint) {
    const hint = element.appendChild(document.createElement('p'));
    hint.className = 'aiinfra-hint';
    hint.textContent = report.hint;
  }
  return element;
}

function known(count: number | null, trans: TranslationBundle): string {
  return count === null ? trans.__('unknown') : String(count);
}

function outcome(error: RequestError, trans: TranslationBundle): string {
  switch (error.failure) {
    case 'unreachable':
      return trans.__('No answer');
    case 'refused':
      return trans.__('Refused (%1)', error.status);
    case 'unexpected':
      return trans.__('Answer not understood');
  }
}

function advice(error: RequestError, trans: TranslationBundle): string {
  if (error.failure === 'unreachable') {
    return trans.__('Check that the Jupyter server is running.');
  }
  if (error.failure === 'unexpected') {
    return trans.__(
      'The server and this page have different versions: reload the page, or restart the server.'
    );
  }
  if (error.status === 404) {
    return trans.__(
      'The server extension is not running: see "jupyter server extension list", then restart the server.'
    );
  }
  if (error.status === 403) {
    return trans.__('Log in to the Jupyter server again.');
  }
  return trans.__('The log of the Jupyter server says more.');
}
