import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import widget from '../gpus';
import type { IGpusModel, IGpusTraits } from '../gpuboard';
import { aChange, aWhole, JOB, noCanvas } from './gpus';

class FakeModel implements IGpusModel {
  constructor(traits: Partial<IGpusTraits> = {}) {
    this._traits = {
      about: { title: 'pool here', job: null },
      gpus: aWhole(1),
      delta: {},
      past: [],
      life: { state: 'live' },
      ...traits
    };
  }

  get<K extends keyof IGpusTraits>(name: K): IGpusTraits[K] {
    return this._traits[name];
  }

  set(traits: Partial<IGpusTraits>): void {
    Object.assign(this._traits, traits);
    Object.keys(traits).forEach(name => this.say(`change:${name}`));
  }

  say(event: string): void {
    [...(this._listeners.get(event) ?? [])].forEach(listener => listener());
  }

  on(event: string, callback: () => void): void {
    this._listeners.set(event, (this._listeners.get(event) ?? new Set()).add(callback));
  }

  off(event: string, callback: () => void): void {
    this._listeners.get(event)?.delete(callback);
  }

  send(content: unknown): void {
    this.sent.push(content);
  }

  get listeners(): number {
    return [...this._listeners.values()].reduce((count, each) => count + each.size, 0);
  }

  readonly sent: unknown[] = [];
  private _listeners = new Map<string, Set<() => void>>();
  private _traits: IGpusTraits;
}

let root: HTMLElement;

beforeEach(() => {
  vi.useFakeTimers({
    toFake: [
      'setTimeout',
      'clearTimeout',
      'setInterval',
      'clearInterval',
      'requestAnimationFrame',
      'performance'
    ]
  });
  noCanvas();
  root = document.body.appendChild(document.createElement('div'));
});

afterEach(() => {
  vi.useRealTimers();
  root.remove();
});

function draw(traits: Partial<IGpusTraits> = {}): { model: FakeModel; dispose: () => void } {
  const model = new FakeModel(traits);
  const dispose = widget.render({ model, el: root });
  vi.advanceTimersByTime(50);
  return { model, dispose };
}

const text = (selector: string): string => root.querySelector(selector)?.textContent ?? '';
const texts = (selector: string): string[] =>
  [...root.querySelectorAll(selector)].map(each => each.textContent ?? '');
const state = (): string => text('.aiinfra-GpuBoard-state');

describe('the widget of GPUs', () => {
  it('says of what it is, how much of it is in use, and shows a row a GPU', () => {
    draw();
    expect(text('.aiinfra-GpuBoard-title')).toBe('GPUs · pool here');
    expect(text('.aiinfra-GpuBoard-summary')).toMatch(
      /^3 × H100 80GB HBM3 · \d\/3 in use · \d+ % · .* GiB · .* W$/
    );
    expect(root.querySelectorAll('.aiinfra-Gpus-row')).toHaveLength(4);
    expect(state()).toBe('live');
    expect(root.querySelector('[role=group]')?.getAttribute('aria-label')).toBe(
      'GPUs of pool here'
    );
  });

  it('follows what the kernel says', () => {
    const { model } = draw();
    const before = texts('.aiinfra-Gpus-util');
    model.set({ delta: aChange(2, 0) });
    vi.advanceTimersByTime(1_500);
    expect(texts('.aiinfra-Gpus-util')).not.toEqual(before);
    expect(model.sent.filter(word => (word as { type: string }).type === 'resync')).toEqual([]);
  });

  it('asks once for all of it where something was missed', () => {
    const { model } = draw();
    model.set({ delta: aChange(5, 2) });
    model.set({ delta: aChange(6, 2) });
    const asked = model.sent.filter(word => (word as { type: string }).type === 'resync');
    expect(asked).toHaveLength(1);
    model.set({ gpus: aWhole(7) });
    expect(state()).toBe('live');
  });

  it('has the processes in a table, in words where something is unknown', () => {
    const { model } = draw();
    [0, 1, 2].forEach(number => model.set({ delta: aChange(2 + number, number) }));
    expect(texts('.aiinfra-GpuBoard-processes th')).toEqual([
      'GPU',
      'user',
      'command',
      'memory',
      'job',
      'rank',
      'pid'
    ]);
    const rows = [...root.querySelectorAll('.aiinfra-GpuBoard-processes tbody tr')].map(row =>
      [...row.children].map(cell => cell.textContent)
    );
    expect(rows.length).toBeGreaterThan(0);
    expect(rows.some(row => row.includes(JOB))).toBe(true);
    expect(text('.aiinfra-GpuBoard-processes > summary')).toMatch(/^\d+ process(es)?/);
  });

  it('shows a job rank by rank', () => {
    const { model } = draw({ about: { title: `job ${JOB}`, job: JOB } });
    [0, 1, 2].forEach(number => model.set({ delta: aChange(2 + number, number) }));
    vi.advanceTimersByTime(1_500);
    expect(text('.aiinfra-Gpus-title')).toMatch(/^ranks? /);
  });

  it('shows an overview as a row a node', () => {
    const whole = aWhole(1);
    const [pool] = whole.pools;
    const frame = pool?.frame;
    if (!pool || !frame) {
      throw new Error('the frames are there');
    }
    const series = ['utilization', 'memory', 'power', 'busy'];
    pool.frame = {
      ...frame,
      scope: { ...frame.scope, detail: 'nodes' },
      gpus: [],
      gpu_series: [],
      gpu_values: [],
      node_series: series.map(name => ({ name, unit: '', step: 1 })),
      node_values: [70, null, 2 ** 14, null, 31_000, null, 2, null]
    };
    draw({ gpus: whole });
    const rows = [...root.querySelectorAll('tbody tr')].map(row =>
      [...row.children].map(cell => cell.textContent)
    );
    expect(rows[0]?.slice(0, 3)).toEqual(['n0', expect.stringMatching(/^2\//), '70 %']);
    expect(rows[1]?.[2]).toBe('n/a');
    expect(text('.aiinfra-GpuBoard-summary')).toMatch(/ · 31 kW$/);
    expect(root.querySelector<HTMLElement>('.aiinfra-GpuBoard-processes')?.hidden).toBe(true);
  });

  it('says why a pool is not there beside one that is', () => {
    const lab = { pool: 'lab', problem: 'pool lab does not answer', frame: null };
    draw({ gpus: { seq: 1, pools: [...aWhole().pools, lab] } });
    expect(texts('.aiinfra-GpuBoard-pool')).toEqual(['here', 'lab']);
    expect(text('.aiinfra-GpuBoard-problem')).toBe('⚠ pool lab does not answer');
  });

  it('says so where there is no GPU', () => {
    draw({ gpus: aWhole(1, { gpus: [], gpu_values: [] }) });
    expect(text('.aiinfra-GpuBoard-summary')).toBe('no GPU');
  });
});

describe('a widget whose kernel', () => {
  it('says nothing more says from when it is', () => {
    const { model } = draw();
    vi.advanceTimersByTime(9_000);
    expect(state()).toBe('live');
    vi.advanceTimersByTime(3_000);
    expect(state()).toMatch(/^no longer live: the kernel says nothing, as of \d+:/);
    expect(root.firstElementChild?.classList.contains('aiinfra-mod-notlive')).toBe(true);
    model.set({ delta: aChange(2, 0) });
    expect(state()).toBe('live');
  });

  it('is gone says so at once', () => {
    const { model } = draw();
    model.say('comm_live_update');
    expect(state()).toMatch(/^no longer live: its kernel is gone, as of/);
  });

  it('cannot be told anything is gone', () => {
    const { model } = draw();
    const send = vi.spyOn(model, 'send').mockImplementation(() => {
      throw new Error('Cannot send');
    });
    vi.advanceTimersByTime(1_000);
    model.set({ life: { state: 'paused' } });
    expect(send).toHaveBeenCalledTimes(1);
    expect(state()).toMatch(/^no longer live: its kernel is gone, as of/);
    send.mockRestore();
    vi.advanceTimersByTime(9_000);
    expect(model.sent.at(-1)).toMatchObject({ type: 'look' });
    model.set({ life: { state: 'live' }, delta: aChange(2, 0) });
    expect(state()).toBe('live');
  });

  it('has ended says why', () => {
    const { model } = draw();
    model.set({ life: { state: 'ended', why: 'the extension was unloaded' } });
    expect(state()).toMatch(/^no longer live: the extension was unloaded, as of/);
  });

  it('rests is woken by a page that looks', () => {
    const { model } = draw();
    const looks = (): number =>
      model.sent.filter(word => (word as { type: string }).type === 'look').length;
    expect(looks()).toBe(1);
    vi.advanceTimersByTime(2_000);
    model.set({ life: { state: 'paused' } });
    expect(looks()).toBe(2);
  });

  it('goes leaves nothing behind', () => {
    const { model, dispose } = draw();
    expect(model.listeners).toBeGreaterThan(0);
    dispose();
    expect(model.listeners).toBe(0);
    expect(model.sent.at(-1)).toMatchObject({ type: 'leave' });
  });
});
