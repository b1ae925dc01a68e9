import { Dialog, showDialog } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import { Widget } from '@lumino/widgets';

import type { RequestError } from '../request';

/** Say in a dialog what was refused, and what to do about it: whole, where a toast cuts it. */
export async function showProblem(
  title: string,
  error: RequestError,
  trans: TranslationBundle
): Promise<void> {
  const node = document.createElement('div');
  node.appendChild(document.createElement('p')).textContent = error.message;
  if (error.hint) {
    const hint = node.appendChild(document.createElement('p'));
    hint.className = 'aiinfra-hint';
    hint.textContent = error.hint;
  }
  await showDialog({
    title,
    body: new Widget({ node }),
    buttons: [Dialog.okButton({ label: trans.__('Close') })]
  });
}
