import { nullTranslator } from '@jupyterlab/translation';
import axe from 'axe-core';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { fakeApi, FakeStream } from '../../__tests__/fakes';
import { budget, dollars, jobCost } from '../../__tests__/samples';
import type { JobCostItem, JobDetail, WhatIfItem, WhatIfReport } from '../../api/types';
import { jobDetail } from '../../cell/__tests__/jobs';
import { BudgetsModel } from '../../models/budgets';
import { RequestError } from '../../request';
import { CostSection } from '../costsection';
import { JobPageModel } from '../pagemodel';

const trans = nullTranslator.load('jupyter_aiinfra');
const whatif = vi.fn<(id: string) => Promise<WhatIfReport>>();
const onBudget = vi.fn();
let stream: FakeStream;
let model: JobPageModel;
let section: CostSection;

function option(values: Partial<WhatIfItem> = {}): WhatIfItem {
  return {
    pool: 'lab',
    ranks: 2,
    nodes: 1,
    gpu: 'H100',
    spot: false,
    bf16: false,
    measured: false,
    hourly: dollars('4.98'),
    step_seconds: 0.5,
    seconds: 3_600,
    cost: dollars('4.98'),
    assumes: [],
    problem: '',
    ...values
  };
}

function report(...options: WhatIfItem[]): WhatIfReport {
  return {
    job: '0abc',
    steps: 1_000,
    step_seconds: 0.5,
    overhead_seconds: 40,
    options,
    notes: ['pool far is left out: it does not answer']
  };
}

async function open(
  cost: JobCostItem | null,
  detail: Partial<JobDetail> = {},
  state: 'running' | 'succeeded' = 'running'
): Promise<HTMLElement> {
  stream = new FakeStream();
  const told = jobDetail({ state }, { cost, ...detail });
  const api = fakeApi({
    job: () => Promise.resolve(told),
    logRows: () => Promise.reject(new RequestError('refused', 'no log')),
    jobCosts: () => Promise.resolve([]),
    whatif
  });
  model = new JobPageModel({ api, stream, id: '0abc' });
  const budgets = new BudgetsModel({ api, stream });
  section = new CostSection({ model, budgets, trans, onBudget, onCost: null });
  model.changed.connect(() => section.update());
  document.body.append(section.node);
  await vi.waitFor(() => expect(model.detail).not.toBeNull());
  section.visible = true;
  await vi.waitFor(() => expect(section.node.textContent).not.toContain('What if…loading…'));
  return section.node;
}

function facts(node: HTMLElement): Record<string, string> {
  const texts = (tag: string): string[] =>
    [...node.querySelectorAll(tag)].map(each => each.textContent);
  const values = texts('dd');
  return Object.fromEntries(texts('dt').map((name, at) => [name, values[at] ?? '']));
}

const cells = (node: Element | null): string[] =>
  [...(node?.querySelectorAll('td') ?? [])].map(each => each.textContent);

beforeEach(() => {
  whatif.mockReset();
  whatif.mockResolvedValue(report());
  onBudget.mockReset();
});

afterEach(() => {
  section.dispose();
  model.dispose();
  document.body.replaceChildren();
});

describe('the cost of a job', () => {
  it('is told in full', async () => {
    const cost = jobCost('0abc', {
      step_cost: dollars('0.0021', '$0.0021'),
      projected: dollars('6.5'),
      used_seconds: 1_800,
      idle_seconds: 900
    });
    const told = facts(await open(cost, { tags: { project: 'vision' } }));
    expect(told['So far']).toBe('$2.49');
    expect(told['An hour']).toBe('$4.98/h');
    expect(told['A step']).toBe('$0.0021');
    expect(told['When it is done']).toBe('$6.50');
    expect(told['Done at']).toBe('n/a');
    expect(told['GPU time']).toBe('1.00 h');
    expect(told['Of it idle']).toBe('33 % idle, about $0.62 (of 75 % it is known)');
    expect(told['Price']).toBe('$2.49/GPU-h · 12 days old · confidence: owner · from the bill');
    expect(told['Paid by']).toBe('project=vision');
    expect(told).not.toHaveProperty('Without a price');
  });

  it('that is unknown says why, and is no zero', async () => {
    const reason = 'pool here has no price';
    const node = await open(
      jobCost('0abc', {
        cost: [],
        hourly: null,
        price: null,
        allocated_seconds: 0,
        node_seconds: 60,
        unpriced_seconds: 60,
        reason
      })
    );
    const told = facts(node);
    expect(told['So far']).toBe(`n/a (${reason})`);
    expect(told['An hour']).toBe('n/a');
    expect(told['Price']).toBe('n/a');
    expect(told['Node time']).toBe('0.017 h');
    expect(told['Without a price']).toBe('0.017 h');
    expect(node.querySelector('dl')?.textContent).not.toContain('$0');
  });

  it('is what it was when the job is over', async () => {
    const told = facts(await open(jobCost('0abc', { hourly: null }), {}, 'succeeded'));
    expect(told['In all']).toBe('$2.49');
    expect(section.node.querySelector('button')?.hidden).toBe(true);
    expect(told).not.toHaveProperty('An hour');
    expect(told['Of it idle']).toBe('n/a: nobody has read its GPUs');
  });
});

describe('the budgets of a job', () => {
  it('are those that count it, watched only while they are looked at', async () => {
    const node = await open(jobCost('0abc'));
    expect(stream.watched.map(({ topic }) => topic)).toContain('budgets');
    const mine = budget('a', { jobs: ['0abc'], reach: 'warned', share: 0.85 });
    const own = budget('b', { name: '$5.00 for job 0abc', scope: 'job', subject: '0abc' });
    stream.say({ type: 'budgets', budgets: [mine, own, budget('c', { name: 'of others' })] });
    const rows = [...node.querySelectorAll('.aiinfra-JobCost-budgets > li')];
    expect(rows.map(row => row.textContent)).toEqual([
      '$200.00 a month for user anna$50.00 of $200.00 (85 %) · nearly spent',
      '$5.00 for job 0abc$50.00 of $200.00 (25 %)'
    ]);
    stream.say({ type: 'budgets', budgets: [] });
    expect(node.textContent).toContain('No budget counts this job.');
    section.visible = false;
    expect(stream.watched.map(({ topic }) => topic)).not.toContain('budgets');
  });

  it('say what is unknown', async () => {
    const node = await open(jobCost('0abc'));
    const problem = 'pool far has no price';
    const one = budget('a', {
      jobs: ['0abc'],
      spent: null,
      share: null,
      reach: 'unknown',
      problem
    });
    stream.say({ type: 'budgets', budgets: [one] });
    expect(node.querySelector('li')?.textContent).toContain(
      'n/a of $200.00 · not known how far · pool far has no price'
    );
  });

  it('are set from here', async () => {
    const node = await open(jobCost('0abc'));
    const button = node.querySelector('button');
    expect(button?.textContent).toBe('Set a budget for this job…');
    button?.click();
    expect(onBudget).toHaveBeenCalledTimes(1);
  });
});

describe('what if', () => {
  it('is a table that says what it assumes', async () => {
    whatif.mockResolvedValue(
      report(
        option({ measured: true }),
        option({ ranks: 4, spot: true, bf16: true, assumes: ['bf16 is 1.5 times as fast'] }),
        option({
          step_seconds: null,
          seconds: null,
          cost: null,
          hourly: null,
          problem: 'no such GPU'
        })
      )
    );
    const node = await open(jobCost('0abc'));
    await vi.waitFor(() => expect(node.querySelectorAll('tbody tr')).toHaveLength(3));
    const [measured, other, unknown] = [...node.querySelectorAll('tbody tr')];
    expect(cells(measured!)).toEqual([
      ...['lab', '2', '1', 'H100', '0.50 s', '1 h 00 min', '$4.98/h', '$4.98'],
      'this job, as it was measured'
    ]);
    expect(cells(other!).slice(3, 4)).toEqual(['H100, spot, bf16']);
    expect(cells(other!).at(-1)).toBe('bf16 is 1.5 times as fast');
    expect(cells(unknown!).slice(4)).toEqual(['n/a', 'n/a', 'n/a', 'n/a', 'no such GPU']);
    expect(node.textContent).toContain('1,000 steps of 0.50 s, and 40 s beside them.');
    expect(node.textContent).toContain('pool far is left out');
    const { violations } = await axe.run(node);
    expect(violations).toEqual([]);
  });

  it('is asked for when first looked at, and again when the job is over', async () => {
    const node = await open(jobCost('0abc'));
    section.visible = false;
    section.visible = true;
    stream.say({ type: 'job', detail: jobDetail({ version: 2 }, { cost: jobCost('0abc') }) });
    expect(whatif).toHaveBeenCalledTimes(1);
    stream.say({ type: 'job', detail: jobDetail({ version: 3, state: 'succeeded' }) });
    expect(whatif).toHaveBeenCalledTimes(2);
    await vi.waitFor(() => expect(node.textContent).toContain('no other shape'));
  });

  it('says why it cannot be told, and is asked for again', async () => {
    const refused = new RequestError('refused', 'job 0abc has reported no steps', {
      hint: 'have it call step()'
    });
    whatif.mockRejectedValueOnce(refused);
    const node = await open(jobCost('0abc'));
    await vi.waitFor(() => expect(node.textContent).toContain('job 0abc has reported no steps'));
    [...node.querySelectorAll('button')].find(each => each.textContent === 'Try again')?.click();
    await vi.waitFor(() => expect(node.textContent).toContain('no other shape'));
  });
});
