/** A call of an endpoint through this server. */

import { ServerConnection } from '@jupyterlab/services';

import { RequestError } from '../request';
import type { IEndpointAnswer } from '../tokens';

export interface ICallOptions {
  settings: ServerConnection.ISettings;
  /** JSON, as it is sent. */
  body: string;
  signal?: AbortSignal;
}

/** Ask it. Whatever status it answers with is an answer; `RequestError` is that none came. */
export async function callEndpoint(
  url: string,
  { settings, body, signal }: ICallOptions
): Promise<IEndpointAnswer> {
  const began = performance.now();
  try {
    const headers = { 'Content-Type': 'application/json' };
    const init = { method: 'POST', body, headers, ...(signal && { signal }) };
    const response = await ServerConnection.makeRequest(url, init, settings);
    const text = await response.text();
    return {
      status: response.status,
      statusText: response.statusText,
      milliseconds: performance.now() - began,
      version: response.headers.get('X-Endpoint-Version'),
      kind: response.headers.get('Content-Type') ?? '',
      text
    };
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : String(cause);
    throw new RequestError('unreachable', message, { cause });
  }
}
