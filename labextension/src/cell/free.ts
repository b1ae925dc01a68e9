/** Waiting for a kernel. */

import type { Kernel } from '@jupyterlab/services';

/** Resolves when the kernel has nothing to do, or `signal` says that it does not matter. */
export async function free(kernel: Kernel.IKernelConnection, signal: AbortSignal): Promise<void> {
  await new Promise<void>(resolve => {
    const look = (): void => {
      if (signal.aborted || kernel.isDisposed || kernel.status !== 'busy') {
        kernel.statusChanged.disconnect(look);
        signal.removeEventListener('abort', look);
        resolve();
      }
    };
    kernel.statusChanged.connect(look);
    signal.addEventListener('abort', look);
    look();
  });
}
