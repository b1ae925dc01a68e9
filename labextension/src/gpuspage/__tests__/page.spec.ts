import { nullTranslator } from '@jupyterlab/translation';
import { Widget } from '@lumino/widgets';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { fakeApi, FakeStream } from '../../__tests__/fakes';
import { makeModels } from '../../__tests__/models';
import { job, jobsNews, pool } from '../../__tests__/samples';
import { delta, deltas, frame } from '../../gpus/__tests__/frames';
import { GpusPage } from '../page';

const T0 = frame().at;
const JOB = '1nga2d9cenhm';
const openJob = vi.fn();

let stream: FakeStream;
let page: GpusPage;

beforeEach(() => {
  vi.useFakeTimers({ now: T0 * 1000 });
  // jsdom draws nothing; charts are looked at in a real browser.
  vi.spyOn(HTMLCanvasElement.prototype, 'getContext').mockReturnValue(null);
  vi.spyOn(HTMLElement.prototype, 'clientWidth', 'get').mockReturnValue(600);
  openJob.mockReset();
  stream = new FakeStream();
  const api = fakeApi({
    gpuHistory: () => Promise.resolve([]),
    gpuRange: () => Promise.resolve({ start: T0 - 3_600, width_seconds: 60, count: 60, curves: [] })
  });
  page = new GpusPage({
    api,
    stream,
    models: makeModels({ api, stream }),
    trans: nullTranslator.load('jupyter_aiinfra'),
    openJob,
    attachPool: () => undefined
  });
  Widget.attach(page, document.body);
});

afterEach(() => {
  page.dispose();
  document.body.replaceChildren();
  vi.useRealTimers();
});

function begin(): void {
  stream.say({ type: 'pools', pools: [pool('here')] });
  stream.say(jobsNews([job(JOB, { name: 'train', pool: 'here', user: 'ada' })]));
  stream.say(frame());
  deltas.slice(0, 3).forEach(change => stream.say(change));
  settle();
}

function settle(): void {
  vi.advanceTimersByTime(3_000);
}

const all = (selector: string): HTMLElement[] => [
  ...page.node.querySelectorAll<HTMLElement>(selector)
];
const texts = (selector: string): string[] => all(selector).map(node => node.textContent ?? '');
const shown = (selector: string): boolean => all(selector).some(node => !node.hidden);
const press = (key: string, init: KeyboardEventInit = {}): void => {
  all('.aiinfra-GpusPage-plots')[0]?.dispatchEvent(
    new KeyboardEvent('keydown', { key, bubbles: true, ...init })
  );
};
const choose = (label: string, value: string): void => {
  const select = all('.aiinfra-GpusPage-choice')
    .find(node => node.textContent?.startsWith(label))
    ?.querySelector('select') as HTMLSelectElement;
  select.value = value;
  select.dispatchEvent(new Event('change'));
  settle();
};

describe('GpusPage', () => {
  it('says all of it in a few numbers, and each GPU as it is', () => {
    begin();
    expect(texts('.aiinfra-GpusPage-tile dd')).toEqual([
      '3/3',
      '41 %',
      '120/240 GiB',
      '1050/2100 W'
    ]);
    expect(all('.aiinfra-Gpus-row')).toHaveLength(4);
    expect(texts('.aiinfra-GpusPage-chart .aiinfra-GpusPage-value')).toEqual([
      '41 % (4 % to 70 %)',
      '40 GiB',
      '350 W',
      '55 °C'
    ]);
    expect(shown('.aiinfra-GpusPage-empty')).toBe(false);
  });

  it('opens the job that has a GPU, by its name', () => {
    begin();
    const [button] = all('button.aiinfra-Gpus-job');
    expect(button?.textContent).toBe('train (rank 0)');
    button?.click();
    expect(openJob).toHaveBeenCalledWith(JOB);
  });

  it('lists the processes, with whose they are', () => {
    begin();
    const details = all('details')[0] as HTMLDetailsElement;
    expect(details.textContent).toBe('Processes on GPUs (2)');
    details.open = true;
    details.dispatchEvent(new Event('toggle'));
    expect(texts('details tbody tr')).toEqual([
      'n0:0adatrain, rank 047111 GiBpython',
      'n0:0n/a4n/an/a'
    ]);
  });

  it('says what is missing: pools, readings, GPUs, a record', () => {
    settle();
    expect(texts('.aiinfra-GpusPage-empty')).toEqual(['loading…']);
    stream.say({ type: 'pools', pools: [] });
    settle();
    expect(texts('.aiinfra-GpusPage-empty')[0]).toContain('No pool is attached');
    stream.say({ type: 'pools', pools: [pool('here')] });
    settle();
    expect(texts('.aiinfra-GpusPage-empty')[0]).toContain('Waiting for the first readings');
    const { nodes } = frame();
    stream.say(
      frame({ gpus: [], gpu_values: [], nodes: nodes.map(node => ({ ...node, gpus: 0 })) })
    );
    settle();
    expect(texts('.aiinfra-GpusPage-empty')[0]).toBe('No GPU on these machines.');
    expect(texts('.aiinfra-Gpus-none')).toContain('no GPU');
  });

  it('says that nothing was recorded', async () => {
    begin();
    all('.aiinfra-GpusPage-spans button')[1]?.click();
    await vi.advanceTimersByTimeAsync(3_000);
    expect(texts('.aiinfra-GpusPage-empty')[0]).toContain('Nothing was recorded in this time.');
  });

  it('says why there is no news, with what to do', () => {
    begin();
    stream.say({
      type: 'problem',
      message: 'the pool is gone',
      hint: 'attach it again',
      topic: { topic: 'gpus', id: null, rank: null, pool: 'here', node: null, detail: null }
    });
    settle();
    expect(texts('.aiinfra-GpusPage-notice')).toEqual(['the pool is gone. attach it again']);
    stream.turn('lost');
    settle();
    expect(texts('.aiinfra-GpusPage-notice')[0]).toContain('Server not reachable');
  });

  it('is moved and zoomed by the keyboard, and back', () => {
    begin();
    const { model } = page;
    const before = model.shown();
    press('+');
    expect(model.shown().end - model.shown().start).toBeLessThan(160);
    press('ArrowLeft');
    press('-');
    const zoomed = model.shown();
    expect(zoomed).not.toEqual(before);
    settle();
    expect(shown('.aiinfra-GpusPage-window')).toBe(true);
    press('0');
    expect([model.view.window, model.shown()]).toEqual([null, before]);
    press('+');
    press('Escape');
    expect(model.view.window).toBeNull();
    press('+', { ctrlKey: true });
    expect(model.view.window).toBeNull();
  });

  it('marks a moment by the keyboard, and says what was so then', () => {
    begin();
    press('ArrowLeft', { shiftKey: true });
    press('ArrowLeft', { shiftKey: true });
    settle();
    expect(texts('.aiinfra-GpusPage-chart .aiinfra-GpusPage-value')[0]).toBe('50 % (3 % to 97 %)');
    press('Escape');
    settle();
    expect(texts('.aiinfra-GpusPage-chart .aiinfra-GpusPage-value')[0]).toBe('41 % (4 % to 70 %)');
  });

  it('is chosen: a pool, then by what, then a job', () => {
    begin();
    choose('Pool', 'here');
    expect(texts('.aiinfra-GpusPage-chart:first-child .aiinfra-GpusPage-line')).toHaveLength(4);
    choose('By', 'user');
    expect(texts('.aiinfra-GpusPage-chart:first-child .aiinfra-GpusPage-line')).toEqual(['70 %']);
    choose('Job', JOB);
    expect(page.model.view).toMatchObject({ pool: 'here', job: JOB, span: 300 });
    expect(texts('.aiinfra-GpusPage-spans button')).toContain('Whole job');
    choose('Job', '');
    expect(page.model.view).toMatchObject({ pool: 'here', job: null });
  });

  it('has the same in words', () => {
    begin();
    const button = all('.aiinfra-GpusPage-toggle').find(
      node => node.textContent === 'Show as table'
    ) as HTMLElement;
    button.click();
    settle();
    expect(button.getAttribute('aria-pressed')).toBe('true');
    expect(texts('caption')).toEqual(['Utilization', 'Memory', 'Power', 'Temperature']);
    expect(texts('tfoot')[0]).toBe('mean41 %least1 %most97 %');
    expect(shown('.aiinfra-GpusPage-plots')).toBe(false);
    button.click();
    settle();
    expect(shown('.aiinfra-GpusPage-plots')).toBe(true);
  });

  it('does nothing while it is hidden', () => {
    begin();
    page.hide();
    expect(stream.watched).toEqual([]);
    const before = page.rendered;
    stream.say(delta({ seq: 5, since: 4, at: T0 + 4, g: 'a' }));
    vi.advanceTimersByTime(60_000);
    expect(page.rendered).toBe(before);
    page.show();
    settle();
    expect(stream.watched.map(({ topic }) => topic).sort()).toEqual(['gpus', 'jobs', 'pools']);
    expect(page.rendered).toBeGreaterThan(before);
  });
});
