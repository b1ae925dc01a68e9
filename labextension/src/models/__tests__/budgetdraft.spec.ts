import { describe, expect, it, vi } from 'vitest';

import { budget, eur, price } from '../../__tests__/costsamples';
import { ended, job, pool } from '../../__tests__/samples';
import type { BudgetItem, BudgetRequest } from '../../api/types';
import { RequestError } from '../../request';
import { BudgetDraft, type IBudgetDraftOptions } from '../budgetdraft';

type Set = (request: BudgetRequest) => Promise<BudgetItem>;

function draftOf(options: Partial<IBudgetDraftOptions> = {}): {
  draft: BudgetDraft;
  set: ReturnType<typeof vi.fn<Set>>;
} {
  const set = vi.fn<Set>(() => Promise.resolve(budget('b1')));
  return { draft: new BudgetDraft({ set, ...options }), set };
}

describe('a new budget', () => {
  it('needs no more than its amount', async () => {
    const { draft, set } = draftOf();
    draft.set('amount', '200');
    await expect(draft.submit()).resolves.toEqual(budget('b1'));
    expect(set.mock.calls).toEqual([
      [
        {
          scope: 'all',
          subject: '',
          amount: '200',
          period: 'month',
          action: 'stop',
          warn_share: 0.8,
          grace_seconds: null,
          ask_seconds: null
        }
      ]
    ]);
  });

  it('asks nobody while something is missing, and says at which field', async () => {
    const { draft, set } = draftOf({ given: { scope: 'user' } });
    draft.set('warn', '120');
    draft.set('grace', 'soon');
    await expect(draft.submit()).resolves.toBeNull();
    expect(draft.problems).toEqual({
      subject: 'missing',
      amount: 'missing',
      warn: 'not a share',
      grace: 'not a time'
    });
    draft.set('amount', 'much');
    expect(draft.problems.amount).toBeUndefined();
    await draft.submit();
    expect(draft.problems.amount).toBe('not an amount');
    expect(set).not.toHaveBeenCalled();
  });

  it('takes minutes and per cent as people write them', async () => {
    const { draft, set } = draftOf();
    const texts = { amount: '€20', action: 'ask', warn: '66,5 %', grace: '2.5', answer: '30' };
    for (const [field, text] of Object.entries(texts)) {
      draft.set(field as keyof typeof texts, text);
    }
    await draft.submit();
    expect(set.mock.calls[0]![0]).toMatchObject({
      amount: '€20',
      warn_share: 0.665,
      grace_seconds: 150,
      ask_seconds: 1800
    });
  });

  it('says nothing of time to save or to answer where there is none', async () => {
    const { draft, set } = draftOf();
    for (const [field, text] of [
      ['amount', '20'],
      ['grace', '5'],
      ['answer', '30'],
      ['action', 'refuse']
    ] as const) {
      draft.set(field, text);
    }
    await draft.submit();
    expect(set.mock.calls[0]![0]).toMatchObject({ grace_seconds: null, ask_seconds: null });
  });

  it('proposes the only one there is, and a period that fits', () => {
    const jobs = [job('1', { user: 'ada', notebook: 'a.ipynb' }), ended('2', { user: 'ada' })];
    const { draft } = draftOf({ jobs, pools: [pool('here'), pool('lab')] });
    draft.set('scope', 'user');
    expect(draft.texts).toMatchObject({ subject: 'ada', period: 'month' });
    draft.set('scope', 'pool');
    expect(draft.texts.subject).toBe('');
    expect(draft.subjects.map(({ value }) => value)).toEqual(['here', 'lab']);
    draft.set('scope', 'job');
    expect(draft.texts).toMatchObject({ subject: '', period: 'total' });
    expect(draft.subjects).toEqual([{ value: '1', label: 'name of 1' }]);
  });

  it('is in the currency of the prices where it says none', async () => {
    const pools = [pool('here', { price: price({ price: eur(2) }) }), pool('lab')];
    const { draft, set } = draftOf({ pools });
    expect(draft.currency).toBe('EUR');
    draft.set('amount', ' 20.50 ');
    await draft.submit();
    draft.set('amount', '20 usd');
    await draft.submit();
    expect(set.mock.calls.map(([{ amount }]) => amount)).toEqual(['20.50 eur', '20 usd']);
    const two = [...pools, pool('us', { price: price() })];
    expect(draftOf({ pools: two }).draft.currency).toBeNull();
    expect(draftOf({ pools: two, given: { scope: 'pool', subject: 'us' } }).draft.currency).toBe(
      'USD'
    );
  });
});

describe('a refusal', () => {
  const refused = (details: { option?: string; status: number }): Set =>
    vi.fn(() => Promise.reject(new RequestError('refused', 'no', { hint: 'do', ...details })));

  it.each([
    [{ option: 'amount', status: 400 }, 'amount'],
    [{ option: 'warn_at', status: 400 }, 'warn'],
    [{ option: 'grace_seconds', status: 400 }, 'grace'],
    [{ option: 'scope', status: 400 }, 'subject'],
    [{ status: 404 }, 'subject']
  ] as const)('is said at its field (%#)', async (details, field) => {
    const { draft } = draftOf({
      set: refused(details),
      given: { scope: 'pool', subject: 'here' }
    });
    draft.set('amount', '20');
    await expect(draft.submit()).resolves.toBeNull();
    expect(Object.keys(draft.refusals)).toEqual([field]);
    expect([draft.error, draft.busy]).toEqual([null, false]);
    draft.set(field, 'x');
    expect(draft.refusals).toEqual({});
  });

  it('of something else stands below them', async () => {
    const { draft } = draftOf({ set: refused({ status: 503 }) });
    draft.set('amount', '20');
    await draft.submit();
    expect([draft.error?.message, draft.refusals]).toEqual(['no', {}]);
  });
});

it('changes a budget from what it is', async () => {
  const old = budget('lab', { action: 'ask', warn_share: 0.7, grace_seconds: 90 });
  const { draft, set } = draftOf({ old });
  expect(draft.texts).toMatchObject({ amount: '20 usd', warn: '70', grace: '1.5', answer: '15' });
  draft.set('amount', '30 usd');
  await draft.submit();
  expect(set.mock.calls[0]![0]).toEqual({
    scope: 'pool',
    subject: 'lab',
    amount: '30 usd',
    period: 'month',
    action: 'ask',
    warn_share: 0.7,
    grace_seconds: 90,
    ask_seconds: 900
  });
});

it('is not changed, nor sent twice, while the server is asked', async () => {
  let answer: (item: BudgetItem) => void = () => undefined;
  const set = vi.fn(() => new Promise<BudgetItem>(resolve => (answer = resolve)));
  const { draft } = draftOf({ set });
  draft.set('amount', '20');
  const first = draft.submit();
  expect(draft.busy).toBe(true);
  draft.set('amount', '30');
  await expect(draft.submit()).resolves.toBeNull();
  answer(budget('b1'));
  await first;
  expect([draft.texts.amount, set.mock.calls.length]).toEqual(['20', 1]);
});
