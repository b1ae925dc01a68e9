import { nullTranslator } from '@jupyterlab/translation';
import { Widget } from '@lumino/widgets';
import axe from 'axe-core';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { fakeApi, FakeStream } from '../../__tests__/fakes';
import { run, version } from '../../__tests__/schedulesamples';
import { RequestError } from '../../request';
import { GpusModel } from '../../gpus/live';
import { RunsModel } from '../../models/runs';
import type { IAiInfraApi } from '../../tokens';
import { RunPage, type IRunPageOptions } from '../page';
import { code, news, notebookOf, printed, raised, rendermime } from './notebooks';

const trans = nullTranslator.load('jupyter_aiinfra');
const NO_JOB = new RequestError('refused', 'no such job', { status: 404 });

let page: RunPage;
let stream: FakeStream;
const opened = vi.fn<(id: string) => void>();

function open(methods: Partial<IAiInfraApi> = {}, changes: Partial<IRunPageOptions> = {}): void {
  stream = new FakeStream();
  const api = fakeApi({
    run: id => Promise.resolve(run(id, { state: 'running', ended_at: null })),
    job: () => Promise.reject(NO_JOB),
    runOutputUrl: (id, form) => `/runs/${id}/output?form=${form}`,
    ...methods
  });
  page = new RunPage({
    api,
    stream,
    runs: new RunsModel({ api, stream }),
    gpus: new GpusModel({ api, stream }),
    rendermime: rendermime(),
    languages: null,
    trans,
    id: 'r7',
    follow: true,
    wrap: false,
    openJob: opened,
    openSchedule: opened,
    openGpus: opened,
    openCost: opened,
    ...changes
  });
  Widget.attach(page, document.body);
}

const text = (selector: string): string | null | undefined =>
  page.node.querySelector(selector)?.textContent;

beforeEach(() => {
  Element.prototype.scrollIntoView = vi.fn();
  opened.mockClear();
});

afterEach(() => {
  page.dispose();
});

describe('RunPage', () => {
  it('draws a running notebook, and only what has changed of it', async () => {
    open();
    expect(stream.watched).toContainEqual({ topic: 'notebook', id: 'r7', rank: null });
    stream.say(news(notebookOf(code('print(1)', { outputs: [printed('one\n')] }), code('2'))));
    await vi.waitFor(() => expect(text('.aiinfra-RunCell-outputs')).toContain('one'));
    const cells = page.node.querySelectorAll('.aiinfra-RunCell');
    expect(cells).toHaveLength(2);
    expect(cells[0]?.getAttribute('data-state')).toBe('running');
    expect(text('.aiinfra-RunHead-cell')).toBe('cell 1 of 2');
    const changed = code('2', { outputs: [printed('two\n')] });
    stream.say(news(null, { reset: false, cell: 2, cells: 2, changes: [[1, changed]] }));
    await vi.waitFor(() => expect(cells[1]?.textContent).toContain('two'));
    expect([...page.node.querySelectorAll('.aiinfra-RunCell')]).toEqual([...cells]);
    expect(cells[0]?.getAttribute('data-state')).toBe('completed');
    expect(text('.aiinfra-RunHead-cell')).toBe('cell 2 of 2');
  });

  it('runs no script of an output', async () => {
    open();
    const html = { 'text/html': '<b>bold</b><img src=x onerror="window.evil = 1">' };
    const output = { output_type: 'display_data', data: html, metadata: {} };
    stream.say(news(notebookOf(code('x', { outputs: [output] }))));
    await vi.waitFor(() => expect(text('.aiinfra-RunCell-outputs b')).toBe('bold'));
    expect(page.node.querySelector('[onerror]')).toBeNull();
  });

  it('says why it failed, and has the cell in view', async () => {
    open();
    const failed = code('fit()', { outputs: [raised('ValueError')] });
    const over = { live: false, state: 'over', cell: null } as const;
    const item = { state: 'failed', reason: 'cell 2 raised ValueError', ended_at: 1040 } as const;
    stream.say(news(notebookOf(code('1'), failed), over, item));
    expect(text('[role=alert]')).toContain('cell 2 raised ValueError');
    expect(text('.aiinfra-RunHead-error button')).toBe('Show cell 2');
    const cell = page.node.querySelectorAll('.aiinfra-RunCell')[1];
    expect(document.activeElement).toBe(cell);
    expect(page.title.label).toBe('report (failed)');
    expect(page.node.classList).toContain('aiinfra-failed');
    await vi.waitFor(() => expect(cell?.textContent).toContain('ValueError'));
  });

  it('says that a run is gone, and watches nothing when it is out of sight', async () => {
    open({ run: () => Promise.reject(NO_JOB) });
    await vi.waitFor(() => expect(text('.aiinfra-JobPage-notice')).toContain('no run r7'));
    Widget.detach(page);
    expect(stream.watched.filter(({ topic }) => topic === 'notebook')).toEqual([]);
    Widget.attach(page, document.body);
  });

  it('shows the parameters of its version, and the forms of what is stored', async () => {
    const item = { files: { ipynb: ['s3://b/report.ipynb'] } };
    open({
      schedule: () => Promise.resolve({ item: undefined as never, versions: [version()] })
    });
    stream.say(
      news(
        notebookOf(code('1')),
        { findings: [{ cell: 1, kind: 'github', count: 2, where: 'output' }] },
        { outputs: item }
      )
    );
    page.open('parameters');
    await vi.waitFor(() => expect(text('.aiinfra-JobPage-other table')).toBe('lr0.5'));
    page.open('results');
    expect(text('.aiinfra-JobPage-other')).toContain('s3://b/report.ipynb');
    expect(text('.aiinfra-JobPage-other')).toContain('github');
    const links = [...page.node.querySelectorAll('a')].map(link => link.getAttribute('href'));
    expect(links).toContain('/runs/r7/output?form=html');
  });

  it('lists each attempt, whose job is opened', () => {
    open();
    stream.say(news(notebookOf(code('1')), {}, { jobs: ['a1'], job: 'a2', attempt: 2 }));
    page.open('attempts');
    const rows = [...page.node.querySelectorAll('.aiinfra-JobPage-other tbody tr')];
    expect(rows.map(row => row.textContent)).toEqual(['1a1tried again', '2a2running']);
    rows[0]?.querySelector('button')?.click();
    expect(opened).toHaveBeenCalledWith('a1');
  });

  it('compares with a run before', async () => {
    const before = vi.fn<IAiInfraApi['runs']>(() =>
      Promise.resolve({ runs: [run('r6')], more: false })
    );
    open({
      runs: before,
      compareRuns: () =>
        Promise.resolve({
          same: false,
          cells: [
            { index: 0, kind: 'same', source: [], outputs: [] },
            { index: 1, kind: 'changed', source: [], outputs: ['-one\n', '+two\n'] }
          ],
          parameters: [{ name: 'lr', before: 0.1, after: 0.2 }]
        })
    });
    stream.say(news(notebookOf(code('1'))));
    page.open('compare');
    await vi.waitFor(() => expect(text('.aiinfra-Diff')).toContain('Cell 2: differs'));
    expect(before.mock.calls[0]?.[0]).toMatchObject({ schedule: 's1', before: 'r7' });
    expect(text('.aiinfra-Diff-line.aiinfra-mod-added')).toBe('+two');
    expect(text('.aiinfra-Diff-values tbody')).toBe('lr0.10.2');
  });

  it('has no fault that axe finds', async () => {
    open();
    stream.say(news(notebookOf(code('1', { outputs: [printed('one\n')] }))));
    await vi.waitFor(() => expect(text('.aiinfra-RunCell-outputs')).toContain('one'));
    const { violations } = await axe.run(page.node, {
      rules: { 'color-contrast': { enabled: false }, region: { enabled: false } }
    });
    expect(violations.map(({ id, nodes }) => [id, nodes.map(({ html }) => html)])).toEqual([]);
  });
});
