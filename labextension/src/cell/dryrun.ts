/** What a launch cell would send and run, asked of the notebook's kernel and shown in a dialog. */

import { Dialog, type ISessionContext } from '@jupyterlab/apputils';
import { OutputAreaModel, SimplifiedOutputArea } from '@jupyterlab/outputarea';
import type { IRenderMimeRegistry } from '@jupyterlab/rendermime';
import type { Kernel } from '@jupyterlab/services';
import type { TranslationBundle } from '@jupyterlab/translation';
import { Panel, Widget } from '@lumino/widgets';

import { asDryRun } from '../editor/launchline';
import { free } from './free';

export interface IDryRunOptions {
  source: string;
  sessionContext: ISessionContext;
  rendermime: IRenderMimeRegistry;
  trans: TranslationBundle;
}

/** After this long without an answer a kernel is doing something else. */
const SILENCE_MS = 1000;

/** Why there cannot be a dry run; empty when there can. A busy kernel is waited for. */
export function hindrance(sessionContext: ISessionContext, trans: TranslationBundle): string {
  const kernel = sessionContext.session?.kernel;
  if (!kernel) {
    return trans.__('No kernel: a dry run looks at the variables of the notebook');
  }
  return kernel.status === 'dead' ? trans.__('The kernel is dead: restart it for a dry run') : '';
}

/**
 * Run the cell with `--dry-run`, and show what that says; resolves when the dialog is closed.
 *
 * It leaves no trace in the notebook and none in the kernel's history. A kernel that is busy is
 * asked once it is free, unless the dialog has been closed by then. Closing it later does not
 * interrupt the kernel.
 */
export async function dryRun(options: IDryRunOptions): Promise<void> {
  const { source, sessionContext, rendermime, trans } = options;
  const kernel = sessionContext.session?.kernel;
  const code = asDryRun(source);
  if (!kernel || code === null) {
    return;
  }
  const model = new OutputAreaModel();
  const area = new SimplifiedOutputArea({ model, rendermime: rendermime.clone() });
  const status = new Widget();
  status.addClass('aiinfra-dryrun-status');
  status.node.setAttribute('role', 'status');
  const body = new Panel();
  body.addClass('aiinfra-dryrun');
  body.addWidget(status);
  body.addWidget(area);
  const dialog = new Dialog({
    title: trans.__('Dry run: nothing is started'),
    body,
    hasClose: true,
    buttons: [Dialog.okButton({ label: trans.__('Close') })]
  });
  const closing = new AbortController();
  const over = dialog.launch().finally(() => closing.abort());
  const say = (text: string): void => {
    status.node.textContent = text;
  };
  const busy = trans.__('The kernel is busy: this begins when it is free.');
  if (kernel.status === 'busy') {
    say(busy);
  }
  await free(kernel, closing.signal);
  if (!closing.signal.aborted) {
    const looks = trans.__('The kernel looks at what the cell needs…');
    say(looks);
    // A part of the kernel that is free (a subshell) calls all of it idle: whether it is, its silence
    // tells.
    const late = setTimeout(() => say(busy), SILENCE_MS);
    const begun = (): void => {
      clearTimeout(late);
      say(looks);
    };
    closing.signal.addEventListener('abort', () => clearTimeout(late));
    const asked = ask(kernel, code, area, begun).then(
      () => '',
      // A kernel that is restarted, or dies, drops what it was asked.
      () => trans.__('The kernel was restarted, or ended, before it had answered.')
    );
    await Promise.race([asked.then(say), over]);
  }
  await over;
  model.dispose();
}

async function ask(
  kernel: Kernel.IKernelConnection,
  code: string,
  area: SimplifiedOutputArea,
  begun: () => void
): Promise<void> {
  // Loading it twice changes nothing; when it cannot be loaded, the second request says so.
  const load = kernel.requestExecute({
    code: '%load_ext jupyter_aiinfra',
    silent: true,
    store_history: false
  });
  await load.done;
  begun();
  if (area.isDisposed) {
    return;
  }
  const future = kernel.requestExecute({ code, store_history: false, stop_on_error: false });
  area.future = future;
  await future.done;
}
