import { ServerConnection } from '@jupyterlab/services';
import { beforeEach, expect, it } from 'vitest';

import type { IAiInfraApi } from '../../tokens';
import { ApiClient } from '../client';

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
