import { nullTranslator } from '@jupyterlab/translation';
import { CommandRegistry } from '@lumino/commands';
import { Widget } from '@lumino/widgets';
import { act, fireEvent, screen, within } from '@testing-library/react';
import axe from 'axe-core';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { FakeStream, fakeApi } from '../../../__tests__/fakes';
import { makeModels } from '../../../__tests__/models';
import { budget, jobCost, notice } from '../../../__tests__/costsamples';
import { ended, job, jobsNews, pool } from '../../../__tests__/samples';
import { JobCosts } from '../../../models/jobcosts';
import { JobList } from '../../../models/joblist';
import { CommandIDs, type IAiInfraApi, type IAiInfraModels } from '../../../tokens';
import { createPanel } from '../panel';

let stream: FakeStream;
let models: IAiInfraModels;
let panel: Widget;
const ran = vi.fn<(command: string, id: unknown) => void>();
const jobCosts = vi.fn<IAiInfraApi['jobCosts']>();

/** Do something to the widget; Lumino draws in the next frame. */
async function turn(change: () => void): Promise<void> {
  await act(async () => {
    change();
    await new Promise(resolve => requestAnimationFrame(resolve));
  });
}

function say(...news: Parameters<FakeStream['say']>[0][]): void {
  act(() => news.forEach(each => stream.say(each)));
}

const row = (id: string): HTMLElement =>
  document.querySelector<HTMLElement>(`[data-job="${id}"]`) as HTMLElement;
const rows = (): (string | undefined)[] =>
  [...document.querySelectorAll<HTMLElement>('.aiinfra-JobRow')].map(node => node.dataset['job']);

beforeEach(async () => {
  (globalThis as { IS_REACT_ACT_ENVIRONMENT?: boolean }).IS_REACT_ACT_ENVIRONMENT = true;
  ran.mockClear();
  stream = new FakeStream();
  jobCosts.mockReset().mockResolvedValue([jobCost('1', { hourly: null })]);
  const api = fakeApi({ jobCosts });
  models = makeModels({ api, stream });
  const commands = new CommandRegistry();
  for (const id of Object.values(CommandIDs)) {
    commands.addCommand(id, { label: id, execute: args => ran(id, args['id']) });
  }
  const list = new JobList({ jobs: models.jobs, api });
  const costs = new JobCosts({ api });
  panel = createPanel({ stream, models, api, list, costs, commands, translator: nullTranslator });
  await turn(() => Widget.attach(panel, document.body));
});

afterEach(() => {
  act(() => panel.dispose());
  document.body.replaceChildren();
});

describe('the panel', () => {
  it('watches while it is in sight', async () => {
    const topics = new Set(stream.watched.map(({ topic }) => topic));
    expect([...topics].sort()).toEqual(['budgets', 'jobs', 'pools', 'schedules']);
    await turn(() => panel.hide());
    expect(stream.watched).toEqual([]);
    await turn(() => panel.show());
    expect(new Set(stream.watched.map(({ topic }) => topic))).toEqual(topics);
  });

  it('says that the server is gone, and keeps what it knows', () => {
    say(jobsNews([job('1')], { reset: true, active: 1 }));
    act(() => stream.turn('lost'));
    expect(document.body.textContent).toContain('Server not reachable, trying again…');
    expect(rows()).toEqual(['1']);
    act(() => stream.turn('live'));
    expect(document.body.textContent).not.toContain('not reachable');
  });

  it('has no serious accessibility fault', async () => {
    say(
      { type: 'pools', pools: [pool('here')] },
      jobsNews([job('1'), ended('2', { message: 'rank 1 raised' })], { reset: true, active: 1 })
    );
    const { violations } = await axe.run(panel.node, {
      rules: { 'color-contrast': { enabled: false } } // jsdom lays out nothing
    });
    expect(violations.map(({ id, nodes }) => [id, nodes.map(({ html }) => html)])).toEqual([]);
  });
});

describe('the empty list', () => {
  it('waits for the server first', () => {
    expect(document.body.textContent).toContain('Asking the server for its jobs…');
  });

  it('says what to do, with a pool that is there', () => {
    say(jobsNews([], { reset: true }));
    expect(document.body.textContent).toContain('Attach a pool first');
    say({ type: 'pools', pools: [pool('big')] });
    expect(document.body.textContent).toContain('%%accelerate big');
  });

  it('says that the filter lets nothing through, and clears it', () => {
    say(jobsNews([job('1')], { reset: true, active: 1 }));
    fireEvent.change(screen.getByRole('searchbox'), { target: { value: 'nothing' } });
    expect(document.body.textContent).toContain('No job matches.');
    fireEvent.click(screen.getByRole('button', { name: 'Clear the filter' }));
    expect(rows()).toEqual(['1']);
  });

  it('says why nothing is known', () => {
    const topic = { topic: 'jobs', id: null, rank: null } as const;
    say({ type: 'problem', message: 'no database', hint: 'start it', topic });
    expect(screen.getByRole('alert').textContent).toBe('no databasestart it');
  });
});

describe('a row', () => {
  it('says all there is to say, in words', () => {
    const now = Date.now() / 1000;
    const values = {
      name: '<i>digits',
      started_at: now - 65,
      notebook: 'lab/a.ipynb',
      message: 'x'
    };
    say(jobsNews([job('1', values)], { reset: true, active: 1 }));
    const text = row('1').textContent ?? '';
    for (const said of ['<i>digits', '1 min 05 s', 'running', 'here', '2 ranks', 'a.ipynb', 'x']) {
      expect(text).toContain(said);
    }
  });

  it.each([
    [job('1'), 'running', ['Cancel name of 1', 'Run name of 1 again']],
    [job('1', { desired: 'stop' }), 'stopping…', ['Run name of 1 again']],
    [ended('1', { state: 'lost' }), 'lost', ['Run name of 1 again', 'Remove name of 1']]
  ])('offers what has a meaning (%#)', (item, state, labels) => {
    say(jobsNews([item], { reset: true, active: 1 }));
    expect(row('1').querySelector('.aiinfra-JobRow-state')?.textContent).toBe(state);
    const buttons = within(row('1')).getAllByRole('button');
    expect(buttons.map(button => button.getAttribute('aria-label'))).toEqual(labels);
  });

  it('tells what it has cost, where that is known', async () => {
    say(jobsNews([job('1'), ended('2')], { reset: true, active: 1 }));
    await vi.waitFor(() => expect(jobCosts).toHaveBeenCalledWith(['2', '1']));
    await vi.waitFor(() =>
      expect(row('1').querySelector('.aiinfra-JobRow-cost')?.textContent).toBe('$1.50')
    );
    expect(row('2').querySelector('.aiinfra-JobRow-cost')).toBeNull();
  });

  it('says what a budget says of it, once, with the answers to that', () => {
    const asked = notice({ kind: 'question', text: 'all is spent: may it go on?', until: 2000 });
    const item = job('1', { message: asked.text, notice: asked });
    say({ type: 'budgets', budgets: [budget('b1')] }, jobsNews([item], { reset: true, active: 1 }));
    expect(row('1').textContent?.split('may it go on?')).toHaveLength(2);
    const answer = within(row('1')).getByRole('button', { name: 'Go on for an hour' });
    fireEvent.click(answer);
    expect(ran.mock.calls).toEqual([[CommandIDs.snoozeBudget, 'b1']]);

    say({ type: 'budgets', budgets: [budget('b1', { snoozed: true })] });
    say(jobsNews([job('1', { notice: notice(), version: 2 })], { active: 1 }));
    expect(within(row('1')).queryByRole('button', { name: 'Snooze for an hour' })).toBeNull();
    expect(row('1').textContent).toContain('Budget warning');
  });

  it('opens by a click, and its buttons do not open it', () => {
    say(jobsNews([job('1')], { reset: true, active: 1 }));
    fireEvent.click(row('1'));
    expect(ran.mock.calls).toEqual([[CommandIDs.openJob, '1']]);
    fireEvent.click(within(row('1')).getByRole('button', { name: 'Cancel name of 1' }));
    expect(ran.mock.calls.slice(1)).toEqual([[CommandIDs.cancelJob, '1']]);
  });

  it('counts the seconds of a job that goes on, while it is in sight', async () => {
    // jsdom draws its frames by an interval of its own, which must go on.
    const real = globalThis.setInterval;
    const ticks = new Map<number, () => void>();
    vi.spyOn(globalThis, 'setInterval').mockImplementation(((tick: () => void, pause: number) => {
      if (pause !== 1000) {
        return real(tick, pause);
      }
      ticks.set(ticks.size + 1, tick);
      return ticks.size;
    }) as typeof setInterval);
    vi.spyOn(globalThis, 'clearInterval').mockImplementation(timer => {
      ticks.delete(timer as number);
    });
    let now = 100;
    vi.spyOn(Date, 'now').mockImplementation(() => now * 1000);
    const elapsed = (): string =>
      row('1').querySelector('.aiinfra-JobRow-elapsed')?.textContent ?? '';

    say(jobsNews([job('1', { started_at: 60 }), ended('2')], { reset: true, active: 1 }));
    expect(elapsed()).toBe('40 s');
    now = 102;
    act(() => ticks.forEach(tick => tick()));
    expect(elapsed()).toBe('42 s');
    await turn(() => panel.hide());
    expect(ticks.size).toBe(0);
  });
});

describe('the keyboard', () => {
  beforeEach(() => {
    say(jobsNews([ended('1'), ended('2'), job('3')], { reset: true, active: 1 }));
  });

  const press = (key: string): boolean =>
    fireEvent.keyDown(document.activeElement as Element, { key });
  const focused = (): string | undefined => (document.activeElement as HTMLElement).dataset['job'];

  it('walks through the rows, of which one is reached by Tab', () => {
    fireEvent.keyDown(screen.getByRole('searchbox'), { key: 'ArrowDown' });
    expect(focused()).toBe('3');
    press('ArrowDown');
    press('ArrowDown');
    press('ArrowDown');
    expect(focused()).toBe('1');
    expect(models.selection.selected?.id).toBe('1');
    const reached = rows().filter(id => row(id as string).tabIndex === 0);
    expect(reached).toEqual(['1']);
    press('Home');
    expect(focused()).toBe('3');
    press('End');
    press('ArrowUp');
    expect(focused()).toBe('2');
  });

  it('opens and removes', () => {
    act(() => row('2').focus());
    press('Enter');
    press('Delete');
    expect(ran.mock.calls).toEqual([
      [CommandIDs.openJob, '2'],
      [CommandIDs.removeJob, '2']
    ]);
  });

  it('goes on where a row was that is gone', () => {
    act(() => row('2').focus());
    say(jobsNews([], { removed: ['2'] }));
    expect(focused()).toBe('1');
  });

  it('stays in the row whose button is gone, and is not taken back from elsewhere', () => {
    act(() => within(row('3')).getByRole('button', { name: 'Cancel name of 3' }).focus());
    say(jobsNews([job('3', { desired: 'stop', version: 2 })], { active: 1 }));
    expect(focused()).toBe('3');

    act(() => row('3').blur());
    say(jobsNews([ended('3')]));
    expect(document.activeElement).toBe(document.body);
  });

  it('clears the filter by Escape', () => {
    const box = screen.getByRole<HTMLInputElement>('searchbox');
    fireEvent.change(box, { target: { value: 'name of 2' } });
    expect(rows()).toEqual(['2']);
    fireEvent.keyDown(box, { key: 'Escape' });
    expect(rows()).toEqual(['3', '2', '1']);
    expect(box.value).toBe('');
  });

  it('narrows to a state', () => {
    const state = screen.getByRole('combobox', { name: 'State' });
    fireEvent.change(state, { target: { value: 'active' } });
    expect(rows()).toEqual(['3']);
  });
});

it('draws a hundred rows, and more when asked', () => {
  const all = Array.from({ length: 150 }, (_, index) => ended(String(index + 1)));
  say(jobsNews(all, { reset: true }));
  expect(rows()).toHaveLength(100);
  // By its class: a role is looked for in every row, which takes seconds here.
  fireEvent.click(document.querySelector('.aiinfra-Jobs-more') as Element);
  expect(rows()).toHaveLength(150);
});
