import type { Trail } from '../gpus/history';
import { GpuStrips } from '../gpus/strip';
import { ENGLISH, memoryText, ofText, unknownText, valueText } from '../gpus/text';
import type { Board } from '../gpus/wire';
import { h } from './dom';
import { plural } from './format';
import { GpuBoards, type IGpusChange, type IWholeGpus, type Unset } from './gpuboards';

/** So many rows are seen at a glance; more are folded at first. */
const FEW = 8;
const MOST_ROWS = 64;
const COLUMNS = ['rank', 'GPU', 'mean', 'peak', 'peak memory'];

/** What a rank did with its GPUs; made by `jupyter_aiinfra/widgets/gpuuse.py`. */
export interface IGpuUse {
  rank: number;
  gpus: string[];
  mean_percent: number | null;
  peak_percent: number | null;
  peak_memory_bytes: number | null;
  memory_total_bytes: number | null;
}

/** The GPUs of a job's ranks, folded away where there are many; nothing where there is none. */
export class RankGpus {
  constructor() {
    this.node.append(this._summary, this._list);
    this.node.hidden = true;
  }

  readonly node = h('details', { class: 'aiinfra-gpus' });

  /** Draw them as they are now. */
  draw(job: string, board: Board, trail: Trail): void {
    const count = board.gpus.length;
    if (count === 0) {
      return;
    }
    if (this._strips === null) {
      const list = h('div');
      this._list.replaceChildren(list);
      this._strips = new GpuStrips(list, { job });
      this.node.open = count <= FEW;
      this.node.hidden = false;
    }
    const { utilization, memoryUsed, memoryTotal, power, powerLimit } = board.summary();
    this._say([
      valueText(utilization, '%', ENGLISH),
      memoryText(memoryUsed, memoryTotal, ENGLISH),
      ofText(power, powerLimit, 'W', ENGLISH)
    ]);
    this._strips.draw(board, trail);
  }

  /** Say what they came to, where that is known, in place of what they do. */
  end(uses: readonly IGpuUse[]): void {
    this.dispose();
    this.node.hidden = uses.length === 0;
    if (uses.length > 0) {
      this._say(usesText(uses));
      this._list.replaceChildren(useTable(uses.slice(0, MOST_ROWS)));
      if (uses.length > MOST_ROWS) {
        const more = `and ${plural(uses.length - MOST_ROWS, 'more rank')}`;
        this._list.append(h('div', { class: 'aiinfra-note' }, more));
      }
    }
  }

  dispose(): void {
    this._strips?.dispose();
    this._strips = null;
  }

  private _say(facts: string[]): void {
    const text = ['GPUs', ...facts].join(' · ');
    if (this._summary.textContent !== text) {
      this._summary.textContent = text;
    }
  }

  private _summary = h('summary');
  private _list = h('div', { class: 'aiinfra-gpulist' });
  private _strips: GpuStrips | null = null;
}

/** All ranks in a line: the mean of what is known, and the most memory that one of them had. */
function usesText(uses: readonly IGpuUse[]): string[] {
  const means = uses.flatMap(({ mean_percent: mean }) => (mean === null ? [] : [mean]));
  const mean = means.reduce((all, each) => all + each, 0) / means.length;
  const [most] = [...uses].sort((a, b) => (b.peak_memory_bytes ?? 0) - (a.peak_memory_bytes ?? 0));
  return [
    plural(uses.length, 'rank'),
    `${percent(means.length > 0 ? mean : null)} busy on average`,
    `${most ? memory(most) : unknownText(ENGLISH)} at most`
  ];
}

function memory({ peak_memory_bytes: peak, memory_total_bytes: total }: IGpuUse): string {
  return peak === null ? unknownText(ENGLISH) : memoryText(peak, total, ENGLISH);
}

function useTable(uses: readonly IGpuUse[]): HTMLElement {
  const rows = uses.map(use => {
    const texts = [
      `rank ${use.rank}`,
      use.gpus.join(', '),
      percent(use.mean_percent),
      percent(use.peak_percent),
      memory(use)
    ];
    return h('tr', {}, ...texts.map(text => h('td', {}, text)));
  });
  const head = h('tr', {}, ...COLUMNS.map(name => h('th', { scope: 'col' }, name)));
  return h(
    'table',
    { class: 'aiinfra-manifest aiinfra-used' },
    h('thead', {}, head),
    h('tbody', {}, ...rows)
  );
}

function percent(value: number | null): string {
  return valueText(value, '%', ENGLISH);
}

/** The traits of a job's widget that tell of its GPUs; made by `jupyter_aiinfra/widgets/job.py`. */
export interface IGpuTraits {
  gpus: IWholeGpus | Unset;
  gpus_delta: IGpusChange | Unset;
}

/** The part of an anywidget model that is used here. */
export interface IGpuTraitsModel {
  get<K extends keyof IGpuTraits>(name: K): IGpuTraits[K] | undefined;
  on(event: string, callback: () => void): void;
  off(event: string, callback: () => void): void;
}

const EVENTS = ['change:gpus', 'change:gpus_delta'];

/** Hands on what a kernel tells of a job's GPUs. */
export class KernelGpus {
  constructor(model: IGpuTraitsModel, told: (board: Board, trail: Trail) => void) {
    this._model = model;
    this._told = told;
    EVENTS.forEach(event => model.on(event, this._onChange));
    this._onChange();
  }

  dispose(): void {
    EVENTS.forEach(event => this._model.off(event, this._onChange));
  }

  private _onChange = (): void => {
    // One that does not fit waits for all of it, which is told every few seconds.
    this._boards.apply(this._model.get('gpus_delta') ?? {});
    this._boards.load(this._model.get('gpus') ?? {});
    const [pool] = this._boards.pools;
    if (pool?.board && this._boards.seq !== this._seq) {
      this._seq = this._boards.seq;
      this._told(pool.board, pool.trail);
    }
  };

  private _model: IGpuTraitsModel;
  private _told: (board: Board, trail: Trail) => void;
  private _boards = new GpuBoards();
  private _seq = -1;
}
