import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { Trail } from '../history';
import { GpuStrips, type IStripOptions } from '../strip';
import { Board } from '../wire';
import { delta, deltas, frame } from './frames';

const JOB = '1nga2d9cenhm';
let strips: GpuStrips;

beforeEach(() => {
  vi.useFakeTimers({
    toFake: ['setTimeout', 'clearTimeout', 'requestAnimationFrame', 'performance']
  });
  // jsdom draws nothing; curves are looked at in a real browser.
  vi.spyOn(HTMLCanvasElement.prototype, 'getContext').mockReturnValue(null);
});

afterEach(() => {
  strips.dispose();
  document.body.replaceChildren();
  vi.useRealTimers();
});

function show(board: Board, options: IStripOptions = {}): Trail {
  const trail = new Trail();
  trail.push(board);
  strips = new GpuStrips(document.body.appendChild(document.createElement('div')), options);
  strips.draw(board, trail);
  vi.advanceTimersByTime(50);
  return trail;
}

const all = (selector: string): HTMLElement[] => [
  ...document.querySelectorAll<HTMLElement>(selector)
];
const rows = (): string[] =>
  all('.aiinfra-Gpus-row').map(row =>
    [...row.children]
      .map(cell => cell.textContent?.trim())
      .filter(Boolean)
      .join(' | ')
  );

/** The board after so many of the messages. */
function after(count: number): Board {
  const board = new Board(frame());
  deltas.slice(0, count).forEach(change => board.apply(change));
  return board;
}

describe('GpuStrips', () => {
  it('has a row a GPU, below its node, in words', () => {
    show(after(3));
    expect(all('.aiinfra-Gpus-head').map(head => head.textContent)).toEqual(['n0', 'n1']);
    expect(rows()).toEqual([
      'GPU 0H100 80GB HBM3 | utilization 70 % | memory 40/80 GiB | power 350/700 W | ' +
        `temperature 55 °C | ${JOB.slice(0, 8)} (rank 0)n/a: ? (4)`,
      'GPU 1H100 80GB HBM3 | utilization 50 % | memory 40/80 GiB | power 350/700 W | temperature 55 °C',
      'slice 0MIG 2g.20gb | utilization n/a | memory 3/20 GiB | power n/a | temperature 55 °C',
      'GPU 7H100 80GB HBM3 | utilization 4 % | memory 40/80 GiB | power 350/700 W | temperature 55 °C'
    ]);
    expect(all('.aiinfra-mod-slice')).toHaveLength(1);
    expect(all('.aiinfra-Gpus-fill').map(fill => fill.style.width)).toEqual([
      '50%',
      '50%',
      '15%',
      '50%'
    ]);
  });

  it('has a curve of the utilization, and of memory and power where that is asked for', () => {
    show(after(3));
    expect(all('.aiinfra-Gpus-row')[0]?.querySelectorAll('canvas')).toHaveLength(1);
    strips.dispose();
    document.body.replaceChildren();
    show(after(3), { curves: true });
    const cells = [...(all('.aiinfra-Gpus-row')[0]?.querySelectorAll('canvas') ?? [])];
    expect(cells.map(canvas => canvas.parentElement?.parentElement?.className)).toEqual([
      'aiinfra-Gpus-row',
      'aiinfra-Gpus-memory',
      'aiinfra-Gpus-power'
    ]);
    expect(all('.aiinfra-Gpus-bar')).toEqual([]);
  });

  it('says in words what is lost and what is not told any more', () => {
    show(after(4));
    expect(rows()[0]).toContain('utilization n/a');
    expect(rows()[0]).toContain('✕ lost');
    expect(all('.aiinfra-Gpus-head')[1]?.textContent).toBe('n1⚠ staleno route to n1 ☠');
    expect(all('.aiinfra-mod-old')).toHaveLength(1);
  });

  it('says what slows a GPU down, and of its errors', () => {
    show(after(5));
    expect(rows()[0]).toContain('⚠ slowed down: hw thermal⚠ ECC errors: 2');
  });

  it('goes by the ranks of a job', () => {
    const given = frame();
    const holders = (ranks: number[]): (typeof given.gpus)[number]['holders'] => [
      { job: JOB, ranks, leased: true }
    ];
    [[3], [], [1, 2], [0]].forEach((ranks, place) => {
      Object.assign(given.gpus[place] ?? {}, { holders: holders(ranks) });
    });
    show(new Board(given), { job: JOB });
    expect(rows().map(row => row.split(' | ')[0])).toEqual([
      'rank 0n1:7',
      'ranks 1, 2n0, slice 0',
      'rank 3n0:0',
      'no rank yetn0:1'
    ]);
    expect(rows().join()).not.toContain(JOB.slice(0, 8));
    expect(all('.aiinfra-Gpus-head')).toHaveLength(0);
  });

  it('opens a job, by the name it has', () => {
    const onJob = vi.fn();
    show(after(3), { onJob, names: id => (id === JOB ? 'train' : undefined) });
    const [button] = all('button.aiinfra-Gpus-job');
    expect(button?.textContent).toBe('train (rank 0)');
    button?.click();
    expect(onJob).toHaveBeenCalledWith(JOB);
  });

  it('draws once a second at most, and no row anew', () => {
    const board = new Board(frame());
    const trail = show(board);
    const [row] = all('.aiinfra-Gpus-row');
    expect(strips.drawn).toBe(1);
    for (let seq = 2; seq <= 6; seq += 1) {
      board.apply(delta({ seq, since: seq - 1, at: board.at + 0.1, g: 'a' }));
      strips.draw(board, trail);
      vi.advanceTimersByTime(50);
    }
    expect(strips.drawn).toBe(1);
    vi.advanceTimersByTime(1000);
    expect(strips.drawn).toBe(2);
    expect(rows()[0]).toContain('utilization 76 %');
    expect(all('.aiinfra-Gpus-row')[0]).toBe(row);
    vi.advanceTimersByTime(10_000);
    expect(strips.drawn).toBe(2);
  });

  it('draws nothing in a page that is hidden, and all of it when that is over', () => {
    const board = new Board(frame());
    const trail = show(board);
    const hidden = vi.spyOn(document, 'hidden', 'get').mockReturnValue(true);
    board.apply(delta({ g: 'a' }));
    vi.advanceTimersByTime(2000);
    strips.draw(board, trail);
    vi.advanceTimersByTime(5000);
    expect(strips.drawn).toBe(1);
    hidden.mockReturnValue(false);
    document.dispatchEvent(new Event('visibilitychange'));
    vi.advanceTimersByTime(50);
    expect(strips.drawn).toBe(2);
    expect(rows()[0]).toContain('utilization 72 %');
  });

  it('says that there is no GPU', () => {
    const given = frame();
    const [node] = given.nodes;
    show(
      new Board({
        ...given,
        nodes: [{ ...(node as NonNullable<typeof node>), gpus: 0 }],
        node_values: given.node_values.filter((_, place) => place % 2 === 0),
        gpus: [],
        gpu_values: []
      })
    );
    expect(strips.node.textContent).toBe('no GPU');
  });

  it('is translated by what it is given', () => {
    show(after(3), { trans: { __: text => text.toUpperCase() } });
    expect(rows()[2]).toContain('N/A');
  });
});
