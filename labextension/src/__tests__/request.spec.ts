import { ServerConnection } from '@jupyterlab/services';
import { describe, expect, it } from 'vitest';

import { request, RequestError } from '../request';

type Sent = { method: string; path: string; authorization: string | null; body: string };

/** Connection settings whose `fetch` answers with `answer` and keeps what was sent. */
function connection(answer: () => Response | Promise<Response>): {
  settings: ServerConnection.ISettings;
  sent: Sent[];
} {
  const sent: Sent[] = [];
  const fetch = async (input: RequestInfo | URL, init?: RequestInit): Promise<Response> => {
    const request = new Request(input, init);
    sent.push({
      method: request.method,
      path: new URL(request.url).pathname,
      authorization: request.headers.get('Authorization'),
      body: await request.text()
    });
    return answer();
  };
  const settings = ServerConnection.makeSettings({
    baseUrl: 'http://127.0.0.1:8888/user/a%40b/',
    token: 'secret',
    fetch
  });
  return { settings, sent };
}

const json = (body: unknown, status = 200): Response =>
  new Response(JSON.stringify(body), { status });

const asIs = (body: unknown): unknown => body;

async function failure(promise: Promise<unknown>): Promise<RequestError> {
  const error = await promise.then(
    () => expect.fail('the request did not fail'),
    (reason: unknown) => reason
  );
  expect(error).toBeInstanceOf(RequestError);
  return error as RequestError;
}

describe('request', () => {
  it('asks below the base URL, with the token, and returns what parse makes of the answer', async () => {
    const { settings, sent } = connection(() => json({ n: 3 }));
    const parse = (body: unknown): number => (body as { n: number }).n;

    expect(await request('health', { settings, parse })).toBe(3);

    expect(sent).toEqual([
      { method: 'GET', path: '/user/a%40b/aiinfra/health', authorization: 'token secret', body: '' }
    ]);
  });

  it('sends method and body', async () => {
    const { settings, sent } = connection(() => json({}));
    const init = { method: 'POST', body: '{"a":1}' };

    await request('jobs', { settings, parse: asIs, init });

    expect(sent[0]).toMatchObject({ method: 'POST', body: '{"a":1}' });
  });

  it('passes on message and hint of an error of ours', async () => {
    const { settings } = connection(() => json({ message: 'no pool', hint: 'attach one' }, 404));

    const error = await failure(request('x', { settings, parse: asIs }));

    expect(error).toMatchObject({
      failure: 'refused',
      status: 404,
      message: 'no pool',
      hint: 'attach one'
    });
  });

  it('names the status where the error is not ours', async () => {
    const page = new Response('<h1>Bad gateway</h1>', { status: 502, statusText: 'Bad Gateway' });
    const { settings } = connection(() => page);

    const error = await failure(request('x', { settings, parse: asIs }));

    expect(error).toMatchObject({ status: 502, message: 'Bad Gateway', hint: '' });
  });

  it('says so when no answer comes', async () => {
    const { settings } = connection(() => Promise.reject(new TypeError('Failed to fetch')));

    const error = await failure(request('x', { settings, parse: asIs }));

    expect(error).toMatchObject({ failure: 'unreachable', status: null });
    expect(error.message).toContain('Failed to fetch');
  });

  it('says so when the answer is not JSON, or not what was expected', async () => {
    const { settings } = connection(() => new Response('hello'));
    const parse = (body: unknown): never => {
      throw new TypeError(`not a report: ${typeof body}`);
    };

    const error = await failure(request('x', { settings, parse }));

    expect(error).toMatchObject({
      failure: 'unexpected',
      status: 200,
      message: 'not a report: undefined'
    });
  });
});
