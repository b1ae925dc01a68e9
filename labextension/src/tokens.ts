/** What our plugins give to each other, and to other extensions. */

import { Token } from '@lumino/coreutils';

import type { Health } from './api/health';

/** The commands other extensions may call. */
export const CommandIDs = {
  check: 'aiinfra:check'
} as const;

/** The server extension, as the front end knows it: one method a question. */
export interface IAiInfraApi {
  /**
   * Ask whether the installation works.
   *
   * Rejects with a `RequestError` when the server refuses, does not answer, or answers something
   * that is not a health report. A database that cannot be reached is a report, not a rejection.
   */
  health(): Promise<Health>;
}

export const IAiInfraApi = new Token<IAiInfraApi>(
  'jupyter-aiinfra:IAiInfraApi',
  'The REST endpoints of the AI Infra server extension.'
);
