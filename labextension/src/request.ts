/** The one function that talks REST to our server extension. */

import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';

import type { HostKey } from './api/types';

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
  /** The option of a pool that is wrong, where it is one. */
  readonly option: string | null;
  /** What to run in a terminal first; empty where nothing helps that way. */
  readonly command: string;
  /** The key of a host that a person has to accept first, where that is why. */
  readonly hostKey: HostKey | null;

  constructor(
    failure: Failure,
    message: string,
    details: Partial<IRefusal> & { status?: number; cause?: unknown } = {}
  ) {
    super(message, { cause: details.cause });
    this.name = 'RequestError';
    this.failure = failure;
    this.hint = details.hint ?? '';
    this.status = details.status ?? null;
    this.option = details.option ?? null;
    this.command = details.command ?? '';
    this.hostKey = details.hostKey ?? null;
  }
}

/** What the server says of why it refused. */
interface IRefusal {
  hint: string;
  option: string | null;
  command: string;
  hostKey: HostKey | null;
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
    const { message, ...details } = refusal(body);
    throw new RequestError('refused', message || response.statusText || `HTTP ${status}`, {
      ...details,
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

function refusal(body: unknown): IRefusal & { message: string } {
  const given = (body ?? {}) as Record<string, unknown>;
  const text = (name: string): string => {
    const value = given[name];
    return typeof value === 'string' ? value : '';
  };
  return {
    message: text('message'),
    hint: text('hint'),
    option: text('option') || null,
    command: text('command'),
    hostKey: keyOf(given['host_key'])
  };
}

function keyOf(given: unknown): HostKey | null {
  if (typeof given !== 'object' || given === null) {
    return null;
  }
  const key = given as Record<keyof HostKey, unknown>;
  const texts = [key.host, key.key_type, key.fingerprint, key.line];
  return texts.every(text => typeof text === 'string') ? (given as HostKey) : null;
}
