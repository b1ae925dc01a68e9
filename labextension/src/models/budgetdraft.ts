/** A budget that is being set, or changed. */

import type { BudgetItem, BudgetRequest, JobItem, PoolItem } from '../api/types';
import { isActive } from '../jobstate';
import type { RequestError } from '../request';
import { Draft } from './draft';

export type BudgetField =
  'scope' | 'subject' | 'amount' | 'period' | 'action' | 'warn' | 'grace' | 'answer';

export type BudgetFault = 'missing' | 'not an amount' | 'not a share' | 'not a time';

export type BudgetScope = BudgetRequest['scope'];
export type BudgetPeriod = NonNullable<BudgetRequest['period']>;
export type BudgetAction = NonNullable<BudgetRequest['action']>;

/** In the order in which they are offered. */
export const SCOPES: readonly BudgetScope[] = [
  'all',
  'user',
  'pool',
  'notebook',
  'project',
  'team',
  'cost-centre',
  'job'
];
export const PERIODS: readonly BudgetPeriod[] = ['day', 'month', 'total'];
export const ACTIONS: readonly BudgetAction[] = ['warn', 'refuse', 'ask', 'stop'];

/** Minutes that a question waits for its answer, where nobody says otherwise; the server's too. */
const ANSWER_MINUTES = '15';
const WARN_PERCENT = '80';

export interface IBudgetDraftOptions {
  /** Sets it; rejects with a `RequestError`. */
  set: (request: BudgetRequest) => Promise<BudgetItem>;
  /** What is known beforehand. */
  given?: { scope?: BudgetScope; subject?: string };
  /** The budget that is changed, where it is one. */
  old?: BudgetItem | null;
  /** What subjects are taken from. */
  jobs?: readonly JobItem[];
  pools?: readonly PoolItem[] | null;
}

/** The draft of a budget. What it counts can be chosen only of a new one: it would be another. */
export class BudgetDraft extends Draft<BudgetField, BudgetFault, BudgetItem> {
  constructor({ set, given = {}, old = null, jobs = [], pools = [] }: IBudgetDraftOptions) {
    super(old === null ? fresh(given) : textsOf(old));
    this._send = set;
    this._jobs = jobs;
    this._pools = pools ?? [];
    this.old = old;
    if (old === null && this.texts.subject === '') {
      this._proposeSubject();
    }
  }

  readonly old: BudgetItem | null;

  get scope(): BudgetScope {
    return this.texts.scope as BudgetScope;
  }

  get action(): BudgetAction {
    return this.texts.action as BudgetAction;
  }

  /** What the scope may be of, as far as this page knows; anything else may be typed. */
  get subjects(): readonly { value: string; label: string }[] {
    return subjectsOf(this.scope, this._jobs, this._pools);
  }

  /** The amount that stands there is in this currency, where it says none. */
  get currency(): string | null {
    const priced = this._pools.filter(
      ({ name }) => this.scope !== 'pool' || name === this.texts.subject
    );
    const codes = new Set(priced.flatMap(({ price }) => price?.price?.currency ?? []));
    return codes.size === 1 ? [...codes][0]! : null;
  }

  protected override onSet(field: BudgetField): void {
    if (field === 'scope') {
      this._proposeSubject();
      this.put('period', this.scope === 'job' ? 'total' : 'month');
    }
  }

  protected check(): Partial<Record<BudgetField, BudgetFault>> {
    const { subject, amount, warn, grace, answer } = this.texts;
    const found: Partial<Record<BudgetField, BudgetFault>> = {};
    if (this.scope !== 'all' && subject.trim() === '') {
      found.subject = 'missing';
    }
    if (amount.trim() === '') {
      found.amount = 'missing';
    } else if (!/\d/.test(amount)) {
      found.amount = 'not an amount';
    }
    const percent = numberOf(warn);
    if (percent === null || percent <= 0 || percent > 100) {
      found.warn = 'not a share';
    }
    if (this.hasGrace && grace.trim() !== '' && !(Number(numberOf(grace) ?? -1) >= 0)) {
      found.grace = 'not a time';
    }
    if (this.action === 'ask' && !(Number(numberOf(answer) ?? -1) > 0)) {
      found.answer = 'not a time';
    }
    return found;
  }

  /** Whether it stops jobs, so that they may be given time to save. */
  get hasGrace(): boolean {
    return this.action === 'ask' || this.action === 'stop';
  }

  protected send(): Promise<BudgetItem> {
    const { scope, action, currency } = this;
    const { subject, amount, period, warn, grace, answer } = this.texts;
    const bare = /^[\d.,\s]*$/.test(amount) && currency !== null;
    return this._send({
      scope,
      action,
      subject: scope === 'all' ? '' : subject.trim(),
      amount: bare ? `${amount.trim()} ${currency.toLowerCase()}` : amount.trim(),
      period: period as BudgetPeriod,
      warn_share: Math.round((numberOf(warn) ?? 0) * 1e4) / 1e6,
      grace_seconds: this.hasGrace && grace.trim() !== '' ? seconds(grace) : null,
      ask_seconds: action === 'ask' ? seconds(answer) : null
    });
  }

  protected fieldOf({ option, status }: RequestError): BudgetField | null {
    if (option === null) {
      return status === 404 && this.scope !== 'all' ? 'subject' : null;
    }
    return FIELDS[option] ?? null;
  }

  private _proposeSubject(): void {
    const { subjects } = this;
    this.put('subject', subjects.length === 1 && this.scope !== 'job' ? subjects[0]!.value : '');
  }

  private _send: (request: BudgetRequest) => Promise<BudgetItem>;
  private _jobs: readonly JobItem[];
  private _pools: readonly PoolItem[];
}

/** The fields by what the server calls them. Which scope is meant is said by its subject. */
const FIELDS: Readonly<Record<string, BudgetField>> = {
  scope: 'subject',
  subject: 'subject',
  amount: 'amount',
  period: 'period',
  action: 'action',
  warn_at: 'warn',
  warn_share: 'warn',
  grace_seconds: 'grace',
  ask_seconds: 'answer'
};

function fresh({
  scope = 'all',
  subject = ''
}: NonNullable<IBudgetDraftOptions['given']>): Record<BudgetField, string> {
  return {
    scope,
    subject,
    amount: '',
    period: scope === 'job' ? 'total' : 'month',
    action: 'stop',
    warn: WARN_PERCENT,
    grace: '',
    answer: ANSWER_MINUTES
  };
}

function textsOf(old: BudgetItem): Record<BudgetField, string> {
  return {
    scope: old.scope,
    subject: old.subject,
    amount: `${old.limit.amount} ${old.limit.currency.toLowerCase()}`,
    period: old.period,
    action: old.action,
    warn: shortest(old.warn_share * 100),
    grace: old.grace_seconds === null ? '' : shortest(old.grace_seconds / 60),
    answer: shortest(old.ask_seconds / 60)
  };
}

function subjectsOf(
  scope: BudgetScope,
  jobs: readonly JobItem[],
  pools: readonly PoolItem[]
): { value: string; label: string }[] {
  const words = (values: readonly (string | null)[]): { value: string; label: string }[] =>
    [...new Set(values.filter(value => value !== null))]
      .sort()
      .map(value => ({ value, label: value }));
  switch (scope) {
    case 'user':
      return words(jobs.map(({ user }) => user));
    case 'notebook':
      return words(jobs.map(({ notebook }) => notebook));
    case 'pool':
      return words(pools.map(({ name }) => name));
    case 'job':
      return jobs.filter(isActive).map(({ id, name }) => ({ value: id, label: name }));
    default:
      return [];
  }
}

/** A number as a person writes it; `null` where it is none. */
function numberOf(text: string): number | null {
  const value = Number(text.trim().replace(/%$/, '').replace(',', '.'));
  return text.trim() === '' || !Number.isFinite(value) ? null : value;
}

function seconds(minutes: string): number {
  return Math.round((numberOf(minutes) ?? 0) * 60);
}

function shortest(value: number): string {
  return String(Math.round(value * 1000) / 1000);
}
