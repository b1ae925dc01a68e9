/** The one function that talks REST to our server extension. */

import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';

/** The base path of every endpoint of ours, below the server's base URL. */
export const NAMESPACE = 'aiinfra';

/** How a request failed. */
export type Failure =
  /** No answer came: the server is down, or the network is. */
  | 'unreachable'
  /** The server answered with an error status. */
  | 'refused'
  /** The answer is not what this version of the front end understands. */
  | 'unexpected';

/** Any failed request. `message` says what is wrong, `hint` what to do next (it may be empty). */
export class RequestError extends Error {
  readonly failure: Failure;
  readonly hint: string;
  /** The HTTP status; `null` when no answer came. */
  readonly status: number | null;

  constructor(
    failure: Failure,
    message: string,
    details: { hint?: string; status?: number; cause?: unknown } = {}
  ) {
    super(message, { cause: details.cause });
    this.name = 'RequestError';
    this.failure = failure;
    this.hint = details.hint ?? '';
    this.status = details.status ?? null;
  }
}

export interface IRequestOptions<T> {
  settings: ServerConnection.ISettings;
  /** Checks the decoded answer and gives it its type; throws when it is something else. */
  parse: (body: unknown) => T;
  /** Method, body and so on; a GET when left out. */
  init?: RequestInit;
}

/**
 * Send a request to an endpoint of ours (`path` is below `/aiinfra`) and return the parsed answer.
 *
 * Authentication and the XSRF header are `ServerConnection`'s. Rejects with a `RequestError` only.
 */
export async function request<T>(path: string, options: IRequestOptions<T>): Promise<T> {
  const { settings, parse, init = {} } = options;
  const url = URLExt.join(settings.baseUrl, NAMESPACE, path);

  let response: Response;
  let text: string;
  try {
    response = await ServerConnection.makeRequest(url, init, settings);
    text = await response.text();
  } catch (cause) {
    throw new RequestError('unreachable', reason(cause), { cause });
  }

  const { status } = response;
  const body = decode(text);
  if (!response.ok) {
    const { message, hint } = refusal(body);
    throw new RequestError('refused', message || response.statusText || `HTTP ${status}`, {
      hint,
      status
    });
  }
  try {
    return parse(body);
  } catch (cause) {
    throw new RequestError('unexpected', reason(cause), { status, cause });
  }
}

function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The decoded JSON, or `undefined` for what is none (a proxy's own error page, say). */
function decode(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

function refusal(body: unknown): { message: string; hint: string } {
  const { message, hint } = (body ?? {}) as Record<string, unknown>;
  return {
    message: typeof message === 'string' ? message : '',
    hint: typeof hint === 'string' ? hint : ''
  };
}
