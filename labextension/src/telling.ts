/** Doing something for the user, who is told when it is refused. */

import type { TranslationBundle } from '@jupyterlab/translation';

import { RequestError } from './request';

/** Do it; a refusal is told in a dialog, and the answer is then `null`. */
export async function telling<T>(
  title: string,
  trans: TranslationBundle,
  work: () => Promise<T>
): Promise<T | null> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof RequestError)) {
      throw error;
    }
    const { showProblem } = await import('./components/problem');
    await showProblem(title, error, trans);
    return null;
  }
}
