import { ServerConnection } from '@jupyterlab/services';
import { beforeEach, expect, it, vi } from 'vitest';

import type { IAiInfraApi } from '../../tokens';
import { ApiClient } from '../client';
import { callEndpoint } from '../endpointcall';

const asked: string[] = [];
let answer: unknown;

const settings = ServerConnection.makeSettings({
  baseUrl: 'http://localhost:8888/lab/',
  fetch: async (input, init) => {
    const request = input instanceof Request ? input : new Request(input, init);
    const body = await request.text();
    const path = request.url.replace(/^.*\/aiinfra\//, '').replace(/[?&]\d{13}$/, '');
    asked.push([request.method, path, body].filter(Boolean).join(' '));
    return new Response(answer === undefined ? null : JSON.stringify(answer), {
      status: answer === undefined ? 204 : 200
    });
  }
});
const api: IAiInfraApi = new ApiClient(settings);

beforeEach(() => {
  asked.length = 0;
  answer = {};
});

it('asks for cost where the server tells it', async () => {
  await api.costNow();
  await api.cost({ period: 'month', by: 'project', pool: 'a b' });
  await api.whatif('0abc');
  answer = [];
  await api.jobCosts(['1', '2']);
  await api.prices({ search: 'h100' });
  await api.poolPrices('lab');
  expect(asked).toEqual([
    'GET cost/now',
    'GET cost?period=month&by=project&pool=a+b',
    'GET jobs/0abc/whatif',
    'GET cost/jobs?ids=1%2C2',
    'GET cost/prices?search=h100',
    'GET pools/lab/price'
  ]);
  expect(api.costExportUrl({ start: 1, end: 2 })).toBe(
    'http://localhost:8888/lab/aiinfra/cost/export?start=1&end=2'
  );
});

it('says what prices, tags and idle rules are', async () => {
  await api.setPoolPrice('lab', { price: '2.49/gpu-h' });
  await api.setTags('0abc', { tags: { project: 'vision' } });
  answer = undefined;
  await api.setIdle('lab', null);
  expect(asked).toEqual([
    'POST pools/lab/price {"price":"2.49/gpu-h"}',
    'PUT jobs/0abc/tags {"tags":{"project":"vision"}}',
    'PUT idle/lab {"rule":null}'
  ]);
});

it('sets, snoozes, stops and forgets budgets', async () => {
  await api.setBudget({ amount: '20usd', scope: 'all' });
  await api.budget('b/1');
  await api.snoozeBudget('b1', null);
  answer = { stopped: ['0abc'] };
  expect(await api.stopBudgetJobs('b1')).toEqual(['0abc']);
  answer = { type: 'budgets', budgets: [{ id: 'b1' }] };
  expect(await api.budgets()).toEqual([{ id: 'b1' }]);
  answer = { jobs: [] };
  await api.idle('lab');
  answer = undefined;
  await api.removeBudget('b1');
  expect(asked).toEqual([
    'POST budgets {"amount":"20usd","scope":"all"}',
    'GET budgets/b%2F1',
    'POST budgets/b1/snooze {"seconds":null}',
    'POST budgets/b1/stop',
    'GET budgets',
    'GET idle?pool=lab',
    'DELETE budgets/b1'
  ]);
});

it('asks for schedules and their runs', async () => {
  answer = { schedules: [] };
  expect(await api.schedules({ removed: true })).toEqual([]);
  answer = {};
  await api.schedule('s1');
  await api.previewSchedule({ notebook: 'a.ipynb', pool: 'lab' }, { schedule: 's1' });
  await api.addSchedule({ notebook: 'a.ipynb', pool: 'lab' });
  await api.editSchedule('s1', { note: 'sooner' });
  await api.pauseSchedule('s1', 'holidays');
  await api.resumeSchedule('s1');
  await api.rollbackSchedule('s1', 2);
  await api.restoreSchedule('s1');
  await api.duplicateSchedule('s1', 'copy');
  await api.runSchedule('s1', { lr: 0.1 });
  await api.versionDiff('s1', 1, 2);
  await api.runs({ schedule: 's1', state: 'failed,lost', limit: 50 });
  await api.cancelRun('r1');
  await api.rerun('r1');
  await api.runNotebook('r1');
  await api.compareRuns('r1', 'r2');
  answer = undefined;
  await api.removeSchedule('s1');
  await api.removeRun('r1');
  expect(asked).toEqual([
    'GET schedules?removed=true',
    'GET schedules/s1',
    'POST schedule-preview?schedule=s1 {"notebook":"a.ipynb","pool":"lab"}',
    'POST schedules {"notebook":"a.ipynb","pool":"lab"}',
    'PUT schedules/s1 {"note":"sooner"}',
    'POST schedules/s1/pause {"reason":"holidays"}',
    'POST schedules/s1/resume',
    'POST schedules/s1/rollback {"number":2}',
    'POST schedules/s1/restore',
    'POST schedules/s1/duplicate {"name":"copy"}',
    'POST schedules/s1/run {"parameters":{"lr":0.1}}',
    'GET schedules/s1/diff?from=1&to=2',
    'GET runs?schedule=s1&state=failed%2Clost&limit=50',
    'POST runs/r1/cancel',
    'POST runs/r1/rerun',
    'GET runs/r1/notebook',
    'GET runs/r1/compare/r2',
    'DELETE schedules/s1',
    'DELETE runs/r1'
  ]);
  expect(api.runOutputUrl('r1', 'html')).toBe(
    'http://localhost:8888/lab/aiinfra/runs/r1/output?form=html'
  );
});

it('serves endpoints where the server says', async () => {
  await api.promoteEndpoint('e1');
  await api.rollbackEndpoint('e1');
  await api.rollbackEndpoint('e1', { to: 2, reason: 'slow' });
  await api.splitEndpoint('e1', { '1': 90, '2': 10 });
  await api.scaleEndpoint('e1', { least: 0, most: 2 });
  await api.restoreEndpoint('e1');
  await api.addEndpointKey('e1', { name: 'anna' });
  await api.rotateEndpointKey('e1', 'k 1');
  await api.revokeEndpointKey('e1', 'k');
  answer = { endpoints: [] };
  expect(await api.endpoints({ removed: true })).toEqual([]);
  answer = undefined;
  await api.removeEndpoint('e1');
  expect(asked).toEqual([
    'POST endpoint/e1/promote',
    'POST endpoint/e1/rollback {"to":null,"reason":""}',
    'POST endpoint/e1/rollback {"to":2,"reason":"slow"}',
    'POST endpoint/e1/traffic {"weights":{"1":90,"2":10}}',
    'POST endpoint/e1/scale {"least":0,"most":2}',
    'POST endpoint/e1/restore',
    'POST endpoint/e1/keys {"name":"anna"}',
    'POST endpoint/e1/keys/k%201/rotate',
    'DELETE endpoint/e1/keys/k',
    'GET endpoints?removed=true',
    'DELETE endpoint/e1'
  ]);
});

it('takes whatever an endpoint answers for an answer', async () => {
  const fetched = vi.fn<typeof fetch>(() =>
    Promise.resolve(
      new Response('{"error": "no"}', {
        status: 400,
        statusText: 'Bad Request',
        headers: { 'X-Endpoint-Version': '3', 'Content-Type': 'application/json' }
      })
    )
  );
  const url = 'http://localhost:8888/aiinfra/endpoints/digits/predict';
  const call = { settings: { ...settings, baseUrl: 'http://localhost:8888/', fetch: fetched } };
  expect(await callEndpoint(url, { ...call, body: '{}' })).toMatchObject({
    status: 400,
    statusText: 'Bad Request',
    version: '3',
    kind: 'application/json',
    text: '{"error": "no"}'
  });
  const [sent] = fetched.mock.calls[0] ?? [];
  expect(sent instanceof Request && sent.headers.get('Content-Type')).toBe('application/json');
  fetched.mockRejectedValue(new TypeError('connection refused'));
  await expect(callEndpoint(url, { ...call, body: '{}' })).rejects.toMatchObject({
    failure: 'unreachable'
  });
  expect(api.endpointUrl('digits', 'v2/health/ready')).toBe(
    'http://localhost:8888/lab/aiinfra/endpoints/digits/v2/health/ready'
  );
});
