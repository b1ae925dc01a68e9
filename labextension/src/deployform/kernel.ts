/** What the kernel of a notebook is asked by the form: what it has, and to run the line. */

import type { ISessionContext } from '@jupyterlab/apputils';
import type { Kernel, KernelMessage } from '@jupyterlab/services';
import type { TranslationBundle } from '@jupyterlab/translation';

import { free } from '../cell/free';
import { RequestError } from '../request';

export interface ISource {
  name: string;
  kind: 'function' | 'module';
  /** Its signature, or its class. */
  text: string;
  /** How many calls of it are recorded. */
  calls: number;
}

export interface IExample {
  name: string;
  text: string;
}

export interface IServable {
  sources: readonly ISource[];
  examples: readonly IExample[];
}

const LOOK = '__import__("jupyter_aiinfra.magics.servable", fromlist=["servable"]).servable()';

/** Asks the kernel that a notebook has at the moment of asking; rejects with `RequestError` only. */
export class NotebookKernel {
  constructor(
    private readonly _session: ISessionContext,
    private readonly _trans: TranslationBundle
  ) {}

  get isBusy(): boolean {
    return this._session.session?.kernel?.status === 'busy';
  }

  /** What it has that can be served; a kernel that is busy is waited for. */
  async look(signal: AbortSignal): Promise<IServable> {
    const kernel = await this._free(signal);
    const reply = await this._ask(kernel, {
      code: '',
      silent: true,
      store_history: false,
      user_expressions: { found: LOOK }
    });
    const found = reply.status === 'ok' ? reply.user_expressions['found'] : undefined;
    const told = found as { status?: string; data?: Record<string, unknown> } | undefined;
    const value = told?.data?.['application/json'];
    if (told?.status !== 'ok' || typeof value !== 'object' || value === null) {
      throw new RequestError(
        'refused',
        this._trans.__('This kernel cannot say what it has: jupyter_aiinfra is not there.'),
        { hint: this._trans.__('pip install jupyter_aiinfra where the kernel runs; it is Python.') }
      );
    }
    return value as IServable;
  }

  /** Run a line, and hand on what it says meanwhile; neither the notebook nor its history has it. */
  async run(line: string, say: (text: string) => void, signal: AbortSignal): Promise<void> {
    const kernel = await this._free(signal);
    // Loading it twice changes nothing; when it cannot be loaded, the line itself says so.
    const load = { code: '%load_ext jupyter_aiinfra', silent: true, store_history: false };
    await this._ask(kernel, load);
    const asked = { code: line, store_history: false, stop_on_error: false };
    const reply = await this._ask(kernel, asked, say);
    if (reply.status === 'error') {
      throw refusalOf(reply);
    }
    if (reply.status !== 'ok') {
      throw new RequestError('refused', this._trans.__('The kernel gave it up.'));
    }
  }

  private async _free(signal: AbortSignal): Promise<Kernel.IKernelConnection> {
    const trans = this._trans;
    const kernel = this._session.session?.kernel;
    if (!kernel) {
      throw new RequestError('refused', trans.__('The notebook has no kernel.'), {
        hint: trans.__('Choose one, and run the cells that make what is to be served.')
      });
    }
    if (kernel.status === 'dead') {
      throw new RequestError('refused', trans.__('The kernel of the notebook is dead.'), {
        hint: trans.__('Restart it, and run the cells that make what is to be served.')
      });
    }
    await free(kernel, signal);
    if (signal.aborted) {
      throw new RequestError('refused', trans.__('It was given up before the kernel was free.'));
    }
    return kernel;
  }

  private async _ask(
    kernel: Kernel.IKernelConnection,
    content: KernelMessage.IExecuteRequestMsg['content'],
    say: (text: string) => void = () => undefined
  ): Promise<KernelMessage.IExecuteReplyMsg['content']> {
    const future = kernel.requestExecute(content);
    future.onIOPub = ({ header, content: said }): void => {
      if (header.msg_type === 'stream' && 'text' in said && typeof said.text === 'string') {
        say(said.text);
      }
    };
    let reply: KernelMessage.IExecuteReplyMsg | undefined;
    try {
      reply = await future.done;
    } catch (cause) {
      // A kernel that is restarted, or dies, drops what it was asked.
      const message = this._trans.__('The kernel was restarted, or ended, before it had answered.');
      throw new RequestError('unreachable', message, { cause });
    }
    if (reply === undefined) {
      throw new RequestError('unreachable', this._trans.__('The kernel did not answer.'));
    }
    return reply.content;
  }
}

/** An error of a verb as it is told in a cell: what is wrong, and below it what to do. */
export function refusalOf({
  ename,
  evalue,
  traceback
}: KernelMessage.IReplyErrorContent): RequestError {
  const [head, ...rest] = traceback;
  const isOurs = head === `${ename}: ${evalue}`;
  return isOurs
    ? new RequestError('refused', evalue, { hint: rest.map(line => line.trim()).join(' ') })
    : new RequestError('refused', `${ename}: ${evalue}`);
}
