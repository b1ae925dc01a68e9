import { nullTranslator } from '@jupyterlab/translation';
import { Widget } from '@lumino/widgets';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { fakeApi, FakeStream } from '../../__tests__/fakes';
import { makeModels } from '../../__tests__/models';
import { budget, job, jobsNews, pool, price } from '../../__tests__/samples';
import type { CostSummary, IdleItem } from '../../api/types';
import { RequestError } from '../../request';
import type { IAiInfraApi, ICostQuery } from '../../tokens';
import { CostPage } from '../page';
import { HOUR, line, nobody, report, START, usd } from './reports';

const NOW = new Date('2026-11-25T12:00:00Z');
const DAYS = report(
  [line('2026-11-24'), nobody('2026-11-24'), line('2026-11-25'), nobody('2026-11-25')],
  { by: 'day' }
);
const SUMMARY: CostSummary = {
  at: START,
  hourly: usd(4.98),
  today: usd(12.3),
  month: [],
  pools: [{ pool: 'here', hourly: usd(4.98), jobs: 2 }],
  unpriced_jobs: 1
};
const IDLE: IdleItem = { at: START, jobs: [], kernels: [], silent: [], rules: [] };

let stream: FakeStream;
let page: CostPage;
let api: { [name in keyof IAiInfraApi]?: ReturnType<typeof vi.fn> };
let bill = report([line('1a', { name: 'digits' }), nobody(null)]);
let idle: IdleItem;
const done = {
  openJob: vi.fn(),
  attachPool: vi.fn(),
  setBudget: vi.fn(),
  showPanel: vi.fn(),
  setPrice: vi.fn()
};

beforeEach(() => {
  vi.useFakeTimers({ now: NOW });
  vi.spyOn(HTMLElement.prototype, 'clientWidth', 'get').mockReturnValue(700);
  Object.values(done).forEach(each => each.mockReset());
  bill = report([line('1a', { name: 'digits' }), nobody(null)]);
  idle = IDLE;
  stream = new FakeStream();
  api = {
    cost: vi.fn((query: ICostQuery) => Promise.resolve(query.by === 'day' ? DAYS : bill)),
    costNow: vi.fn(() => Promise.resolve(SUMMARY)),
    idle: vi.fn(() => Promise.resolve(idle)),
    setIdle: vi.fn(() => Promise.resolve()),
    costExportUrl: vi.fn(({ period }: ICostQuery) => `/export?period=${period}`)
  };
  const made = fakeApi(api as Partial<IAiInfraApi>);
  page = new CostPage({
    api: made,
    models: makeModels({ api: made, stream }),
    trans: nullTranslator.load('jupyter_aiinfra'),
    ...done
  });
});

afterEach(() => {
  page.dispose();
  document.body.replaceChildren();
  vi.useRealTimers();
});

async function begin(): Promise<void> {
  Widget.attach(page, document.body);
  stream.say({ type: 'pools', pools: [pool('here', { price: price() })] });
  stream.say(jobsNews([job('1a', { name: 'digits' })], { active: 1 }));
  stream.say({ type: 'budgets', budgets: [] });
  // What is spent is asked for again a moment after jobs are known.
  await vi.advanceTimersByTimeAsync(1_000);
}

const settle = (): Promise<unknown> => vi.advanceTimersByTimeAsync(200);
const all = (selector: string): HTMLElement[] => [
  ...page.node.querySelectorAll<HTMLElement>(selector)
];
const texts = (selector: string): string[] => all(selector).map(node => node.textContent ?? '');
const shown = (selector: string): boolean => all(selector).some(node => !node.hidden);
const button = (text: string): HTMLElement => {
  const found = all('button').find(node => node.textContent === text);
  if (found === undefined) {
    throw new Error(`no button ${text}: ${texts('button').join(', ')}`);
  }
  return found;
};
const asked = (): ICostQuery[] =>
  (api.cost?.mock.calls ?? []).map(([query]) => query as ICostQuery);

describe('CostPage', () => {
  it('says what is spent in a few numbers, and what is not known', async () => {
    await begin();
    expect(texts('.aiinfra-CostPage-tile')).toEqual([
      'Jobs now$4.98/h2 jobs, 1 of unknown price',
      'Jobs today$12.30',
      'Jobs this monthn/anothing that has a price',
      'Idle GPU time of jobs33 %$1.00, measured for 75 %'
    ]);
  });

  it('goes on counting between two answers, and says what it counts', async () => {
    await begin();
    api.costNow?.mockReturnValue(new Promise(() => undefined));
    page.model.show({ narrowed: { pool: 'here' } });
    await vi.advanceTimersByTimeAsync(60_000);
    const [, today, month] = texts('.aiinfra-CostPage-tile');
    expect(today).toBe('Jobs today$12.38all, not only what is shown');
    expect(month).toBe('Jobs this monthn/anothing that has a price');
  });

  it('has the bill, whose lines open jobs, with what nobody had', async () => {
    await begin();
    expect(texts('.aiinfra-CostPage-bill tbody tr')).toEqual([
      'digits 1a2.050 %25 %$4.00$1.00',
      '(nobody)2.0n/an/a$3.00n/a'
    ]);
    expect(texts('.aiinfra-CostPage-bill tfoot tr')).toEqual(['all4.025 %12 %$7.00$1.00']);
    expect(texts('.aiinfra-CostPage-notes p')).toEqual([
      'Of 63 % of the GPU time it is not known whether it was used: nobody read the GPUs.'
    ]);
    button('digits').click();
    expect(done.openJob).toHaveBeenCalledWith('1a');
  });

  it('says what has no price', async () => {
    bill = report([], { total: line(null, { unpriced_seconds: HOUR, cost: [] }) });
    bill.lines.push(line('1a', { unpriced_seconds: HOUR, cost: [] }));
    await begin();
    expect(texts('.aiinfra-CostPage-notes p')[0]).toContain('1.0 hours have no price');
  });

  it('is sorted and searched', async () => {
    await begin();
    const heads = (): (string | null)[] =>
      all('.aiinfra-CostPage-bill thead th').map(node => node.getAttribute('aria-sort'));
    expect(heads()[4]).toBe('descending');
    const head = button('name');
    head.focus();
    head.click();
    await settle();
    expect(heads()[0]).toBe('ascending');
    expect(document.activeElement?.textContent).toContain('name');
    expect(texts('.aiinfra-CostPage-bill tbody th')).toEqual(['digits 1a', '(nobody)']);
    const search = all('.aiinfra-CostPage-search')[0] as HTMLInputElement;
    search.value = 'dig';
    search.dispatchEvent(new Event('input'));
    expect(texts('.aiinfra-CostPage-bill tbody th')).toEqual(['digits 1a']);
    search.value = 'x';
    search.dispatchEvent(new Event('input'));
    expect(texts('.aiinfra-CostPage-bill tbody tr')).toEqual(['Nothing has this in its name.']);
    expect(asked()).toHaveLength(2);
  });

  it('shows many lines when they are asked for', async () => {
    bill = report(Array.from({ length: 150 }, (_, number) => line(`j${number}`)));
    await begin();
    expect(all('.aiinfra-CostPage-bill tbody tr')).toHaveLength(100);
    button('Show 50 more lines').click();
    expect(all('.aiinfra-CostPage-bill tbody tr')).toHaveLength(150);
  });

  it('asks for what is chosen, and looks into a line', async () => {
    await begin();
    expect(asked()).toEqual([
      { period: '2026-11-19..2026-11-25', by: 'job' },
      { period: '2026-11-19..2026-11-25', by: 'day' }
    ]);
    bill = report([line('vision'), line(null)], { by: 'project' });
    const by = all('select[aria-label="By"]')[0] as HTMLSelectElement;
    by.value = 'project';
    by.dispatchEvent(new Event('change'));
    await settle();
    expect(asked()[2]).toEqual({ period: '2026-11-19..2026-11-25', by: 'project' });
    expect(texts('.aiinfra-CostPage-bill tbody th')).toEqual(['vision', '(none)']);
    button('vision').click();
    await settle();
    expect(asked()[4]).toMatchObject({ by: 'job', project: 'vision' });
    button('project vision ✕').click();
    await settle();
    expect(asked()[6]).toEqual({ period: '2026-11-19..2026-11-25', by: 'job' });
    button('Last month').click();
    await settle();
    expect(asked()[8]).toEqual({ period: '2026-10-01..2026-10-31', by: 'job' });
    expect(all('a')[0]?.getAttribute('href')).toBe('/export?period=2026-10-01..2026-10-31');
    // What is over is not asked for again.
    await vi.advanceTimersByTimeAsync(600_000);
    expect(asked()).toHaveLength(10);
  });

  it('takes days that are written', async () => {
    await begin();
    button('Days…').click();
    await settle();
    const [from, to] = all('input[type="date"]') as [HTMLInputElement, HTMLInputElement];
    expect([from?.value, to?.value]).toEqual(['2026-11-19', '2026-11-25']);
    expect(document.activeElement).toBe(from);
    from.value = '2026-11-02';
    from.dispatchEvent(new Event('change'));
    await settle();
    expect(asked().at(-1)?.period).toBe('2026-11-02..2026-11-25');
    to.value = '';
    to.dispatchEvent(new Event('change'));
    expect(page.model.view).toMatchObject({ from: '2026-11-02', to: '2026-11-25' });
  });

  it('asks again while the time goes on, and not while it is hidden', async () => {
    await begin();
    await vi.advanceTimersByTimeAsync(61_000);
    expect(asked()).toHaveLength(4);
    expect(api.idle).toHaveBeenCalledTimes(2);
    page.hide();
    await vi.advanceTimersByTimeAsync(600_000);
    expect(asked()).toHaveLength(4);
    expect(api.idle).toHaveBeenCalledTimes(2);
    expect(stream.watched).toEqual([]);
    page.show();
    await settle();
    expect(asked()).toHaveLength(6);
    expect(stream.watched.map(({ topic }) => topic).sort()).toEqual([
      'budgets',
      'jobs',
      'jobs',
      'pools'
    ]);
  });

  it('says why there is no answer, and what is missing', async () => {
    api.cost?.mockRejectedValue(
      new RequestError('unreachable', 'no answer from the server', { hint: 'is it up?' })
    );
    await begin();
    expect(texts('.aiinfra-CostPage-notice')).toEqual(['no answer from the server. is it up?']);
    api.cost?.mockResolvedValue(report([]));
    stream.say({ type: 'pools', pools: [] });
    await vi.advanceTimersByTimeAsync(6_000);
    expect(shown('.aiinfra-CostPage-notice')).toBe(false);
    expect(texts('.aiinfra-CostPage-empty')[0]).toContain('No pool is attached');
    button('Attach a Pool…').click();
    expect(done.attachPool).toHaveBeenCalled();
    stream.say({ type: 'pools', pools: [pool('here')] });
    await settle();
    expect(texts('.aiinfra-CostPage-empty span')).toEqual(['Nothing was used in this time.']);
    expect(shown('.aiinfra-CostPage-bill')).toBe(false);
  });

  it('has the prices of pools, with their age, and a way to say them', async () => {
    await begin();
    stream.say({
      type: 'pools',
      pools: [
        pool('here', { price: price({ age_days: 120, old: true, sku: 'aws:p5' }) }),
        pool('there')
      ]
    });
    await settle();
    expect(texts('.aiinfra-CostPage-prices tbody tr')).toEqual([
      'here$2.49/GPU-h aws:p5the bill2026-11-13120 days old, may have changedownerChange…',
      'thereunknown: what runs there costs n/aSet a price…'
    ]);
    button('Set a price…').click();
    expect(done.setPrice).toHaveBeenCalledWith('there');
  });

  it('has the budgets', async () => {
    await begin();
    expect(texts('.aiinfra-CostPage-budgetRows')).toEqual(['No budget is set.']);
    button('Set a Budget…').click();
    expect(done.setBudget).toHaveBeenCalled();
    stream.say({
      type: 'budgets',
      budgets: [
        budget('b1', { reach: 'warned', share: 0.9, snoozed: true }),
        budget('b2', { spent: null, share: null, reach: 'unknown', problem: 'no price' })
      ]
    });
    await settle();
    expect(texts('.aiinfra-CostPage-budget')).toEqual([
      '$200.00 a month for user annanearly spent, snoozed · $50.00 of $200.00 · 90 %',
      '$200.00 a month for user annaunknown · n/a of $200.00no price'
    ]);
    button('Show in the panel').click();
    expect(done.showPanel).toHaveBeenCalled();
  });
});

describe('idle GPUs', () => {
  const waste: IdleItem = {
    ...IDLE,
    jobs: [
      {
        job: '1a',
        name: 'digits',
        pool: 'here',
        gpus: 2,
        state: 'idle',
        why: 'nothing moves in it',
        since: START,
        stops_at: null,
        hourly: usd(4.98)[0] ?? null,
        cost: null,
        rule: { stop_seconds: null, warn_seconds: null, watch: true }
      }
    ],
    kernels: [
      {
        pool: 'here',
        node: 'n0',
        gpu: 'GPU-1',
        index: 1,
        pid: 4711,
        user: 'ada',
        command: 'ipykernel_launcher',
        memory_bytes: 2 ** 33,
        since: null,
        hourly: null,
        cost: null
      }
    ],
    silent: [{ pool: 'far', problem: 'it does not answer' }],
    rules: [{ name: 'here', rule: { stop_seconds: 2_700, warn_seconds: null, watch: true } }]
  };

  it('are told with who holds them, and a job can be left alone', async () => {
    idle = waste;
    await begin();
    const [job, kernel] = texts('.aiinfra-CostPage-waste');
    expect(job).toContain('digits · here · 2 GPUs · idle');
    expect(job).toContain('cost n/a · $4.98/h · it is not stopped for it');
    expect(kernel).toContain('kernel of ada holds 8 GiB of here/n0 GPU 1 and computes nothing');
    expect(texts('.aiinfra-CostPage-wastes .aiinfra-mod-warn')).toEqual([
      'far could not be read: it does not answer'
    ]);
    idle = { ...IDLE, rules: [{ name: '1a', rule: { watch: false } as never }] };
    button('Leave it alone').click();
    await settle();
    expect(api.setIdle).toHaveBeenCalledWith('1a', {
      stop_seconds: null,
      warn_seconds: null,
      watch: false
    });
    expect(texts('.aiinfra-CostPage-wastes')).toEqual([
      'No job and no kernel is seen to hold GPUs without using them.'
    ]);
    expect(texts('.aiinfra-CostPage-rules tbody th')).toEqual(['here', 'job digits']);
  });

  it('have a rule for each pool, also one that nobody here would have chosen', async () => {
    idle = waste;
    await begin();
    const [choice] = all('.aiinfra-CostPage-rules select') as HTMLSelectElement[];
    if (choice === undefined) {
      throw new Error('there is no choice');
    }
    expect(choice.selectedOptions[0]?.textContent).toBe('jobs are stopped after 45 min');
    for (const [value, rule] of [
      ['1800', { stop_seconds: 1800, warn_seconds: null, watch: true }],
      ['warn', { stop_seconds: null, warn_seconds: null, watch: true }],
      ['default', null]
    ] as const) {
      choice.value = value;
      choice.dispatchEvent(new Event('change'));
      await settle();
      expect(api.setIdle).toHaveBeenLastCalledWith('here', rule);
    }
  });

  it('say why they could not be read', async () => {
    api.idle?.mockRejectedValue(new RequestError('refused', 'it is too much'));
    await begin();
    expect(texts('.aiinfra-CostPage-idle [role="alert"]')).toEqual(['it is too much']);
  });
});

describe('the bars of days', () => {
  const press = (key: string): void => {
    all('.aiinfra-CostPage-plot')[0]?.dispatchEvent(
      new KeyboardEvent('keydown', { key, bubbles: true })
    );
  };

  it('are one a day, in parts, and say all in words', async () => {
    await begin();
    expect(all('.aiinfra-CostPage-bar')).toHaveLength(7);
    const last = all('[data-day="2026-11-25"] rect').map(node => node.getAttribute('class'));
    expect(last).toEqual(
      ['used', 'idle', 'unknown', 'nobody'].map(part => `aiinfra-CostPage-part aiinfra-mod-${part}`)
    );
    expect(all('.aiinfra-CostPage-plot svg')[0]?.getAttribute('aria-label')).toBe(
      '2026-11-19 to 2026-11-25: used $4.00, idle $2.00, not measured $2.00, no job $6.00'
    );
    button('Show as table').click();
    expect(texts('.aiinfra-CostPage-days tfoot tr')).toEqual(['all$4.00$2.00$2.00$6.00$14.00']);
    expect(shown('.aiinfra-CostPage-plot')).toBe(false);
  });

  it('are gone through by keys, and one of them is shown alone', async () => {
    await begin();
    press('ArrowLeft');
    expect(texts('.aiinfra-CostPage-legend')[0]).toContain('$7.00used$2.00');
    press('Home');
    expect(texts('.aiinfra-CostPage-legend')[0]).toContain('$0.00');
    press('Escape');
    expect(texts('.aiinfra-CostPage-legend')[0]).toContain('all days$14.00');
    press('End');
    press('Enter');
    expect(page.model.view).toMatchObject({ span: 'custom', from: '2026-11-25', to: '2026-11-25' });
  });

  it('can be hours in place of money', async () => {
    await begin();
    const choice = all('.aiinfra-CostPage-days select')[0] as HTMLSelectElement;
    choice.value = 'gpu-hours';
    choice.dispatchEvent(new Event('change'));
    await settle();
    expect(texts('.aiinfra-CostPage-legend')[0]).toContain('all days8 GPU-h');
  });
});
