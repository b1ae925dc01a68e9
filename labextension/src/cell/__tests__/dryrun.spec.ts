import type { ISessionContext } from '@jupyterlab/apputils';
import { RenderMimeRegistry, standardRendererFactories } from '@jupyterlab/rendermime';
import { nullTranslator } from '@jupyterlab/translation';
import { Signal } from '@lumino/signaling';
import { afterEach, describe, expect, it, vi } from 'vitest';

import { closeDialogs } from '../../__tests__/dialogs';
import { dryRun, hindrance } from '../dryrun';

const trans = nullTranslator.load('jupyter_aiinfra');

interface IRequest {
  code: string;
  silent?: boolean;
  store_history?: boolean;
}

/** A kernel that prints a line for whatever it is asked, once `answer` is called. */
class FakeKernel {
  status = 'idle';
  readonly isDisposed = false;
  readonly statusChanged = new Signal<this, string>(this);
  readonly asked: IRequest[] = [];
  private _answers: (() => void)[] = [];
  private _refusals: (() => void)[] = [];

  requestExecute(content: IRequest): unknown {
    this.asked.push(content);
    const future = {
      onIOPub: (_message: unknown): void => undefined,
      done: new Promise<void>((resolve, reject) => {
        this._refusals.push(() => reject(new Error('Canceled future')));
        this._answers.push(() => {
          future.onIOPub({
            header: { msg_type: 'stream' },
            content: { name: 'stdout', text: `did: ${content.code}\n` }
          });
          resolve();
        });
      }),
      dispose: () => undefined
    };
    return future;
  }

  turn(status: string): void {
    this.status = status;
    this.statusChanged.emit(status);
  }

  /** As a kernel's connection does when the kernel is restarted. */
  drop(): void {
    this._refusals.forEach(refuse => refuse());
  }

  async answer(): Promise<void> {
    await vi.waitFor(() => expect(this._answers).toHaveLength(1));
    this._answers.pop()?.();
  }
}

function session(kernel: FakeKernel | null): ISessionContext {
  return { session: kernel && { kernel } } as unknown as ISessionContext;
}

afterEach(() => {
  closeDialogs();
});

describe('a dry run', () => {
  it('loads the magics, runs the cell without a trace, and shows what that says', async () => {
    const kernel = new FakeKernel();
    const over = dryRun({
      source: '%%accelerate here --procs 2\nx',
      sessionContext: session(kernel),
      rendermime: new RenderMimeRegistry({ initialFactories: standardRendererFactories }),
      trans
    });
    await kernel.answer();
    await kernel.answer();

    expect(kernel.asked).toEqual([
      { code: '%load_ext jupyter_aiinfra', silent: true, store_history: false },
      {
        code: '%%accelerate --dry-run here --procs 2\nx',
        store_history: false,
        stop_on_error: false
      }
    ]);
    await vi.waitFor(() => {
      const body = document.querySelector('.aiinfra-dryrun')?.textContent;
      expect(body).toContain('did: %%accelerate --dry-run here --procs 2');
      expect(body).not.toContain('did: %load_ext');
    });
    document.querySelector<HTMLButtonElement>('button.jp-mod-accept')?.click();
    await over;
    expect(document.querySelector('.jp-Dialog')).toBeNull();
  });

  it('says that the kernel was restarted meanwhile', async () => {
    const kernel = new FakeKernel();
    const over = dryRun({
      source: '%%accelerate here',
      sessionContext: session(kernel),
      rendermime: new RenderMimeRegistry(),
      trans
    });
    await vi.waitFor(() => expect(kernel.asked).toHaveLength(1));
    kernel.drop();
    await vi.waitFor(() =>
      expect(document.querySelector('.aiinfra-dryrun [role=status]')?.textContent).toContain(
        'was restarted'
      )
    );
    document.querySelector<HTMLButtonElement>('button.jp-mod-accept')?.click();
    await over;
  });

  it('may be closed before the kernel has answered', async () => {
    const kernel = new FakeKernel();
    const over = dryRun({
      source: '%%accelerate here',
      sessionContext: session(kernel),
      rendermime: new RenderMimeRegistry(),
      trans
    });
    await vi.waitFor(() => expect(document.querySelector('.jp-Dialog')).not.toBeNull());
    document.querySelector<HTMLButtonElement>('button.jp-mod-accept')?.click();
    await over;
    await kernel.answer();
    await Promise.resolve();
    expect(kernel.asked).toHaveLength(1);
  });

  it('waits for a kernel that is busy, and says so', async () => {
    const kernel = new FakeKernel();
    kernel.turn('busy');
    const over = dryRun({
      source: '%%accelerate here',
      sessionContext: session(kernel),
      rendermime: new RenderMimeRegistry(),
      trans
    });
    const said = (): string | null | undefined =>
      document.querySelector('.aiinfra-dryrun [role=status]')?.textContent;
    await vi.waitFor(() => expect(said()).toContain('The kernel is busy'));
    expect(kernel.asked).toEqual([]);
    kernel.turn('idle');
    await vi.waitFor(() => expect(kernel.asked).toHaveLength(1));
    expect(said()).toContain('looks at what the cell needs');
    document.querySelector<HTMLButtonElement>('button.jp-mod-accept')?.click();
    await over;
  });

  it('asks nothing of a kernel that was busy until the dialog was closed', async () => {
    const kernel = new FakeKernel();
    kernel.turn('busy');
    const over = dryRun({
      source: '%%accelerate here',
      sessionContext: session(kernel),
      rendermime: new RenderMimeRegistry(),
      trans
    });
    await vi.waitFor(() => expect(document.querySelector('.jp-Dialog')).not.toBeNull());
    document.querySelector<HTMLButtonElement>('button.jp-mod-accept')?.click();
    await over;
    kernel.turn('idle');
    await Promise.resolve();
    expect(kernel.asked).toEqual([]);
  });
});

describe('what is in its way', () => {
  it('is a kernel that is not there, or dead', () => {
    expect(hindrance(session(null), trans)).toContain('No kernel');
    const kernel = new FakeKernel();
    kernel.turn('dead');
    expect(hindrance(session(kernel), trans)).toContain('dead');
    kernel.turn('busy');
    expect(hindrance(session(kernel), trans)).toBe('');
  });
});
