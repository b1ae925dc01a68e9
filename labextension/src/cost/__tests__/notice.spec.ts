import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { notice } from '../../__tests__/samples';
import { RequestError } from '../../request';
import { CommandIDs } from '../../tokens';
import { noticeActions } from '../actions';
import { NoticeView, type INoticeActions } from '../notice';
import { ENGLISH } from '../text';

const did = vi.fn((_what: string, ..._with: unknown[]) => Promise.resolve());
let countsMore = false;

const ACTIONS: INoticeActions = {
  snooze: (budget, seconds) => did('snooze', budget, seconds),
  stop: budget => did('stop', budget),
  leaveAlone: () => did('leave'),
  countsMore: () => countsMore
};

function view(actions: INoticeActions | undefined = ACTIONS): NoticeView {
  const made = new NoticeView({ trans: ENGLISH, actions });
  document.body.append(made.node);
  return made;
}

function button(label: string): HTMLButtonElement {
  const found = [...document.querySelectorAll('button')].find(each => each.textContent === label);
  expect(found, `a button "${label}"`).toBeDefined();
  return found!;
}

const labels = (): (string | null)[] =>
  [...document.querySelectorAll('button')].map(each => each.textContent);

beforeEach(() => {
  countsMore = false;
});

afterEach(() => {
  did.mockClear();
  vi.useRealTimers();
  document.body.replaceChildren();
});

describe('a notice', () => {
  it('explains itself and is snoozed', async () => {
    const shown = view();
    expect(shown.node.hidden).toBe(true);
    shown.update(notice(), '0abc', false);
    expect(shown.node.hidden).toBe(false);
    expect(shown.node.textContent).toContain('Budget warning 80 % of the budget is spent');
    button('Snooze for an hour').click();
    expect(did).toHaveBeenCalledWith('snooze', 'b1', 3600);
    shown.update(null, '0abc', false);
    expect(shown.node.hidden).toBe(true);
    await Promise.resolve();
  });

  it('asks, says how long, and takes either answer', () => {
    vi.useFakeTimers({ now: 1_000_000 });
    const shown = view();
    shown.update(notice({ kind: 'question', until: 1_000 + 90 }), '0abc', false);
    expect(shown.node.textContent).toContain('May it go on?');
    expect(shown.node.textContent).toContain('1 min 30 s left to answer');
    vi.setSystemTime(1_031_000);
    shown.tick();
    expect(shown.node.textContent).toContain('59 s left to answer');
    vi.setSystemTime(2_000_000);
    shown.tick();
    expect(shown.node.textContent).toContain('the time to answer is over');
    button('Go on for an hour').click();
    expect(did).toHaveBeenCalledWith('snooze', 'b1', 3600);
  });

  it('is answered once, and may be answered otherwise afterwards', async () => {
    let end: () => void = () => undefined;
    did.mockImplementationOnce(() => new Promise<void>(resolve => (end = resolve)));
    view().update(notice({ kind: 'question' }), '0abc', false);
    button('Stop').click();
    expect(did).toHaveBeenCalledWith('stop', 'b1');
    button('Go on for an hour').click();
    expect(did).toHaveBeenCalledTimes(1);
    end();
    await vi.waitFor(() => expect(button('Go on for an hour').disabled).toBe(false));
  });

  it('says why an answer was not taken', async () => {
    did.mockRejectedValueOnce(new RequestError('refused', 'you may not', { hint: 'ask anna' }));
    const shown = view();
    shown.update(notice(), '0abc', false);
    button('Snooze for an hour').click();
    await vi.waitFor(() => expect(shown.node.textContent).toContain('you may not. ask anna'));
    expect(button('Snooze for an hour').disabled).toBe(false);
  });

  it('offers nothing against a stop but where the budget counts more than this job', () => {
    const stop = notice({ kind: 'stop' });
    view().update(stop, '0abc', false);
    expect(labels()).toEqual([]);
    document.body.replaceChildren();
    countsMore = true;
    view().update(stop, '0abc', false);
    expect(labels()).toEqual(['Snooze for an hour']);
    document.body.replaceChildren();
    const over = view();
    over.update(stop, '0abc', true);
    expect(labels()).toEqual([]);
    expect(over.node.textContent).toContain('Stopped 80 %');
  });

  it('of idle GPUs leaves the job alone', () => {
    const shown = view();
    shown.update(notice({ by: 'idle', text: '8 GPUs idle for 16 min' }), '0abc', false);
    expect(shown.node.textContent).toContain('Idle GPUs 8 GPUs idle');
    button('Leave it alone').click();
    expect(did).toHaveBeenCalledWith('leave');
  });

  it('keeps a button that is about to be pressed while nothing changes', () => {
    const shown = view();
    shown.update(notice(), '0abc', false);
    const before = button('Snooze for an hour');
    shown.update({ ...notice() }, '0abc', false);
    expect(button('Snooze for an hour')).toBe(before);
  });

  it('names what to type where no server can be asked', () => {
    const shown = new NoticeView({ trans: ENGLISH });
    const typed = (): (string | null)[] =>
      [...shown.node.querySelectorAll('code')].map(code => code.textContent);
    shown.update(notice({ kind: 'question' }), '0abc', false);
    expect(typed()).toEqual(['%budget snooze b1 --for 1h', '%budget stop b1']);
    shown.update(notice({ by: 'idle' }), '0abc', false);
    expect(typed()).toEqual(['%idle set 0abc never']);
    shown.update(notice({ kind: 'stop' }), '0abc', false);
    expect(typed()).toEqual([]);
  });
});

describe('the answers of the server', () => {
  const api = {
    snoozeBudget: vi.fn(() => Promise.reject(new Error('not in this test'))),
    stopBudgetJobs: vi.fn(() => Promise.resolve(['0abc'])),
    setIdle: vi.fn(() => Promise.resolve())
  };
  const execute = vi.fn(() => Promise.resolve());

  it('ask before a budget ends its jobs, where there is a command that does', async () => {
    const none = { hasCommand: () => false, execute };
    await noticeActions({ api, commands: none, job: '0abc' }).stop('b1');
    expect(api.stopBudgetJobs).toHaveBeenCalledWith('b1');
    const commands = { hasCommand: () => true, execute };
    await noticeActions({ api, commands, job: '0abc' }).stop('b1');
    expect(execute).toHaveBeenCalledWith(CommandIDs.stopBudget, { id: 'b1' });
    expect(api.stopBudgetJobs).toHaveBeenCalledTimes(1);
  });

  it('leave one job alone, and know which budgets count more than it', async () => {
    const commands = { hasCommand: () => false, execute };
    const find = (id: string): { scope: string } | undefined =>
      ({ one: { scope: 'job' }, many: { scope: 'user' } })[id];
    const budgets = { find } as unknown as NonNullable<
      Parameters<typeof noticeActions>[0]['budgets']
    >;
    const actions = noticeActions({ api, commands, budgets, job: '0abc' });
    await actions.leaveAlone();
    expect(api.setIdle).toHaveBeenCalledWith('0abc', {
      stop_seconds: null,
      warn_seconds: null,
      watch: false
    });
    expect(['one', 'many', 'unknown'].map(id => actions.countsMore(id))).toEqual([
      false,
      true,
      false
    ]);
  });
});
