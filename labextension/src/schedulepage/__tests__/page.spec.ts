import { nullTranslator } from '@jupyterlab/translation';
import { CommandRegistry } from '@lumino/commands';
import { Widget } from '@lumino/widgets';
import axe from 'axe-core';
import { afterEach, describe, expect, it, vi } from 'vitest';

import { fakeApi, FakeStream } from '../../__tests__/fakes';
import { makeModels } from '../../__tests__/models';
import { run, schedule, version } from '../../__tests__/schedulesamples';
import type { ScheduleItem } from '../../api/types';
import { RequestError } from '../../request';
import { CommandIDs, type IAiInfraApi, type IAiInfraModels } from '../../tokens';
import { SchedulePage } from '../page';

const trans = nullTranslator.load('jupyter_aiinfra');

let page: SchedulePage;
let stream: FakeStream;
let models: IAiInfraModels;
let executed: [string, unknown][];

function open(all: ScheduleItem[], methods: Partial<IAiInfraApi> = {}): void {
  stream = new FakeStream();
  executed = [];
  const api = fakeApi({ runs: () => Promise.resolve({ runs: [], more: false }), ...methods });
  models = makeModels({ api, stream });
  const commands = new CommandRegistry();
  const { runSchedule, pauseSchedule, resumeSchedule, openRun, cancelRun, removeSchedule } =
    CommandIDs;
  for (const id of [
    runSchedule,
    pauseSchedule,
    resumeSchedule,
    openRun,
    cancelRun,
    removeSchedule
  ]) {
    commands.addCommand(id, { label: id, execute: args => void executed.push([id, args]) });
  }
  page = new SchedulePage({ api, models, commands, trans });
  Widget.attach(page, document.body);
  stream.say({ type: 'schedules', changed: all, removed: [], reset: true });
}

const rows = (): HTMLElement[] => [
  ...page.node.querySelectorAll<HTMLElement>('[role=tabpanel] > :not([hidden]) .aiinfra-Table-row')
];
const names = (): (string | null | undefined)[] =>
  rows().map(row => row.querySelector('[data-focus=name]')?.textContent);
const drawn = (check: () => void): Promise<void> => vi.waitFor(check);

afterEach(() => {
  page.dispose();
});

describe('SchedulePage', () => {
  const nightly = schedule('s1', {
    name: 'nightly',
    last_runs: [run('r2'), run('r1', { state: 'failed' })]
  });
  const hourly = schedule('s2', { name: 'hourly', state: 'paused', next_slots: [] });

  it('lists schedules, finds and sorts them', async () => {
    open([nightly, hourly]);
    await drawn(() => expect(names()).toEqual(['hourly', 'nightly']));
    expect(rows()[1]?.textContent).toContain('50 %');
    expect(rows()[0]?.textContent).toContain('paused');
    expect(rows()[1]?.querySelector('svg.aiinfra-History')?.getAttribute('aria-label')).toBe(
      'last 2 runs: 1 failed, 1 succeeded'
    );
    page.node.querySelector<HTMLElement>('[data-focus="head next"]')?.click();
    await drawn(() => expect(names()).toEqual(['nightly', 'hourly']));
    const search = page.node.querySelector('input');
    if (search) {
      search.value = 'HOUR';
      search.dispatchEvent(new Event('input'));
    }
    await drawn(() => expect(names()).toEqual(['hourly']));
    page.model.show({ find: 'nothing like it' });
    await drawn(() =>
      expect(page.node.querySelector('.aiinfra-SchedulePage-empty')?.textContent).toContain(
        'No schedule has this'
      )
    );
  });

  it('runs, pauses and resumes', async () => {
    open([nightly, hourly]);
    await drawn(() => expect(rows()).toHaveLength(2));
    const press = (label: string): void =>
      page.node.querySelector<HTMLElement>(`[aria-label="${label}"]`)?.click();
    press('Run nightly now');
    press('Pause nightly');
    press('Resume hourly');
    expect(executed).toEqual([
      [CommandIDs.runSchedule, { id: 's1' }],
      [CommandIDs.pauseSchedule, { id: 's1' }],
      [CommandIDs.resumeSchedule, { id: 's2' }]
    ]);
  });

  it('is walked through with keys', async () => {
    open([nightly, hourly]);
    await drawn(() => expect(rows()).toHaveLength(2));
    const press = (key: string): void =>
      void document.activeElement?.dispatchEvent(
        new KeyboardEvent('keydown', { key, bubbles: true })
      );
    rows()[0]?.focus();
    press('ArrowDown');
    expect(document.activeElement).toBe(rows()[1]);
    press('Delete');
    expect(executed).toEqual([[CommandIDs.removeSchedule, { id: 's1' }]]);
    press('Enter');
    expect(page.model.view).toMatchObject({ schedule: 's1', tab: 'runs' });
  });

  it('shows the runs of one, and what changes of them', async () => {
    const failed = run('r1', { state: 'failed', reason: 'cell 3 raised KeyError' });
    const asked = vi.fn<IAiInfraApi['runs']>(() =>
      Promise.resolve({
        runs: [run('r2', { state: 'running', ended_at: null }), failed],
        more: false
      })
    );
    open([nightly], { runs: asked });
    page.model.show({ schedule: 's1', tab: 'runs' });
    await drawn(() => expect(rows()).toHaveLength(2));
    expect(asked.mock.calls[0]?.[0]).toMatchObject({ schedule: 's1', limit: 200 });
    expect(rows()[1]?.textContent).toContain('cell 3 raised KeyError');
    expect(page.node.querySelector('h2')?.textContent).toBe('nightly');
    page.node.querySelector<HTMLElement>('[aria-label="Cancel run r2"]')?.click();
    expect(executed).toEqual([[CommandIDs.cancelRun, { id: 'r2' }]]);
    stream.say({
      type: 'runs',
      id: null,
      changed: [run('r3'), run('r2'), failed],
      removed: [],
      reset: true,
      more: false
    });
    await drawn(() => expect(rows()).toHaveLength(3));
    expect(rows()[0]?.dataset['id']).toBe('r3');
    page.model.show({ state: 'failed' });
    await drawn(() => expect(rows()).toHaveLength(1));
  });

  it('draws only what is in sight of ten thousand runs', async () => {
    const all = Array.from({ length: 10_000 }, (_, at) => run(`r${20_000 - at}`));
    open([nightly], {
      runs: ({ before, limit = 0 } = {}) => {
        const first = before === undefined ? 0 : all.findIndex(({ id }) => id === before) + 1;
        const found = all.slice(first, first + limit);
        return Promise.resolve({ runs: found, more: first + limit < all.length });
      }
    });
    page.model.show({ tab: 'runs', runSort: 'took', runDown: true });
    await drawn(() => expect(page.model.list.rows).toHaveLength(10_000));
    await drawn(() => expect(rows().length).toBeGreaterThan(10));
    expect(rows().length).toBeLessThan(60);
    const table = page.node.querySelector('[aria-label=Runs]');
    expect(table?.getAttribute('aria-rowcount')).toBe('10001');
  });

  it('says why there is no answer, and asks again', async () => {
    const asked = vi
      .fn<IAiInfraApi['runs']>()
      .mockRejectedValueOnce(new RequestError('refused', 'the record is locked', { status: 503 }))
      .mockResolvedValue({ runs: [run('r1')], more: false });
    open([nightly], { runs: asked });
    page.model.show({ tab: 'runs' });
    const notice = page.node.querySelector<HTMLElement>('.aiinfra-SchedulePage-notice');
    await drawn(() => expect(notice?.textContent).toContain('the record is locked'));
    notice?.querySelector('button')?.click();
    await drawn(() => expect(rows()).toHaveLength(1));
    expect(notice?.hidden).toBe(true);
  });

  it('shows what two versions differ in, and rolls back', async () => {
    const second = version({ number: 2, note: 'faster', created_by: null });
    const item = { ...nightly, version: second };
    const rolled = vi.fn<IAiInfraApi['rollbackSchedule']>(() =>
      Promise.resolve({ ...item, version: version({ number: 3 }) })
    );
    open([item], {
      schedule: () => Promise.resolve({ item, versions: [second, version()] }),
      versionDiff: (_id, from, to) =>
        Promise.resolve({
          from,
          to,
          cells: [
            {
              index: 1,
              kind: 'changed',
              before: 'a',
              after: 'b',
              lines: [
                { op: '-', text: 'a' },
                { op: '+', text: 'b' }
              ]
            }
          ],
          fields: [{ name: 'policy.retries', before: 0, after: 2 }],
          files: [{ path: 'data.csv', kind: 'added' }]
        }),
      rollbackSchedule: rolled
    });
    page.model.show({ schedule: 's1', tab: 'versions' });
    const diff = (): string => page.node.querySelector('.aiinfra-Diff')?.textContent ?? '';
    await drawn(() => expect(diff()).toContain('Cell 2: changed-a+b'));
    expect(diff()).toContain('policy.retries02');
    expect(diff()).toContain('data.csv: added');
    expect(page.node.querySelector('.aiinfra-SchedulePage-table')?.textContent).toContain(
      'unknown'
    );
    page.node.querySelector<HTMLElement>('[aria-label="Roll back to version 1"]')?.click();
    await drawn(() => expect(page.model.schedule?.version.number).toBe(3));
    expect(rolled).toHaveBeenCalledWith('s1', 1);
  });

  it('watches nothing when it is out of sight', async () => {
    open([nightly]);
    expect(stream.watched.map(({ topic }) => topic).sort()).toEqual(['runs', 'schedules']);
    Widget.detach(page);
    expect(stream.watched).toEqual([]);
    Widget.attach(page, document.body);
    await drawn(() => expect(rows()).toHaveLength(1));
  });

  it('has no fault that axe finds', async () => {
    open([nightly, hourly], { runs: () => Promise.resolve({ runs: [run('r1')], more: false }) });
    const check = async (): Promise<void> => {
      const { violations } = await axe.run(page.node, {
        rules: { 'color-contrast': { enabled: false }, region: { enabled: false } }
      });
      expect(violations.map(({ id, nodes }) => [id, nodes.map(({ html }) => html)])).toEqual([]);
    };
    await drawn(() => expect(rows()).toHaveLength(2));
    await check();
    page.model.show({ schedule: 's1', tab: 'runs' });
    await drawn(() => expect(rows()).toHaveLength(1));
    await check();
  });
});
