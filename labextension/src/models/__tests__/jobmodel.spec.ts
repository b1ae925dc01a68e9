import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { fakeApi, FakeStream } from '../../__tests__/fakes';
import type { JobDetail, JobState, LogRows } from '../../api/types';
import { RequestError } from '../../request';
import type { IAiInfraApi } from '../../tokens';
import { JobView } from '../../widgets/view';
import { ServerJobModel } from '../jobmodel';

const LOST = 'the server is away';

function detail(state: JobState = 'running', version = 1): JobDetail {
  const item = { id: '0abc', name: 'digits', state, version, desired: 'run', fetch: [] };
  const header = {
    id: '0abc',
    name: 'digits',
    pool: 'here',
    state,
    world: 2,
    elapsed_seconds: 5,
    ticking: state === 'running',
    message: '',
    log: '%jobs logs 0abc',
    tracking: '',
    error: null
  };
  const ranks = [0, 1].map(rank => ({
    rank,
    state: 'running',
    node: 'a',
    failed: false,
    progress: null
  }));
  const manifest = { size_bytes: 0, count: 0, items: [] };
  return { item, header, ranks, manifest, timeline: [], fetch: [] } as unknown as JobDetail;
}

function logRows(rank: number, lines: string[], changes: Partial<LogRows> = {}): LogRows {
  return {
    rank,
    first: 0,
    rows: lines.map((text, index) => ({ text, line: index + 1, repeat: 1, left_out: 0 })),
    total_rows: lines.length,
    total_lines: lines.length,
    total_bytes: lines.join('\n').length,
    complete: false,
    ...changes
  };
}

let stream: FakeStream;
let root: HTMLElement;
let model: ServerJobModel;
let view: JobView | null;

beforeEach(() => {
  stream = new FakeStream();
  root = document.body.appendChild(document.createElement('div'));
  view = null;
});

afterEach(() => {
  view?.dispose();
  model.dispose();
  root.remove();
});

async function open(methods: Partial<IAiInfraApi> = {}): Promise<void> {
  const api = fakeApi({
    job: () => Promise.resolve(detail()),
    logRows: ({ rank }) => Promise.resolve(logRows(rank, [])),
    ...methods
  });
  const silenceNote = ({ message }: { message: string }): string => `${message}: not heard`;
  model = new ServerJobModel({ id: '0abc', api, stream, lostNote: LOST, silenceNote });
  view = new JobView(model, root, { onLook: rank => model.look(rank) });
  model.setActive(true);
  await settled();
}

async function settled(): Promise<void> {
  await new Promise(resolve => setTimeout(resolve, 0));
}

function lines(): string[] {
  return [...root.querySelectorAll<HTMLElement>('.aiinfra-line')]
    .filter(line => !line.hidden)
    .map(line => line.textContent ?? '');
}

function watched(): string[] {
  return stream.watched.map(({ topic, rank }) => (rank === null ? topic : `${topic} ${rank}`));
}

describe('a job that the server tells of', () => {
  it('is drawn by the component of the cell, line for line', async () => {
    await open();
    expect(root.className).toContain('aiinfra-running');
    stream.say({ type: 'log', id: '0abc', log: logRows(0, ['one', 'two']) });
    expect(lines()).toEqual(['one', 'two']);
    stream.say({ type: 'log', id: '0abc', log: logRows(0, ['one', 'two', '<b>three']) });
    expect(lines()).toEqual(['one', 'two', '<b>three']);
    stream.say({ type: 'log', id: 'other', log: logRows(0, ['no', 'no', 'no', 'no']) });
    expect(lines()).toHaveLength(3);
    stream.say({ type: 'job', detail: detail('succeeded', 2) });
    expect(root.className).toContain('aiinfra-succeeded');
    expect(model.knowledge).toBe('known');
  });

  it('has the first lines of a long log, also when that has begun anew', async () => {
    let first = 'old';
    await open({
      logRows: ({ rank, first: from }) =>
        Promise.resolve(logRows(rank, rank === 0 && from === 0 ? [first] : []))
    });
    const long = (bytes: number): LogRows =>
      logRows(0, ['last'], { first: 300, total_rows: 301, total_lines: 301, total_bytes: bytes });
    stream.say({ type: 'log', id: '0abc', log: long(5000) });
    await settled();
    expect([lines()[0], lines().at(-1)]).toEqual(['old', 'last']);
    first = 'new';
    stream.say({ type: 'log', id: '0abc', log: long(4000) });
    await settled();
    expect([lines()[0], lines().at(-1)]).toEqual(['new', 'last']);
  });

  it('is watched only while it is seen, with the log of the rank that is looked at', async () => {
    await open();
    expect(watched()).toEqual(['job', 'log 0']);
    root.querySelectorAll<HTMLElement>('[role=tab]')[1]?.click();
    expect(watched()).toEqual(['job', 'log 1']);
    model.setActive(false);
    expect(watched()).toEqual([]);
    model.setActive(true);
    expect(watched()).toEqual(['job', 'log 1']);
    model.dispose();
    expect(watched()).toEqual([]);
  });

  it('is watched no more once it is over and its log is read', async () => {
    await open();
    stream.say({ type: 'job', detail: detail('failed', 2) });
    expect(watched()).toEqual(['log 0']);
    stream.say({ type: 'log', id: '0abc', log: logRows(0, ['end'], { complete: true }) });
    expect(watched()).toEqual([]);
    expect(lines()).toEqual(['end']);
    root.querySelectorAll<HTMLElement>('[role=tab]')[1]?.click();
    expect(watched()).toEqual(['log 1']);
  });

  it('shows a launcher that said something, on a tab of its own', async () => {
    const said = logRows(-1, ['no such module'], { complete: true });
    await open({
      logRows: ({ rank }) => Promise.resolve(rank === -1 ? said : logRows(rank, []))
    });
    const tabs = [...root.querySelectorAll<HTMLElement>('[role=tab]')];
    expect(tabs.map(tab => tab.textContent)).toEqual(['rank 0', 'rank 1', 'launcher']);
    tabs[2]?.click();
    expect(lines()).toEqual(['no such module']);
    expect(watched()).toEqual(['job']);
  });

  it('reads the first lines of a log that is longer than what is streamed', async () => {
    const asked = vi.fn(({ rank, first }: { rank: number; first: number }) =>
      Promise.resolve(first === 0 ? logRows(rank, ['first']) : logRows(rank, []))
    );
    await open({ logRows: asked });
    const last = logRows(0, ['last'], { first: 900, total_rows: 901, total_lines: 901 });
    stream.say({ type: 'log', id: '0abc', log: last });
    stream.say({ type: 'log', id: '0abc', log: last });
    await settled();
    expect(lines()).toEqual(['first', '⋯ 899 lines left out (all in the log) ⋯', 'last']);
    expect(asked.mock.calls.filter(([query]) => query.rank === 0)).toHaveLength(1);
  });

  it('says that the pool does not answer while the state stays, until it does', async () => {
    await open();
    const silence = { message: 'gpu1 is away', heard_at: 7 };
    stream.say({ type: 'job', detail: { ...detail('running', 2), silence } });
    expect(root.querySelector('.aiinfra-message')?.textContent).toBe('gpu1 is away: not heard');
    expect(root.querySelector('.aiinfra-state')?.textContent).toBe('running');
    stream.say({ type: 'job', detail: detail('running', 2) });
    expect(root.querySelector<HTMLElement>('.aiinfra-message')?.hidden).toBe(true);
  });

  it('says that the server is away, keeps what it has, and goes on when it is back', async () => {
    await open();
    stream.say({ type: 'log', id: '0abc', log: logRows(0, ['one']) });
    stream.turn('lost');
    expect(root.querySelector('.aiinfra-message')?.textContent).toBe(LOST);
    expect(lines()).toEqual(['one']);
    stream.turn('live');
    expect(root.querySelector<HTMLElement>('.aiinfra-message')?.hidden).toBe(true);
    stream.say({ type: 'job', detail: detail('succeeded', 3) });
    stream.say({ type: 'log', id: '0abc', log: logRows(0, ['one', 'two'], { complete: true }) });
    expect(lines()).toEqual(['one', 'two']);
  });

  it('is asked for again when the server was away at first', async () => {
    const job = vi.fn<IAiInfraApi['job']>();
    job.mockRejectedValueOnce(new RequestError('unreachable', 'refused'));
    job.mockResolvedValue(detail());
    await open({ job });
    expect(model.knowledge).toBe('loading');
    expect(model.problem?.message).toBe(LOST);
    stream.turn('live');
    await settled();
    expect(model.knowledge).toBe('known');
    expect(model.problem).toBeNull();
  });

  it('is absent where the server knows no such job, or no jobs at all', async () => {
    await open({
      job: () => Promise.reject(new RequestError('refused', 'no job 0abc', { status: 404 }))
    });
    expect(model.knowledge).toBe('absent');
    expect(watched()).toEqual([]);
  });

  it('is absent once it has been removed', async () => {
    await open();
    stream.say({ type: 'gone', id: '0abc' });
    expect(model.knowledge).toBe('absent');
    expect(watched()).toEqual([]);
  });

  it('takes no older word for the newest', async () => {
    await open();
    stream.say({ type: 'job', detail: detail('succeeded', 5) });
    stream.say({ type: 'job', detail: detail('running', 4) });
    expect(root.className).toContain('aiinfra-succeeded');
  });
});
