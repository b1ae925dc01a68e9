import { nullTranslator } from '@jupyterlab/translation';
import { Toolbar } from '@jupyterlab/ui-components';
import { CommandRegistry } from '@lumino/commands';
import { Widget } from '@lumino/widgets';
import axe from 'axe-core';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { fakeApi, FakeStream } from '../../__tests__/fakes';
import { dollars, jobCost, notice } from '../../__tests__/samples';
import type { JobDetail, JobItem } from '../../api/types';
import { GpusModel } from '../../gpus/live';
import { RequestError } from '../../request';
import { CommandIDs, type IAiInfraApi } from '../../tokens';
import type { IHeader } from '../../widgets/protocol';
import { JobPage } from '../page';
import { fillToolbar } from '../toolbar';
import { fakeFrames, giveSize, rows, settle } from './logs';

const ITEM: JobItem = {
  id: '0abc',
  name: 'digits',
  kind: 'train',
  pool: 'here',
  state: 'running',
  desired: 'run',
  version: 3,
  nodes: 1,
  world: 2,
  message: '',
  created_at: 1_000,
  started_at: 1_002,
  ended_at: null,
  notebook: null,
  user: null,
  notice: null
};

function detail(changes: Partial<JobDetail> = {}, header: Partial<IHeader> = {}): JobDetail {
  return {
    item: ITEM,
    header: {
      id: '0abc',
      name: 'digits',
      pool: 'here',
      state: 'running',
      world: 2,
      elapsed_seconds: 71,
      ticking: true,
      message: '',
      progress: '',
      log: '/runs/0abc/logs',
      tracking: '',
      error: null,
      ...header
    },
    ranks: [
      { rank: 1, state: 'failed', node: 'node-b', failed: true, progress: null },
      { rank: 0, state: 'running', node: 'node-a', failed: false, progress: null }
    ],
    manifest: {
      size_bytes: 1200,
      count: 1,
      items: [{ name: 'model', kind: 'module', type: 'Net', size_bytes: 1200, how: 'copied' }]
    },
    timeline: [
      { at: 1_000, kind: 'job.added', detail: { pool: 'here', name: 'digits', state: 'pending' } },
      { at: 1_002, kind: 'job.state', detail: { from: 'pending', to: 'running' } },
      {
        at: 1_005,
        kind: 'job.restart',
        detail: { attempt: 2, at: 1_004, reason: 'node gpu2 was lost', nodes: ['gpu1'] }
      },
      { at: 1_010, kind: 'job.state', detail: { from: 'running', to: 'lost', reason: 'gone <b>' } }
    ],
    code: 'train()',
    line: '--procs 2',
    fetch: [],
    tracking_url: null,
    placement: [],
    cost: null,
    tags: {},
    ...changes
  } as unknown as JobDetail;
}

const TOTAL = 500;
let frames: ReturnType<typeof fakeFrames>;
const hosts: Widget[] = [];

beforeEach(() => {
  frames = fakeFrames();
});

afterEach(() => {
  hosts.splice(0).forEach(host => host.dispose());
  document.body.replaceChildren();
  vi.unstubAllGlobals();
});

interface IOpened {
  page: JobPage;
  toolbar: Toolbar;
  node: HTMLElement;
  stream: FakeStream;
  commands: CommandRegistry;
  logRows: ReturnType<typeof vi.fn>;
}

async function open(
  methods: Partial<IAiInfraApi> = {},
  commands = new CommandRegistry()
): Promise<IOpened> {
  const stream = new FakeStream();
  const logRows = vi.fn((query: { rank: number; first: number; count: number }) =>
    Promise.resolve(rows({ ...query, total: query.rank < 0 ? 0 : TOTAL }, { rank: query.rank }))
  );
  const api = fakeApi({
    job: () => Promise.resolve(detail()),
    logRows,
    logUrl: ({ id, rank }) => `/aiinfra/jobs/${id}/logs/${rank}`,
    fileUrl: (id, path) => `/aiinfra/jobs/${id}/files/${path}`,
    ...methods
  });
  const trans = nullTranslator.load('jupyter_aiinfra');
  const gpus = new GpusModel({ api, stream });
  const page = new JobPage({ api, stream, gpus, trans, id: '0abc', follow: true, wrap: false });
  // The toolbar of a page moves what does not fit out of sight, and in jsdom nothing fits.
  const toolbar = new Toolbar();
  fillToolbar(toolbar, { model: page.model, commands, trans });
  hosts.push(page, toolbar);
  giveSize(page.node.querySelector<HTMLElement>('.aiinfra-VirtualLog-region') ?? page.node, 180);
  Widget.attach(toolbar, document.body);
  Widget.attach(page, document.body);
  await draw();
  return { page, toolbar, node: page.node, stream, commands, logRows };
}

async function draw(): Promise<void> {
  await settle();
  frames.next();
  await settle();
  frames.next();
}

function lines(node: HTMLElement): string[] {
  return [...node.querySelectorAll('.aiinfra-row')].map(each => each.textContent);
}

function click(node: HTMLElement, label: string): void {
  const found = [...node.querySelectorAll<HTMLElement>('button, [role="tab"]')].find(
    each => each.textContent === label
  );
  expect(found, label).toBeDefined();
  found?.click();
}

function button(toolbar: Toolbar, name: string): HTMLElement {
  const found = toolbar.node.querySelector<HTMLElement>(
    `[data-jp-item-name="${name}"] .jp-ToolbarButtonComponent`
  );
  expect(found, name).not.toBeNull();
  return found as HTMLElement;
}

function isOff(toolbar: Toolbar, name: string): boolean {
  return button(toolbar, name).getAttribute('aria-disabled') === 'true';
}

describe('the page of a job', () => {
  it('shows the head, the ranks with the failing one first, and the end of its log', async () => {
    const { page, node, stream, logRows } = await open();

    expect(node.querySelector('.aiinfra-name')?.textContent).toBe('digits');
    expect(page.title.label).toBe('digits (running)');
    expect(
      [...node.querySelectorAll('.aiinfra-LogSection [role="tab"]')].map(each => each.textContent)
    ).toEqual(['rank 1', 'rank 0']);
    expect(logRows).toHaveBeenCalledWith({ id: '0abc', rank: 1, first: -200, count: 200 });
    expect(lines(node).at(-1)).toBe(`line ${TOTAL - 1}`);
    expect(stream.watched).toEqual([
      { topic: 'job', id: '0abc', rank: null },
      { topic: 'log', id: '0abc', rank: 1 }
    ]);
  });

  it('follows what the stream says, and what is not of this log is nothing to it', async () => {
    const { node, stream, page } = await open();
    const log = rows({ first: 500, count: 100, total: 600 }, { rank: 1 });
    stream.say({ type: 'log', id: '0abc', log });
    stream.say({ type: 'log', id: '0abc', log: { ...log, rank: 0, total_rows: 7 } });
    stream.say({ type: 'log', id: 'other', log: { ...log, total_rows: 9 } });
    await draw();
    expect(lines(node).at(-1)).toBe('line 599');

    stream.say({
      type: 'job',
      detail: detail({ item: { ...ITEM, state: 'failed' } }, { state: 'failed', ticking: false })
    });
    expect(page.title.label).toBe('digits (failed)');
    expect(node.classList.contains('aiinfra-failed')).toBe(true);
  });

  it('keeps the place in each log', async () => {
    const { node, stream } = await open();
    const region = node.querySelector<HTMLElement>('.aiinfra-VirtualLog-region');
    region?.dispatchEvent(new KeyboardEvent('keydown', { key: 'Home' }));
    await draw();
    expect(lines(node)[0]).toBe('line 0');

    click(node, 'rank 0');
    await draw();
    expect(lines(node).at(-1)).toBe(`line ${TOTAL - 1}`);
    expect(stream.watched.at(-1)).toEqual({ topic: 'log', id: '0abc', rank: 0 });
    expect(stream.watched).toHaveLength(2);

    click(node, 'rank 1');
    await draw();
    expect(lines(node)[0]).toBe('line 0');
  });

  it('has a tab for the launcher once that has printed something', async () => {
    const { node } = await open({
      logRows: query => Promise.resolve(rows({ ...query, total: 4 }, { rank: query.rank }))
    });

    click(node, 'launcher');
    await draw();
    expect(lines(node)).toHaveLength(4);
  });

  it('has a tab for the launcher of each node of several, and reads the log of that one', async () => {
    const asked = vi.fn((query: { rank: number }) =>
      Promise.resolve(rows({ first: 0, count: 4, ...query, total: 4 }, { rank: query.rank }))
    );
    const nodes = ['gpu1', 'gpu2'].map(name => ({ name, health: 'live', since: null, reason: '' }));
    const whole = detail();
    const header = { ...(whole.header as object), nodes } as unknown as JobDetail['header'];
    const { node } = await open({
      job: () => Promise.resolve({ ...whole, header }),
      logRows: asked
    });

    click(node, 'launcher gpu1');
    click(node, 'launcher gpu2');
    await draw();
    expect(asked.mock.calls.at(-1)?.[0].rank).toBe(-2);
  });

  it('says when the pool was last heard, while it does not answer the server', async () => {
    const { node, stream } = await open();
    const silence = { message: 'gpu1 did not answer in time', heard_at: 1_000 };
    stream.say({ type: 'job', detail: { ...detail(), silence } });
    const notice = node.querySelector<HTMLElement>('.aiinfra-JobPage-notice');
    expect(notice?.textContent).toMatch(/^gpu1 did not answer in time\. Last heard at \d/);
    stream.say({ type: 'job', detail: detail() });
    expect(notice?.hidden).toBe(true);
  });

  it('says what the job costs, and asks where that has not been told for long', async () => {
    const jobCosts = vi.fn(() =>
      Promise.resolve([jobCost('0abc', { at: 6_000, cost: [dollars('9')], hourly: null })])
    );
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
    try {
      const opening = open({
        job: () => Promise.resolve({ ...detail(), cost: jobCost('0abc') }),
        jobCosts
      });
      await vi.advanceTimersByTimeAsync(1_000);
      const { node, page } = await opening;
      const spent = (): string => node.querySelector('.aiinfra-spent')?.textContent ?? '';
      expect(spent()).toMatch(/^\$2\.49 so far · \$4\.98\/h/);
      page.hide();
      await vi.advanceTimersByTimeAsync(60_000);
      expect(jobCosts).not.toHaveBeenCalled();
      page.show();
      await vi.advanceTimersByTimeAsync(1_000);
      expect(jobCosts).toHaveBeenCalledExactlyOnceWith(['0abc']);
      expect(spent()).toBe('$9.00 so far');
    } finally {
      vi.useRealTimers();
    }
  });

  it('explains what a budget says of it', async () => {
    const { node, stream } = await open();
    const said = notice({ kind: 'question', text: '$20.00 for job 0abc are spent' });
    stream.say({ type: 'job', detail: detail({}, { notice: said }) });
    expect(node.querySelector('.aiinfra-notice')?.textContent).toContain(said.text);
    // Without a server to ask the commands are named; see notice.spec.ts for the buttons.
    expect(node.querySelector('.aiinfra-notice code')?.textContent).toBe(
      '%budget snooze b1 --for 1h'
    );
  });

  it('does not watch the log while it is out of sight', async () => {
    const { page, stream } = await open();
    page.hide();
    expect(stream.watched.map(({ topic }) => topic)).toEqual(['job']);
    page.show();
    expect(stream.watched.map(({ topic }) => topic)).toEqual(['job', 'log']);
    page.open('timeline');
    expect(stream.watched.map(({ topic }) => topic)).toEqual(['job']);
    page.dispose();
    expect(stream.watched).toEqual([]);
  });

  it('watches the GPUs while their section is in sight, and names it after them', async () => {
    const { page, node, stream } = await open();
    const topics = (): string[] => stream.watched.map(({ topic }) => topic);
    click(node, 'Nodes');
    expect(topics()).toEqual(['job', 'gpus']);
    // Why they cannot be told of is said there, and is no problem of the job.
    const topic = { topic: 'gpus', id: '0abc', rank: null } as const;
    stream.say({ type: 'problem', message: 'cannot be read', hint: '', topic });
    expect(node.querySelector<HTMLElement>('.aiinfra-JobPage-notice')?.hidden).toBe(true);
    expect(node.querySelector('.aiinfra-JobGpus')?.textContent).toContain('cannot be read');
    page.hide();
    expect(topics()).toEqual(['job']);
    page.show();
    expect(topics()).toEqual(['job', 'gpus']);
    stream.say({
      type: 'job',
      detail: detail({ placement: [{ node: 'node-a', gpus: ['GPU-1'] }] })
    });
    click(node, 'GPUs');
    click(node, 'Log');
    expect(topics()).toEqual(['job', 'log']);
    page.dispose();
    expect(stream.watched).toEqual([]);
  });
});

describe('when the server is away', () => {
  it('says so, shows what was known, and catches up with nothing doubled', async () => {
    const { node, stream } = await open();
    const notice = node.querySelector<HTMLElement>('.aiinfra-JobPage-notice');
    expect(notice?.hidden).toBe(true);

    stream.turn('lost');
    expect(notice?.textContent).toBe('Server not reachable; showing what was known.');
    expect(notice?.hidden).toBe(false);
    expect(lines(node).at(-1)).toBe(`line ${TOTAL - 1}`);

    stream.turn('live');
    stream.say({ type: 'hello', version: '1', instance: 'another' });
    stream.say({ type: 'job', detail: detail() });
    const log = rows({ first: TOTAL - 50, count: 55, total: TOTAL + 5 }, { rank: 1 });
    stream.say({ type: 'log', id: '0abc', log });
    await draw();

    expect(notice?.hidden).toBe(true);
    expect(lines(node)).toEqual(
      Array.from({ length: 10 }, (_none, at) => `line ${TOTAL - 5 + at}`)
    );
  });

  it('opens with what the stream says later', async () => {
    const { node, stream } = await open({
      job: () => Promise.reject(new RequestError('unreachable', 'Failed to fetch'))
    });
    expect(node.textContent).toContain('Server not reachable');
    stream.say({ type: 'job', detail: detail() });
    await draw();

    expect(node.querySelector<HTMLElement>('.aiinfra-JobPage-notice')?.hidden).toBe(true);
    expect(lines(node).at(-1)).toBe(`line ${TOTAL - 1}`);
  });

  it('shows why a log is not told of, until it is again', async () => {
    const { node, stream } = await open();
    const notice = node.querySelector<HTMLElement>('.aiinfra-JobPage-notice');
    const topic = { topic: 'log', id: '0abc', rank: 1 } as const;
    stream.say({ type: 'problem', message: 'no such pool', hint: '', topic });
    expect(notice?.textContent).toBe('no such pool');
    const log = rows({ first: 0, count: 10, total: 10 }, { rank: 1 });
    stream.say({ type: 'log', id: '0abc', log });
    expect(notice?.hidden).toBe(true);
  });

  it('shows why a job is not told of', async () => {
    const { node } = await open({
      job: () => Promise.reject(new RequestError('refused', 'no database', { hint: 'start it' }))
    });

    expect(node.querySelector('.aiinfra-JobPage-notice')?.textContent).toBe(
      'no database. start it'
    );
  });
});

describe('a job that is gone', () => {
  it('says so and leaves what was known', async () => {
    const { page, node, stream } = await open();
    stream.say({ type: 'gone', id: 'other' });
    stream.say({ type: 'gone', id: '0abc' });
    await draw();

    expect(node.querySelector('.aiinfra-JobPage-notice')?.textContent).toContain('been removed');
    expect(lines(node)).not.toHaveLength(0);
    expect(page.model.gone).toBe(true);
  });

  it('says so where it never was there', async () => {
    const { node } = await open({
      job: () => Promise.reject(new RequestError('refused', 'no job', { status: 404 }))
    });

    expect(node.textContent).toContain('There is no job 0abc in the record');
  });
});

describe('the sections', () => {
  it('are drawn when opened', async () => {
    const { node } = await open({
      plan: () => Promise.resolve({ text: 'node 0: <python>' }),
      files: () => Promise.resolve([{ path: 'out/a b.txt', size_bytes: 2048, modified_at: 1_000 }])
    });
    const other = node.querySelector<HTMLElement>('.aiinfra-JobPage-other');

    click(node, 'Sent');
    expect(other?.textContent).toContain('model');
    click(node, 'Plan');
    await settle();
    expect(other?.querySelector('pre')?.textContent).toBe('node 0: <python>');
    click(node, 'Timeline');
    expect(other?.textContent).toContain('launched on pool here');
    expect(other?.textContent).toContain('attempt 2 begun on gpu1: node gpu2 was lost');
    expect(other?.textContent).toContain('lost: gone <b>');
    expect(other?.textContent).toContain('+ 5.0 s');
    expect(other?.textContent).toContain('waited 2.0 s');
    click(node, 'Files');
    await settle();
    const link = other?.querySelector('a');
    expect(link?.getAttribute('href')).toBe('/aiinfra/jobs/0abc/files/out/a b.txt');
    expect(other?.textContent).toContain('2.0 kB');
    click(node, 'Code');
    expect(other?.querySelector('pre')?.textContent).toBe('%%accelerate --procs 2\ntrain()');
  });

  it('show why there is nothing, and ask again when told to', async () => {
    const plan = vi
      .fn<IAiInfraApi['plan']>()
      .mockRejectedValueOnce(new RequestError('refused', 'no pool', { hint: 'attach it' }))
      .mockResolvedValueOnce({ text: 'now' });
    const { node } = await open({ plan });
    click(node, 'Plan');
    await settle();
    expect(node.querySelector('[role="alert"]:not([hidden])')).not.toBeNull();
    expect(node.querySelector('.aiinfra-JobPage-section')?.textContent).toBe(
      'no poolattach itTry again'
    );

    click(node, 'Try again');
    await settle();
    expect(node.querySelector('.aiinfra-JobPage-section pre')?.textContent).toBe('now');
  });

  it('are not disturbed by an answer that comes late', async () => {
    let answer: (plan: { text: string }) => void = () => undefined;
    const { node } = await open({ plan: () => new Promise(resolve => (answer = resolve)) });
    click(node, 'Plan');
    click(node, 'Code');
    answer({ text: 'late' });
    await settle();

    expect(node.querySelector('.aiinfra-JobPage-other')?.textContent).not.toContain('late');
  });
});

describe('the toolbar', () => {
  it('gives commands the job, and is off where there is none', async () => {
    const commands = new CommandRegistry();
    const execute = vi.fn();
    commands.addCommand(CommandIDs.cancelJob, { execute });
    const { toolbar, stream } = await open({}, commands);
    await vi.waitFor(() => expect(isOff(toolbar, 'cancel')).toBe(false));
    await vi.waitFor(() => {
      expect(isOff(toolbar, 'rerun')).toBe(true);
      expect(isOff(toolbar, 'tracking')).toBe(true);
    });

    button(toolbar, 'cancel').click();
    expect(execute).toHaveBeenCalledWith({ id: '0abc' });

    stream.say({ type: 'job', detail: detail({ item: { ...ITEM, state: 'succeeded' } }) });
    await vi.waitFor(() => expect(isOff(toolbar, 'cancel')).toBe(true));
  });

  it('opens the MLflow run in a tab that knows nothing of this one', async () => {
    const opened = vi.spyOn(window, 'open').mockReturnValue(null);
    const { toolbar, stream } = await open();
    stream.say({ type: 'job', detail: detail({ tracking_url: 'javascript:alert(1)' }) });
    await vi.waitFor(() => expect(isOff(toolbar, 'tracking')).toBe(true));
    stream.say({ type: 'job', detail: detail({ tracking_url: 'https://mlflow.example/runs/7' }) });
    await vi.waitFor(() => expect(isOff(toolbar, 'tracking')).toBe(false));
    button(toolbar, 'tracking').click();

    expect(opened).toHaveBeenCalledWith(
      'https://mlflow.example/runs/7',
      '_blank',
      'noopener,noreferrer'
    );
  });
});

describe('the search bar', () => {
  it('opens with Ctrl+F, jumps from match to match and closes with Escape', async () => {
    const searchLog = vi.fn(() => Promise.resolve({ rows: [3, 490], more: false, next: null }));
    const { node } = await open({ searchLog });
    const event = new KeyboardEvent('keydown', {
      key: 'f',
      ctrlKey: true,
      bubbles: true,
      cancelable: true
    });
    node.querySelector('.aiinfra-VirtualLog-region')?.dispatchEvent(event);
    expect(event.defaultPrevented).toBe(true);
    const bar = node.querySelector<HTMLElement>('.aiinfra-SearchBar');
    const input = bar?.querySelector('input');
    expect(bar?.hidden).toBe(false);
    expect(document.activeElement).toBe(input);

    const press = (key: string, more: KeyboardEventInit = {}): void => {
      input?.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true, ...more }));
    };
    if (input) {
      input.value = 'line';
      input.dispatchEvent(new Event('input'));
    }
    press('Enter');
    await draw();
    expect(searchLog).toHaveBeenCalledWith({
      id: '0abc',
      rank: 1,
      text: 'line',
      matchCase: false,
      from: 0,
      limit: 1_000
    });
    const status = bar?.querySelector('.aiinfra-SearchBar-status');
    expect(status?.textContent).toBe('2 of 2');
    expect(node.querySelectorAll('mark').length).toBeGreaterThan(5);

    press('Enter');
    await draw();
    expect(status?.textContent).toBe('1 of 2');
    expect(lines(node)).toContain('line 3');
    expect(node.querySelector('.aiinfra-mod-current')?.textContent).toBe('line 3');
    press('Enter', { shiftKey: true });
    await draw();
    expect(status?.textContent).toBe('2 of 2');

    press('Escape');
    await draw();
    expect(bar?.hidden).toBe(true);
    expect(node.querySelector('mark')).toBeNull();
  });
});

describe('for everybody', () => {
  it('has no fault that axe finds', async () => {
    const { node } = await open();
    const { violations } = await axe.run(node, {
      // jsdom lays nothing out, so it knows no colours.
      rules: { 'color-contrast': { enabled: false } }
    });

    expect(violations.map(({ id, nodes }) => [id, nodes.map(({ html }) => html)])).toEqual([]);
  });

  it('copies the log and offers it for download', async () => {
    const writeText = vi.fn(() => Promise.resolve());
    vi.stubGlobal('navigator', { ...navigator, clipboard: { writeText } });
    const { node } = await open();
    click(node, 'Copy');
    await settle();
    await vi.waitFor(() => expect(node.textContent).toContain(`Copied ${TOTAL} rows`));

    expect(writeText).toHaveBeenCalledWith(
      Array.from({ length: TOTAL }, (_none, at) => `line ${at}`).join('\n')
    );
    expect(node.querySelector('.aiinfra-LogSection-tools a')?.getAttribute('href')).toBe(
      '/aiinfra/jobs/0abc/logs/1'
    );
  });
});
