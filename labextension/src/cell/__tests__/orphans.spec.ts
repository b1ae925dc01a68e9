import type { NotebookPanel } from '@jupyterlab/notebook';
import { describe, expect, it, vi } from 'vitest';

import { fakeApi } from '../../__tests__/fakes';
import type { JobDetail } from '../../api/types';
import { findOrphans, type IOrphan } from '../orphans';
import { JOB_MIME } from '../reference';
import { jobDetail } from './jobs';

const NOW = 100_000;
const SOURCE = '%%accelerate here\ntrain()\n';

interface ICellOfTest {
  source: string;
  shows?: string[];
  running?: boolean;
}

function panelOf(...cells: ICellOfTest[]): NotebookPanel {
  const widgets = cells.map(({ source, shows = [], running = false }) => ({
    model: {
      type: 'code',
      executionState: running ? 'running' : 'idle',
      sharedModel: { getSource: () => source },
      outputs: {
        length: shows.length,
        get: (index: number) => ({ data: { [JOB_MIME]: { id: shows[index], state: 'running' } } })
      }
    }
  }));
  return { content: { widgets } } as unknown as NotebookPanel;
}

async function find(
  panel: NotebookPanel,
  jobs: JobDetail[],
  dismissed: string[] = []
): Promise<{ found: IOrphan[]; asked: string[] }> {
  const asked: string[] = [];
  const api = fakeApi({
    jobs: ({ state } = {}) => {
      asked.push(`jobs ${state}`);
      const active = jobs.filter(({ item }) => item.state === 'running');
      const ended = jobs.filter(({ item }) => item.state !== 'running');
      const chosen = state === 'active' ? active : ended;
      return Promise.resolve({ jobs: chosen.map(({ item }) => item), more: false });
    },
    job: id => {
      asked.push(id);
      const job = jobs.find(({ item }) => item.id === id);
      return job ? Promise.resolve(job) : Promise.reject(new Error(`no ${id}`));
    }
  });
  const isDismissed = vi.fn((id: string) => dismissed.includes(id));
  const found = await findOrphans(panel, { api, path: 'nb.ipynb', isDismissed, now: NOW });
  return { found, asked };
}

function ids(found: IOrphan[]): string[] {
  return found.map(({ detail }) => detail.item.id);
}

const done = { state: 'succeeded', ended_at: NOW - 60 } as const;

describe('the jobs that a notebook does not show', () => {
  it('are those that go on, at the cell with their text', async () => {
    const panel = panelOf({ source: 'x = 1' }, { source: SOURCE });
    const { found } = await find(panel, [jobDetail()]);
    expect(ids(found)).toEqual(['0abc']);
    expect(found[0]?.cell).toBe(panel.content.widgets[1]);
  });

  it('are not asked for where no cell launches any', async () => {
    const { found, asked } = await find(panelOf({ source: 'x = 1' }), [jobDetail()]);
    expect([found, asked]).toEqual([[], []]);
  });

  it('are none that a cell shows, nor of a cell that runs or has changed since', async () => {
    const jobs = [jobDetail()];
    expect((await find(panelOf({ source: SOURCE, shows: ['0abc'] }), jobs)).found).toEqual([]);
    expect((await find(panelOf({ source: SOURCE, running: true }), jobs)).found).toEqual([]);
    expect((await find(panelOf({ source: `${SOURCE}more()` }), jobs)).found).toEqual([]);
    expect((await find(panelOf({ source: SOURCE }), jobs, ['0abc'])).found).toEqual([]);
  });

  it('are none of another notebook, and no other kind of job', async () => {
    const panel = panelOf({ source: SOURCE });
    const other = [
      jobDetail({ notebook: '/home/me/other.ipynb' }),
      jobDetail({ kind: 'endpoint' })
    ];
    const { found, asked } = await find(panel, other);
    expect(found).toEqual([]);
    expect(asked).toEqual(['jobs active', 'jobs ended']);
  });

  it('are the newest of a cell only, and one for each of two cells that are alike', async () => {
    const jobs = [
      jobDetail({ id: 'old', created_at: 1 }),
      jobDetail({ id: 'mid', created_at: 2 }),
      jobDetail({ id: 'new', created_at: 3 })
    ];
    expect(ids((await find(panelOf({ source: SOURCE }), jobs)).found)).toEqual(['new']);
    const twice = panelOf({ source: SOURCE, shows: ['new'] }, { source: SOURCE });
    expect(ids((await find(twice, jobs)).found)).toEqual(['mid']);
  });

  it('are those, too, whose results nobody has fetched within the day', async () => {
    const panel = panelOf({ source: SOURCE });
    const fetch = ['history'];
    expect(ids((await find(panel, [jobDetail(done, { fetch })])).found)).toEqual(['0abc']);
    expect((await find(panel, [jobDetail(done)])).found).toEqual([]);
    const failed = jobDetail({ ...done, state: 'failed' }, { fetch });
    expect((await find(panel, [failed])).found).toEqual([]);
    const old = jobDetail({ ...done, ended_at: NOW - 90_000 }, { fetch });
    expect((await find(panel, [old])).found).toEqual([]);
  });

  it('are not an older one where the newest has failed', async () => {
    const jobs = [
      jobDetail({ ...done, id: 'old', created_at: 1 }, { fetch: ['history'] }),
      jobDetail({ ...done, id: 'new', created_at: 2, state: 'failed' }, { fetch: ['history'] })
    ];
    expect((await find(panelOf({ source: SOURCE }), jobs)).found).toEqual([]);
  });
});
