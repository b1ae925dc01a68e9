import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { pool } from '../../__tests__/samples';
import { schedule, version } from '../../__tests__/schedulesamples';
import type { PreviewItem, ScheduleItem, ScheduleRequest } from '../../api/types';
import { RequestError } from '../../request';
import { ScheduleDraft, type IScheduleDraftOptions } from '../scheduledraft';
import { nameOf } from '../scheduletexts';

const FORM = {
  properties: {
    lr: { type: 'number', default: 0.1 },
    day: { type: 'string', format: 'date' },
    sizes: { type: 'array' }
  },
  required: ['day'],
  additionalProperties: false
};
const SLOTS = [{ slot: 100, start_at: 100, text: '1970-01-01 00:01 UTC' }];

type Preview = IScheduleDraftOptions['preview'];
type Send = IScheduleDraftOptions['send'];

const preview = vi.fn<Preview>();
const send = vi.fn<Send>();

function draftOf(values: Partial<IScheduleDraftOptions> = {}): ScheduleDraft {
  return new ScheduleDraft({
    send,
    preview,
    path: 'work/My report.ipynb',
    pools: [pool('far', { status: 'unreachable' }), pool('lab')],
    ...values
  });
}

function refused(message: string, option: string | null, status = 400): RequestError {
  return new RequestError('refused', message, { option, status });
}

beforeEach(() => {
  vi.useFakeTimers();
  preview.mockReset().mockResolvedValue({ slots: SLOTS, form: FORM });
  send.mockReset().mockImplementation(() => Promise.resolve(schedule('s1')));
});

afterEach(() => {
  vi.useRealTimers();
});

const sent = (): ScheduleRequest => send.mock.calls[0]![0];

describe('a schedule that is made', () => {
  it('is proposed with a name that is free, a pool that answers, and a time', () => {
    const taken = [schedule('a', { name: 'My-report' })];
    const draft = draftOf({ schedules: taken });
    expect(draft.texts).toMatchObject({ name: 'My-report-2', pool: 'lab', cron: '0 2 * * *' });
    expect(nameOf('a/ü.ipynb', [])).toBe('notebook');
  });

  it('asks for the times once nobody has typed for a while, and for the last text only', async () => {
    const draft = draftOf();
    draft.set('cron', '0 3 * * *');
    draft.set('cron', '0 4 * * *');
    expect(preview).not.toHaveBeenCalled();
    await vi.advanceTimersByTimeAsync(1_000);
    expect(preview).toHaveBeenCalledTimes(1);
    expect(preview.mock.calls[0]![0]).toMatchObject({
      notebook: 'work/My report.ipynb',
      pool: 'lab',
      triggers: [{ kind: 'cron', lines: ['0 4 * * *'] }]
    });
    expect(draft.slots).toEqual(SLOTS);
    expect(draft.parameters?.map(({ name }) => name)).toEqual(['lr', 'day', 'sizes']);
    draft.dispose();
    draft.set('name', 'other');
    await vi.advanceTimersByTimeAsync(1_000);
    expect(preview).toHaveBeenCalledTimes(1); // no moment depends on a name
  });

  it('takes no answer to an earlier question', async () => {
    const answers: ((answer: PreviewItem) => void)[] = [];
    preview.mockImplementation(() => new Promise(resolve => answers.push(resolve)));
    const draft = draftOf();
    const first = draft.preview();
    const second = draft.preview();
    expect(preview.mock.calls[0]![1].aborted).toBe(true);
    answers[1]!({ slots: [], form: FORM });
    answers[0]!({ slots: SLOTS, form: FORM });
    await Promise.all([first, second]);
    expect([draft.slots, draft.isPreviewing]).toEqual([[], false]);
  });

  it('sends values by their types, and only what is given', async () => {
    const draft = draftOf();
    await draft.preview();
    draft.set('parameter:lr', '1e-2');
    draft.set('parameter:day', '2026-12-24');
    draft.set('when', 'every');
    draft.set('every', '15m');
    draft.set('retries', '2');
    draft.set('except', '2026-12-24\n\n2026-12-31/2027-01-02');
    draft.set('outputs', 's3://bucket/reports');
    draft.set('form:html', 'yes');
    draft.set('cellTime', '10m');
    draft.set('notifyFailure', 'team, me');
    draft.set('firedBy', 'pool');
    expect((await draft.submit())?.id).toBe('s1');
    expect(sent()).toMatchObject({
      name: 'My-report',
      parameters: { lr: 0.01, day: '2026-12-24' },
      triggers: [{ kind: 'every', seconds: 900 }],
      policy: { retries: 2, except_days: ['2026-12-24', '2026-12-31/2027-01-02'], ends_at: null },
      options: {
        outputs: ['s3://bucket/reports'],
        forms: ['ipynb', 'html'],
        cell_seconds: 600,
        notify: { failure: ['team', 'me'] },
        fired_by: 'pool'
      }
    });
    expect(Object.keys(sent().options ?? {})).toHaveLength(5);
  });

  it.each<[string, string[][], unknown]>([
    [
      'at certain times of its zone',
      [
        ['when', 'at'],
        ['zone', 'Europe/Berlin'],
        ['at', '2026-12-01T02:30\n2026-12-02T02:30']
      ],
      [{ kind: 'at', times: [1796088600, 1796175000] }]
    ],
    [
      'after another',
      [
        ['when', 'after'],
        ['after', 's9'],
        ['on', 'end']
      ],
      [{ kind: 'after', schedule: 's9', on: 'end' }]
    ],
    [
      'when a file changes',
      [
        ['when', 'file'],
        ['path', '/data/new.csv']
      ],
      [{ kind: 'file', path: '/data/new.csv' }]
    ],
    ['only when asked', [['when', 'none']], []]
  ])('runs %s', async (_what, texts, triggers) => {
    const draft = draftOf();
    texts.forEach(([field, text]) => draft.set(field!, text!));
    await draft.submit();
    expect(sent().triggers).toEqual(triggers);
  });

  it('tells what is wrong at its field, and sends nothing', async () => {
    const draft = draftOf({ pools: [] });
    await draft.preview();
    expect(preview).not.toHaveBeenCalled(); // without a pool there is nothing to ask
    const other = draftOf();
    await other.preview();
    other.set('name', ' ');
    other.set('parameter:lr', 'fast');
    other.set('parameter:sizes', '3');
    other.set('when', 'every');
    other.set('every', 'often');
    other.set('jitter', 'a bit');
    other.set('retries', '-1');
    expect(await other.submit()).toBeNull();
    expect(other.problems).toEqual({
      name: 'missing',
      'parameter:lr': 'not a number',
      'parameter:sizes': 'not JSON',
      'parameter:day': 'missing',
      every: 'not a length',
      jitter: 'not a length',
      retries: 'not a number'
    });
    expect(send).not.toHaveBeenCalled();
  });

  it('tells what the server refuses at its field', async () => {
    const draft = draftOf();
    await draft.preview();
    draft.set('parameter:day', '2026-12-24');
    const message = 'parameter lr = 2: expected a number at most 1';
    preview.mockRejectedValueOnce(refused(message, 'lr'));
    await draft.preview();
    expect(draft.refusals['parameter:lr']?.message).toBe(message);
    expect(draft.slots).toEqual(SLOTS); // when it runs has nothing to do with it
    preview.mockRejectedValueOnce(refused("cron line '61 * * * *': Bad minute", 'cron'));
    await draft.preview();
    expect([Object.keys(draft.refusals), draft.slots]).toEqual([['cron'], null]);
    preview.mockRejectedValueOnce(refused('no database', null, 503));
    await draft.preview();
    expect([draft.previewError?.message, draft.refusals]).toEqual(['no database', {}]);
    draft.set('notifyMissed', 'team, nobody');
    send.mockRejectedValueOnce(refused("there is no target 'nobody'", 'notify'));
    await draft.submit();
    expect(Object.keys(draft.refusals)).toEqual(['notifyMissed']);
    send.mockRejectedValueOnce(refused('there is a schedule report', null, 409));
    await draft.submit();
    expect(Object.keys(draft.refusals)).toEqual(['name']);
    draft.set('name', 'another');
    expect(draft.refusals).toEqual({});
  });
});

describe('a schedule that is changed', () => {
  const old = (values: Partial<ScheduleItem['version']> = {}): ScheduleItem =>
    schedule('s1', { name: 'report', version: version(values) });

  it('keeps what is not touched', async () => {
    const triggers = [
      { ...version().triggers[0]!, kind: 'every' as const, lines: [], seconds: 900, anchor: 7 },
      { ...version().triggers[0]!, kind: 'after' as const, lines: [], schedule: 's9' }
    ];
    const options = { priority: 3, kernel: 'python3', notify: { failure: ['team'] } };
    const policy = { ...version().policy, ends_at: 1796088645, backoff_factor: 3 };
    const draft = draftOf({ old: old({ triggers, options, policy }) });
    expect(draft.texts['when']).toBe('mixed');
    draft.set('kernel', '');
    draft.set('note', 'sooner');
    await draft.submit();
    expect(sent()).toEqual({
      pool: 'lab',
      timezone: 'Europe/Berlin',
      triggers: null,
      policy,
      parameters: { lr: 0.5 },
      options: { priority: 3, notify: { failure: ['team'] } },
      note: 'sooner'
    });
  });

  it('keeps several kinds of triggers in another zone, too', async () => {
    const [cron] = version().triggers;
    const triggers = [cron!, { ...cron!, kind: 'after' as const, lines: [], schedule: 's9' }];
    const draft = draftOf({ old: old({ triggers }) });
    draft.set('zone', 'UTC');
    await draft.submit();
    expect(sent()).toMatchObject({ triggers: null, timezone: 'UTC' });
  });

  it('takes any values of a notebook of which no parameters are known', async () => {
    const form = { properties: {}, additionalProperties: true };
    const draft = draftOf({ old: old({ form, parameters: { n: 3 } }) });
    expect(draft.texts['parameters']).toBe('{"n":3}');
    draft.set('parameters', '[1]');
    expect(await draft.submit()).toBeNull();
    expect(draft.problems).toEqual({ parameters: 'not JSON' });
    draft.set('parameters', '{"n": 4, "name": "x"}');
    await draft.submit();
    expect(sent().parameters).toEqual({ n: 4, name: 'x' });
  });

  it('reads back what there is, of each kind', () => {
    const of = (values: object): Readonly<Record<string, string>> =>
      draftOf({ old: old({ triggers: [{ ...version().triggers[0]!, lines: [], ...values }] }) })
        .texts;
    expect(draftOf({ old: old() }).texts).toMatchObject({ when: 'cron', cron: '0 2 * * *' });
    expect(of({ kind: 'every', seconds: 5400 })).toMatchObject({ when: 'every', every: '1h30m' });
    expect(of({ kind: 'at', times: [1796088600] })).toMatchObject({ at: '2026-12-01T02:30' });
    expect(of({ kind: 'file', path: '/a' })).toMatchObject({ when: 'file', path: '/a' });
    expect(of({ kind: 'after', schedule: 's2', on: 'end' })).toMatchObject({
      after: 's2',
      on: 'end'
    });
    expect(draftOf({ old: old({ triggers: [] }) }).texts['when']).toBe('none');
  });

  it('sends new triggers and a new name where they are touched', async () => {
    const draft = draftOf({ old: old() });
    draft.set('cron', '0 3 * * *');
    draft.set('name', 'nightly');
    await draft.submit();
    expect(sent()).toMatchObject({ name: 'nightly', triggers: [{ lines: ['0 3 * * *'] }] });
  });
});
