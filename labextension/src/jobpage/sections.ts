/** The parts of a job's page beside its logs: plan, files and code. */

import type { TranslationBundle } from '@jupyterlab/translation';

import type { FileItem, JobDetail } from '../api/types';
import { RequestError } from '../request';
import { copyText, h } from '../widgets/dom';
import { plural, sizeText } from '../widgets/format';
import type { JobPageModel } from './pagemodel';
import { timeText } from './timeline';

const COPIED_MILLISECONDS = 1_500;

/** Shows what a request answers, or why there is no answer, with a way to ask again. */
export async function fill(
  node: HTMLElement,
  ask: () => Promise<HTMLElement>,
  trans: TranslationBundle
): Promise<void> {
  node.replaceChildren(note(trans.__('loading…')));
  let content: HTMLElement;
  try {
    content = await ask();
  } catch (error) {
    if (!(error instanceof RequestError)) {
      throw error;
    }
    const again = h(
      'button',
      { type: 'button', class: 'aiinfra-JobPage-button' },
      trans.__('Try again')
    );
    again.addEventListener('click', () => void fill(node, ask, trans));
    const hint = error.hint ? [note(error.hint)] : [];
    content = h('div', { role: 'alert' }, h('p', {}, error.message), ...hint, again);
  }
  node.replaceChildren(content);
}

/** What each node was told to do. */
export async function planNode(
  model: JobPageModel,
  trans: TranslationBundle
): Promise<HTMLElement> {
  const { text } = await model.api.plan(model.id);
  return textNode(text, trans.__('Plan'), trans);
}

/** The cell as it was launched. */
export function codeNode({ line, code }: JobDetail, trans: TranslationBundle): HTMLElement {
  if (code === '') {
    return note(trans.__('This job was not launched from a cell.'));
  }
  const magic = `%%accelerate ${line}`.trimEnd();
  return textNode(`${magic}\n${code}`, trans.__('Code'), trans);
}

/** The files of the run directory, each to be downloaded. */
export async function filesNode(
  model: JobPageModel,
  trans: TranslationBundle
): Promise<HTMLElement> {
  const files = await model.api.files(model.id);
  if (files.length === 0) {
    return note(trans.__('There are no files.'));
  }
  const size = files.reduce((sum, { size_bytes }) => sum + size_bytes, 0);
  const head = [trans.__('File'), trans.__('Size'), trans.__('Changed')];
  return h(
    'div',
    {},
    note(`${plural(files.length, 'file')}, ${sizeText(size)}`),
    h(
      'table',
      { class: 'aiinfra-JobPage-table' },
      h('thead', {}, h('tr', {}, ...head.map(name => h('th', { scope: 'col' }, name)))),
      h('tbody', {}, ...files.map(file => fileRow(file, model)))
    )
  );
}

export function note(text: string): HTMLElement {
  return h('p', { class: 'aiinfra-quiet' }, text);
}

function fileRow({ path, size_bytes, modified_at }: FileItem, model: JobPageModel): HTMLElement {
  const link = h('a', { class: 'aiinfra-JobPage-link', download: '', rel: 'noopener' }, path);
  link.href = model.api.fileUrl(model.id, path);
  return h(
    'tr',
    {},
    h('td', {}, link),
    h('td', { class: 'aiinfra-mod-number' }, sizeText(size_bytes)),
    h('td', {}, timeText(modified_at))
  );
}

function textNode(text: string, label: string, trans: TranslationBundle): HTMLElement {
  const copy = h('button', { type: 'button', class: 'aiinfra-JobPage-button' }, trans.__('Copy'));
  copy.addEventListener('click', () => {
    void copyText(text).then(done => {
      copy.textContent = done ? trans.__('Copied') : trans.__('Not copied');
      setTimeout(() => (copy.textContent = trans.__('Copy')), COPIED_MILLISECONDS);
    });
  });
  const pre = { class: 'aiinfra-text', tabindex: '0', role: 'region', 'aria-label': label };
  return h('div', { class: 'aiinfra-JobPage-text' }, copy, h('pre', pre, text));
}
