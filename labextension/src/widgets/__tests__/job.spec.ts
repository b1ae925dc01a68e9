import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { dollars, jobCost, notice } from '../../__tests__/samples';
import widget from '../job';
import { JobView } from '../view';
import type { ICounts, IHeader, IModel, IRank, IRankLog, ITraits, Line } from '../protocol';
import type { IGpuTraits, IGpuTraitsModel } from '../rankgpus';
import { aChange, aWhole, JOB, noCanvas } from './gpus';

type AllTraits = ITraits & IGpuTraits;

class FakeModel implements IModel, IGpuTraitsModel {
  constructor(traits: Partial<AllTraits> = {}) {
    this._traits = { ...TRAITS, ...traits };
  }

  get<K extends keyof AllTraits>(name: K): AllTraits[K] {
    return this._traits[name];
  }

  set(traits: Partial<AllTraits>): void {
    Object.assign(this._traits, traits);
    for (const name of Object.keys(traits)) {
      [...(this.listeners.get(`change:${name}`) ?? [])].forEach(listener => listener());
    }
  }

  on(event: string, callback: () => void): void {
    this.listeners.set(event, (this.listeners.get(event) ?? new Set()).add(callback));
  }

  off(event: string, callback: () => void): void {
    this.listeners.get(event)?.delete(callback);
  }

  send(content: unknown): void {
    this.sent.push(content);
  }

  readonly sent: unknown[] = [];
  readonly listeners = new Map<string, Set<() => void>>();
  private _traits: AllTraits;
}

function header(changes: Partial<IHeader> = {}): IHeader {
  return {
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
    ...changes
  };
}

function log(lines: Line[], changes: Partial<ICounts> = {}, head: Line[] = []): IRankLog {
  const counts = {
    seen: lines.length,
    shown: lines.length,
    folded: 0,
    left_out: 0,
    same: 0,
    same_as_first: false,
    bytes: 0,
    missing: 0,
    summary: `${lines.length} lines`,
    ...changes
  };
  return { head, tail: lines, counts };
}

const RANKS: IRank[] = [
  { rank: 0, state: 'running', node: 'node-a', failed: false, progress: null },
  { rank: 1, state: 'running', node: 'node-a', failed: false, progress: null }
];
const TRAITS: AllTraits = {
  header: header(),
  ranks: RANKS,
  manifest: { size_bytes: 0, count: 0, items: [] },
  log: { seq: 0, ranks: { '0': log([['one'], ['two']]), '1': log([['uno']]) } },
  delta: {},
  gpus: {},
  gpus_delta: {}
};

let root: HTMLElement;

beforeEach(() => {
  root = document.body.appendChild(document.createElement('div'));
});

afterEach(() => {
  vi.useRealTimers();
  root.remove();
});

function draw(traits: Partial<AllTraits> = {}): { model: FakeModel; dispose: () => void } {
  const model = new FakeModel(traits);
  return { model, dispose: widget.render({ model, el: root }) };
}

function text(selector: string): string {
  return root.querySelector(selector)?.textContent ?? '';
}

function lines(): string[] {
  return [...root.querySelectorAll<HTMLElement>('.aiinfra-line')]
    .filter(line => !line.hidden)
    .map(line => line.textContent ?? '');
}

function tabs(): HTMLElement[] {
  return [...root.querySelectorAll<HTMLElement>('[role=tab]')];
}

function press(key: string): void {
  const from = tabs().find(tab => tab.tabIndex === 0);
  from?.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true, cancelable: true }));
}

describe('the head', () => {
  it('says what the job is', () => {
    draw({ header: header({ message: 'stopping', tracking: 'MLflow run 8f14' }) });
    expect(text('.aiinfra-head')).toBe(
      'runningdigitspool here · 2 ranks · job 0abc · MLflow run 8f141 min 11 s'
    );
    expect(text('.aiinfra-message')).toBe('stopping');
    expect(root.querySelector('.aiinfra-job')?.className).toBe('aiinfra-job aiinfra-running');
    expect(text('.aiinfra-foot')).toContain('log: /runs/0abc/logs');
  });

  it('says what it costs, which goes on by itself, and what that is made of', () => {
    vi.useFakeTimers();
    const { model } = draw();
    expect(root.querySelector<HTMLElement>('.aiinfra-cost')?.hidden).toBe(true);
    const cost = jobCost('0abc', { cost: [dollars('1')], hourly: dollars('36') });
    model.set({ cost });
    expect(text('.aiinfra-spent')).toBe('$1.00 so far · $36.00/h');
    expect(text('.aiinfra-price')).toBe('price $2.49/GPU-h · 12 days old');
    vi.advanceTimersByTime(10_000);
    expect(text('.aiinfra-spent')).toBe('$1.10 so far · $36.00/h');
    model.set({
      header: header({ state: 'succeeded', ticking: false }),
      cost: { ...cost, at: 6_000, cost: [dollars('1.09')], hourly: null }
    });
    expect(text('.aiinfra-spent')).toBe('$1.09 in all');
  });

  it('says why nothing is known of the cost, and then nothing of a price', () => {
    const reason = 'pool here has no price';
    draw({ cost: jobCost('0abc', { cost: [], hourly: null, reason }) });
    expect(text('.aiinfra-spent')).toBe(`cost n/a: ${reason}`);
    expect(root.querySelector<HTMLElement>('.aiinfra-price')?.hidden).toBe(true);
  });

  it('explains what a budget says, and what can be typed', () => {
    const { model } = draw({ header: header({ notice: notice() }) });
    expect(text('.aiinfra-notice')).toBe(
      'Budget warning 80 % of the budget is spent%budget snooze b1 --for 1h'
    );
    model.set({ header: header({ notice: null }) });
    expect(root.querySelector<HTMLElement>('.aiinfra-notice')?.hidden).toBe(true);
  });

  it('says how far the job is, and which rank is slow, in words', () => {
    const { model } = draw();
    expect(root.querySelector<HTMLElement>('.aiinfra-progress')?.hidden).toBe(true);
    const line = 'step 1,240 · 0.42 s a step · rank 1 is slowest: 0.71 s';
    const progress = { step: 1240, step_seconds: 0.71, behind: 0, slow: true };
    model.set({
      header: header({ progress: line }),
      ranks: RANKS.map(rank => (rank.rank === 1 ? { ...rank, progress } : rank))
    });
    expect(text('.aiinfra-progress')).toBe(line);
    expect(root.querySelector<HTMLElement>('.aiinfra-progress')?.hidden).toBe(false);
    expect(tabs().map(tab => tab.textContent)).toContain('rank 1 (slow)');
    tabs()
      .find(tab => tab.textContent === 'rank 1 (slow)')
      ?.click();
    expect(text('.aiinfra-foot')).toContain('rank 1 · running · step 1,240');
  });

  it('counts the seconds by itself, until the job is over', () => {
    vi.useFakeTimers();
    const { model, dispose } = draw();
    vi.advanceTimersByTime(3000);
    expect(text('.aiinfra-elapsed')).toBe('1 min 14 s');
    model.set({ header: header({ state: 'succeeded', ticking: false, elapsed_seconds: 74.6 }) });
    vi.advanceTimersByTime(5000);
    expect(text('.aiinfra-elapsed')).toBe('1 min 15 s');
    dispose();
    expect(vi.getTimerCount()).toBe(0);
  });

  it('puts the traceback of the failing rank on top, as text', () => {
    const error = {
      rank: 1,
      title: 'rank 1 raised ValueError: <img src=x onerror=alert(1)>',
      where: 'line 12 of the cell',
      traceback: 'Traceback\n<b>\x1b[31mred\x1b[0m</b>'
    };
    const failed = RANKS.map(rank => ({ ...rank, failed: rank.rank === 1 })).reverse();
    draw({ header: header({ state: 'failed', ticking: false, error }), ranks: failed });
    expect(text('.aiinfra-error b')).toBe(error.title);
    expect(text('.aiinfra-error pre')).toBe('Traceback\n<b>red</b>');
    expect(text('.aiinfra-error pre .aiinfra-fg-1')).toBe('red');
    expect(root.querySelector('img, pre b')).toBeNull();
    expect(tabs().map(tab => [tab.textContent, tab.classList.contains('aiinfra-bad')])).toEqual([
      ['rank 1', true],
      ['rank 0', false]
    ]);
    expect(lines()).toEqual(['one', 'two']);
  });

  it('draws nothing before there is a job', () => {
    const { model } = draw({ header: {} as IHeader, ranks: [] });
    expect(text('.aiinfra-head')).toBe('');
    model.set({ header: header() });
    expect(text('.aiinfra-name')).toBe('digits');
  });
});

describe('the log', () => {
  it('follows deltas without drawing the lines that stay again', () => {
    const { model } = draw();
    const second = root.querySelectorAll('.aiinfra-line:not([hidden])')[1];
    const counts = log([], { left_out: 7 }).counts;
    model.set({
      delta: {
        seq: 1,
        base: 0,
        ranks: {
          '0': {
            splices: [
              [0, 1, []],
              [
                1,
                0,
                [
                  ['three', 412],
                  ['four', 1, 99],
                  ['', 1, 0, 5]
                ]
              ]
            ],
            counts
          }
        }
      }
    });
    expect(lines()).toEqual([
      '⋯ 7 lines left out (all in the log) ⋯',
      'two',
      'three× 412',
      'four … 99 more bytes',
      '⋯ 5 bytes are missing here ⋯'
    ]);
    expect(root.contains(second ?? null)).toBe(true);
  });

  it('shows the first lines, what is left out, and the last lines', () => {
    const whole = log([['end']], { left_out: 3211 }, [['start']]);
    draw({ log: { seq: 4, ranks: { '0': whole } } });
    expect(lines()).toEqual(['start', '⋯ 3,211 lines left out (all in the log) ⋯', 'end']);
  });

  it('asks once when it missed something, and is mended by a keyframe', () => {
    const { model } = draw();
    const ranks = { '0': { splices: [[0, 0, [['x']]]] as [number, number, Line[]][] } };
    model.set({ delta: { seq: 5, base: 4, ranks } });
    model.set({ delta: { seq: 6, base: 5, ranks } });
    expect(model.sent).toEqual([{ type: 'resync' }]);
    expect(lines()).toEqual(['one', 'two']);
    model.set({ log: { seq: 6, ranks: { '0': log([['all']]) } } });
    expect(lines()).toEqual(['all']);
    model.set({ delta: { seq: 7, base: 6, ranks } });
    expect(lines()).toEqual(['x', 'all']);
    expect(model.sent).toHaveLength(1);
  });

  it('never makes markup of what a program prints', () => {
    draw({ log: { seq: 1, ranks: { '0': log([['<script>x</script>\x1b[38;5;208m&lt;']]) } } });
    expect(lines()).toEqual(['<script>x</script>&lt;']);
    expect(root.querySelector('script')).toBeNull();
    expect(root.querySelector<HTMLElement>('.aiinfra-line span')?.style.color).toBe(
      'rgb(255, 135, 0)'
    );
  });

  it('follows the end until the reader scrolls away, and again on demand', () => {
    const { model } = draw();
    const panel = root.querySelector<HTMLElement>('.aiinfra-log');
    const jump = root.querySelector<HTMLButtonElement>('.aiinfra-jump');
    if (!panel || !jump) {
      throw new Error('not drawn');
    }
    Object.defineProperty(panel, 'scrollHeight', { value: 1000, configurable: true });
    Object.defineProperty(panel, 'clientHeight', { value: 300 });
    const add = (seq: number): void => {
      const splices: [number, number, Line[]][] = [[0, 0, [['new']]]];
      model.set({ delta: { seq, base: seq - 1, ranks: { '0': { splices } } } });
    };
    add(1);
    expect(panel.scrollTop).toBe(1000);
    panel.scrollTop = 200;
    panel.dispatchEvent(new Event('scroll'));
    add(2);
    expect([panel.scrollTop, jump.hidden]).toEqual([200, false]);
    jump.click();
    expect([panel.scrollTop, jump.hidden]).toEqual([1000, true]);
  });

  it('says when there is none', () => {
    const { model } = draw({ log: { seq: 0, ranks: {} } });
    expect(lines()).toContain('no output yet');
    model.set({ header: header({ ticking: false, state: 'lost' }) });
    expect(text('.aiinfra-foot')).toContain('rank 0 · running · no output');
  });
});

describe('the tabs', () => {
  const MANIFEST = {
    size_bytes: 735744,
    count: 3,
    items: [{ name: '<X>', kind: 'array', type: 'ndarray', size_bytes: 735744, how: 'array' }]
  };

  it('move with the arrow keys, Home and End, and keep the focus', () => {
    draw({ manifest: MANIFEST });
    tabs()[0]?.focus();
    press('ArrowRight');
    expect(lines()).toEqual(['uno']);
    expect(document.activeElement).toBe(tabs()[1]);
    expect(tabs().map(tab => tab.getAttribute('aria-selected'))).toEqual([
      'false',
      'true',
      'false'
    ]);
    press('ArrowRight');
    press('ArrowRight');
    expect(document.activeElement).toBe(tabs()[0]);
    press('ArrowLeft');
    expect(document.activeElement).toBe(tabs()[2]);
    press('Home');
    press('End');
    press('x');
    expect(document.activeElement).toBe(tabs()[2]);
    const panel = root.querySelector('[role=tabpanel]');
    expect(panel?.getAttribute('aria-labelledby')).toBe(tabs()[2]?.id);
    expect(tabs()[2]?.getAttribute('aria-controls')).toBe(panel?.id);
  });

  it('show what was sent', () => {
    draw({ manifest: MANIFEST });
    tabs()[2]?.click();
    expect(text('tbody')).toBe('<X>ndarray736 kBarrayand 2 more names');
    expect(text('.aiinfra-foot')).toContain('3 names, 736 kB');
  });

  it('show rank 0 where a rank printed the same, and follow it', () => {
    const same = log([], { same_as_first: true, summary: '2 lines, the same as rank 0' });
    const { model } = draw({ log: { seq: 0, ranks: { '0': log([['one'], ['two']]), '1': same } } });
    tabs()[1]?.click();
    expect(lines()).toEqual(['rank 1 printed the same as rank 0, shown here', 'one', 'two']);
    expect(text('.aiinfra-foot')).toContain('rank 1 · running · 2 lines, the same as rank 0');
    const splices: [number, number, Line[]][] = [[2, 0, [['three']]]];
    model.set({ delta: { seq: 1, base: 0, ranks: { '0': { splices } } } });
    expect(lines().at(-1)).toBe('three');
  });

  it('change their order when a rank fails, and show the launcher once it speaks', () => {
    const { model } = draw();
    const [, second] = tabs();
    model.set({
      ranks: [...RANKS].reverse(),
      log: { seq: 1, ranks: { '0': log([['one']]), '-1': log([['hello']]) } }
    });
    expect(tabs().map(tab => tab.textContent)).toEqual(['rank 1', 'rank 0', 'launcher']);
    expect(tabs()[0]).toBe(second);
    model.set({ ranks: RANKS.slice(0, 1), log: { seq: 2, ranks: { '0': log([['one']]) } } });
    expect(tabs()).toHaveLength(1);
  });
});

describe('the copy button', () => {
  it('copies what is shown as plain text', async () => {
    const writeText = vi.fn().mockResolvedValue(undefined);
    vi.stubGlobal('navigator', { clipboard: { writeText } });
    draw({ log: { seq: 0, ranks: { '0': log([['\x1b[31mred\x1b[0m', 3]]) } } });
    root.querySelector<HTMLButtonElement>('.aiinfra-copy')?.click();
    await vi.waitFor(() => expect(text('.aiinfra-copy')).toBe('Copied'));
    expect(writeText).toHaveBeenCalledWith('red  × 3');
    vi.unstubAllGlobals();
  });

  it('says so when it cannot', async () => {
    vi.stubGlobal('navigator', {});
    draw();
    root.querySelector<HTMLButtonElement>('.aiinfra-copy')?.click();
    await vi.waitFor(() => expect(text('.aiinfra-copy')).toBe('Not copied'));
    expect(document.querySelector('textarea')).toBeNull();
    vi.unstubAllGlobals();
  });
});

it('stops listening when it is disposed of', () => {
  const { model, dispose } = draw();
  dispose();
  expect([...model.listeners.values()].every(listeners => listeners.size === 0)).toBe(true);
});

it('draws the same model in two places', () => {
  const { model } = draw();
  const other = root.appendChild(document.createElement('div'));
  widget.render({ model, el: other });
  model.set({ header: header({ name: 'renamed' }) });
  expect([...root.querySelectorAll('.aiinfra-name')].map(name => name.textContent)).toEqual([
    'renamed',
    'renamed'
  ]);
  const ids = tabs().map(tab => tab.id);
  expect(new Set(ids).size).toBe(ids.length);
});

describe('the GPUs of the ranks', () => {
  const fold = (): HTMLDetailsElement | null => root.querySelector('.aiinfra-gpus');
  const tell = (traits: Partial<AllTraits>): FakeModel => {
    noCanvas();
    const { model } = draw({ header: header({ id: JOB }) });
    model.set(traits);
    return model;
  };

  it('are not there where there is none', () => {
    const model = tell({});
    expect(fold()?.hidden).toBe(true);
    model.set({ gpus: aWhole(1, { gpus: [], gpu_values: [] }) });
    expect(fold()?.hidden).toBe(true);
  });

  it('stand below the tabs, rank by rank, and go on by changes', async () => {
    const model = tell({ gpus: aWhole(1) });
    expect(fold()?.hidden).toBe(false);
    expect(fold()?.open).toBe(true);
    expect(fold()?.previousElementSibling?.className).toBe('aiinfra-bar');
    const said = text('.aiinfra-gpus > summary');
    expect(said).toMatch(/^GPUs · \d+ % · /);
    [0, 1, 2].forEach(number => model.set({ gpus_delta: aChange(2 + number, number) }));
    expect(text('.aiinfra-gpus > summary')).not.toBe(said);
    await vi.waitFor(() => expect(text('.aiinfra-Gpus-title')).toMatch(/^ranks? /), 3_000);
  });

  it('are a table of what they came to when the job is over', () => {
    noCanvas();
    const view = new JobView(new FakeModel(), root);
    view.endGpus([]);
    expect(fold()?.hidden).toBe(true);
    const use = { rank: 1, gpus: ['n0:3'], mean_percent: 41.2, peak_percent: null };
    view.endGpus([{ ...use, peak_memory_bytes: 3 * 2 ** 30, memory_total_bytes: 80 * 2 ** 30 }]);
    expect(text('.aiinfra-gpus > summary')).toBe(
      'GPUs · 1 rank · 41 % busy on average · 3/80 GiB at most'
    );
    expect([...root.querySelectorAll('.aiinfra-used td')].map(cell => cell.textContent)).toEqual([
      'rank 1',
      'n0:3',
      '41 %',
      'n/a',
      '3/80 GiB'
    ]);
    view.dispose();
  });
});
