import { nullTranslator } from '@jupyterlab/translation';
import { CommandRegistry } from '@lumino/commands';
import { act, cleanup, fireEvent, render, screen } from '@testing-library/react';
import axe from 'axe-core';
import React from 'react';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';

import { fakeApi, FakeStream } from '../../../__tests__/fakes';
import { makeModels } from '../../../__tests__/models';
import { run, schedule, version } from '../../../__tests__/schedulesamples';
import type { ScheduleItem } from '../../../api/types';
import { CommandIDs } from '../../../tokens';
import { SchedulesSection } from '../schedules';

const trans = nullTranslator.load('jupyter_aiinfra');
/** Colours are for a browser to judge: there are none here. */
const AXE = { rules: { 'color-contrast': { enabled: false } } };
const NOW = 1_796_088_600;

const ran = vi.fn<(command: string, args: object) => void>();
let stream: FakeStream;
let container: HTMLElement;

function say(...changed: ScheduleItem[]): void {
  act(() => stream.say({ type: 'schedules', changed, removed: [], reset: true }));
}

beforeEach(() => {
  vi.useFakeTimers({ now: NOW * 1000 });
  ran.mockReset();
  stream = new FakeStream();
  const models = makeModels({ api: fakeApi({}), stream });
  const commands = new CommandRegistry();
  for (const id of Object.values(CommandIDs)) {
    commands.addCommand(id, { label: id, execute: args => ran(id, args) });
  }
  const props = { models, commands, trans, isVisible: true };
  ({ container } = render(<SchedulesSection {...props} />));
});

afterEach(() => {
  cleanup();
  vi.useRealTimers();
});

const button = (name: string | RegExp): HTMLButtonElement => screen.getByRole('button', { name });

it('says that it waits, what keeps it waiting, and how a schedule is made', () => {
  expect(screen.getByRole('status').textContent).toBe('Asking the server for its schedules…');
  const topic = { topic: 'schedules', id: null, rank: null } as const;
  act(() => stream.say({ type: 'problem', message: 'no database', hint: 'start it', topic }));
  expect(screen.getByRole('alert').textContent).toBe('no databasestart it');
  say();
  expect(container.textContent).toContain('the clock in the toolbar of a notebook');
  fireEvent.click(button('Schedule the notebook…'));
  fireEvent.click(button('Show all runs'));
  expect(ran.mock.calls.map(([id]) => id)).toEqual([
    CommandIDs.scheduleNotebook,
    CommandIDs.openSchedules
  ]);
});

it('shows when each runs next, how its last runs ended, and what keeps it', async () => {
  const next = { slot: NOW + 7300, start_at: NOW + 7300, text: '2026-12-01 04:31 CET' };
  say(
    schedule('a', {
      name: 'nightly',
      next_slots: [next],
      last_runs: [run('r3', { state: 'failed', reason: 'cell 4 raised' }), run('r2'), run('r1')],
      problem: 'its pool is not attached'
    }),
    schedule('b', { name: 'paused', state: 'paused', paused_at: NOW - 60, next_slots: [] }),
    schedule('c', {
      name: 'when asked',
      state: 'ended',
      next_slots: [],
      version: version({ triggers: [] })
    }),
    schedule('d', { name: 'over', state: 'ended', next_slots: [] })
  );
  const rows = [...container.querySelectorAll('.aiinfra-ScheduleRow')].map(
    each => each.textContent
  );
  expect(rows[0]).toContain('(in 2 h)');
  expect(rows[0]).toContain('its pool is not attached');
  expect(rows[1]).toContain('has ended');
  expect(rows[1]).toContain('It has not run yet.');
  expect(rows[2]).toContain('paused since');
  expect(rows[3]).toContain('only when asked');
  const group = screen.getByRole('group');
  expect(group.getAttribute('aria-label')).toContain('2 of 3 succeeded');
  const dots = [...group.querySelectorAll('button')];
  expect(dots.map(each => each.dataset['state'])).toEqual(['succeeded', 'succeeded', 'failed']);
  expect(dots.map(each => each.tabIndex)).toEqual([-1, -1, 0]);
  expect(dots[2]?.title).toContain('cell 4 raised');
  fireEvent.click(dots[0]!);
  expect(ran).toHaveBeenLastCalledWith(CommandIDs.openRun, { id: 'r1' });
  vi.useRealTimers();
  expect((await axe.run(container, AXE)).violations).toEqual([]);
});

it('runs, pauses and resumes one, and opens to what else can be done', () => {
  say(schedule('a', { name: 'nightly' }), schedule('b', { name: 'off', state: 'paused' }));
  fireEvent.click(button('Run nightly now'));
  fireEvent.click(button('Pause nightly'));
  fireEvent.click(button('Resume off'));
  expect(ran.mock.calls).toEqual([
    [CommandIDs.runSchedule, { id: 'a' }],
    [CommandIDs.pauseSchedule, { id: 'a' }],
    [CommandIDs.resumeSchedule, { id: 'b' }]
  ]);
  fireEvent.click(button('nightly'));
  expect(container.textContent).toContain('every day at 02:00');
  expect(container.textContent).toContain('lr = 0.5');
  for (const [name, id] of [
    ['Change…', CommandIDs.editSchedule],
    ['Duplicate…', CommandIDs.duplicateSchedule],
    ['Remove', CommandIDs.removeSchedule]
  ] as const) {
    fireEvent.click(button(name));
    expect(ran).toHaveBeenLastCalledWith(id, { id: 'a' });
  }
  fireEvent.click(button('Show its runs'));
  expect(ran).toHaveBeenLastCalledWith(CommandIDs.openSchedules, { schedule: 'a' });
});

it('goes on with the time while one looks', () => {
  say(schedule('a', { next_slots: [{ slot: NOW + 65, start_at: NOW + 65, text: 'soon' }] }));
  expect(container.textContent).toContain('(in 1 min)');
  act(() => {
    vi.advanceTimersByTime(20_000);
  });
  expect(container.textContent).toContain('(in 45 s)');
  act(() => {
    vi.advanceTimersByTime(60_000);
  });
  expect(container.textContent).toContain('due now');
});
