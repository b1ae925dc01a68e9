import type { GpuPast } from '../api/types';
import { GpuStrips } from '../gpus/strip';
import { ENGLISH, memoryText, modelText, ofText, valueText } from '../gpus/text';
import { h } from './dom';
import { count } from './format';
import {
  GpuBoards,
  type IGpusChange,
  type IPoolGpus,
  type IWholeGpus,
  type Unset
} from './gpuboards';
import { Looks, type Word } from './looks';
import { NodeTable } from './nodetable';
import { ProcessTable } from './processes';

/** So long without a word of the kernel, what is shown is old. */
const SILENT_MILLISECONDS = 10_000;
const MOST_KINDS = 2;
/** From here on watts are counted in thousands. */
const MANY_WATTS = 20_000;
const EVENTS = ['gpus', 'delta', 'life', 'past'].map(name => `change:${name}`);
/** What ipywidgets' model says when its kernel is gone, and when the view was closed. */
const GONE = ['comm_live_update', 'comm:close'];

export interface IGpusAbout {
  /** Of what they are: `pool here`. */
  title: string;
  /** Whose ranks are shown. */
  job: string | null;
}

/** `paused`: nobody looked. `ended`: there will be no news any more. */
export interface ILife {
  state: 'live' | 'paused' | 'ended';
  why?: string;
}

export interface IGpusTraits {
  about: IGpusAbout;
  gpus: IWholeGpus | Unset;
  delta: IGpusChange | Unset;
  past: GpuPast[];
  life: ILife;
}

/** The part of an anywidget model that is used here; made by `jupyter_aiinfra/widgets/gpus.py`. */
export interface IGpusModel {
  get<K extends keyof IGpusTraits>(name: K): IGpusTraits[K];
  on(event: string, callback: () => void): void;
  off(event: string, callback: () => void): void;
  send(content: unknown): void;
}

interface IPart {
  pool: IPoolGpus;
  node: HTMLElement;
  drawing: GpuStrips | NodeTable;
}

/** The widget of `%gpus`: live while its kernel says something, else it says from when it is. */
export class GpuBoardView {
  constructor(model: IGpusModel, node: HTMLElement) {
    this._model = model;
    this._node = node;
    node.className = 'aiinfra-GpuBoard';
    node.setAttribute('role', 'group');
    const { title, job } = model.get('about');
    node.classList.toggle('aiinfra-mod-job', job !== null);
    node.setAttribute('aria-label', `GPUs of ${title}`);
    this._title.textContent = `GPUs · ${title}`;
    const head = h('div', { class: 'aiinfra-GpuBoard-head' });
    head.append(this._title, this._summary, this._state);
    node.append(head, this._pools, this._processes.node);
    EVENTS.forEach(event => model.on(event, this._onChange));
    GONE.forEach(event => model.on(event, this._onGone));
    this._onChange();
    this._boards.fill(model.get('past'));
    this._looks = new Looks({
      node,
      say: word => this._say(word),
      onSight: inSight => this._onSight(inSight)
    });
    this._timer = setInterval(() => this._tick(), 1000);
    this._draw();
  }

  /** Stop listening. The nodes are the page's to remove. */
  dispose(): void {
    clearInterval(this._timer);
    EVENTS.forEach(event => this._model.off(event, this._onChange));
    GONE.forEach(event => this._model.off(event, this._onGone));
    this._looks?.dispose();
    this._parts.forEach(({ drawing }) => drawing instanceof GpuStrips && drawing.dispose());
  }

  private _onChange = (): void => {
    const delta = this._model.get('delta');
    const before = this._boards.seq;
    const fits = this._boards.apply(delta);
    const isWhole = this._boards.load(this._model.get('gpus'));
    if (!fits && !isWhole && !this._asked) {
      // A kernel that runs a cell may not hear this; then the next whole mends it.
      this._say({ type: 'resync' });
    }
    this._asked = !fits && !isWhole;
    if ('heard' in delta) {
      this._looks?.heard(delta.heard);
    }
    if (this._model.get('life').state === 'paused') {
      this._looks?.wake();
    }
    if (this._boards.seq !== before) {
      this._newsAt = performance.now();
      this._isGone = false;
    }
    this._draw();
  };

  private _onGone = (): void => {
    this._isGone = true;
    this._drawState();
  };

  /** Whether it could be said: only an attempt tells that the kernel, or its comm, is gone. */
  private _say(word: Word | { type: 'resync' }): boolean {
    try {
      this._model.send(word);
      return true;
    } catch {
      this._isGone = true;
      return false;
    }
  }

  private _onSight(inSight: boolean): void {
    if (inSight) {
      this._seenAt = performance.now();
      if (this._model.get('life').state === 'paused') {
        this._looks?.wake();
      }
      this._draw();
    }
  }

  private _tick(): void {
    this._looks?.tick();
    this._drawState();
  }

  private _draw(): void {
    if (this._looks !== null && !this._looks.inSight) {
      return; // drawn when it comes into sight
    }
    this._arrange();
    this._drawSummary();
    for (const { pool, drawing } of this._parts) {
      if (pool.board) {
        drawing.draw(pool.board, pool.trail);
      }
    }
    this._processes.update(this._boards.pools);
    this._drawState();
  }

  /** Make a part for each pool; one that shows the same kind of rows is kept. */
  private _arrange(): void {
    const { pools } = this._boards;
    const shape = JSON.stringify(
      pools.map(({ pool, problem, board }) => [pool, problem, board?.scope.detail ?? null])
    );
    if (shape === this._shape) {
      this._parts.forEach((part, number) => (part.pool = pools[number] ?? part.pool));
      return;
    }
    this._shape = shape;
    this._parts.forEach(({ drawing }) => drawing instanceof GpuStrips && drawing.dispose());
    const { job } = this._model.get('about');
    this._parts = pools.map(pool => {
      const list = h('div');
      const node = h('section', { 'aria-label': `pool ${pool.pool}` });
      if (pools.length > 1) {
        node.append(h('div', { class: 'aiinfra-GpuBoard-pool' }, pool.pool));
      }
      if (pool.problem) {
        node.append(h('div', { class: 'aiinfra-GpuBoard-problem' }, `⚠ ${pool.problem}`));
      }
      node.append(list);
      const drawing =
        pool.board?.scope.detail === 'nodes'
          ? new NodeTable(list)
          : new GpuStrips(list, { curves: true, ...(job !== null && { job }) });
      return { pool, node, drawing };
    });
    this._pools.replaceChildren(...this._parts.map(({ node }) => node));
  }

  private _drawSummary(): void {
    const found = this._boards.pools.flatMap(({ board }) => (board ? [board.summary()] : []));
    const sum = (values: (number | null)[]): number | null => {
      const known = values.filter(value => value !== null);
      return known.length > 0 ? known.reduce((one, other) => one + other, 0) : null;
    };
    const total = found.reduce((all, each) => all + each.total, 0);
    const busy = found.reduce((all, each) => all + each.busy, 0);
    const lost = sum(found.map(each => each.lost)) ?? 0;
    const used = found.filter(each => each.utilization !== null);
    const weight = used.reduce((all, each) => all + each.total, 0);
    const mean = used.reduce((all, each) => all + (each.utilization ?? 0) * each.total, 0);
    const memory = sum(found.map(each => each.memoryUsed));
    const power = sum(found.map(each => each.power));
    const facts = [
      ...modelsText(this._boards.pools),
      `${count(busy)}/${count(total)} in use`,
      ...(lost > 0 ? [`⚠ ${count(lost)} lost`] : []),
      valueText(weight > 0 ? mean / weight : null, '%', ENGLISH),
      memoryText(memory, sum(found.map(each => each.memoryTotal)), ENGLISH),
      powerText(power, sum(found.map(each => each.powerLimit)))
    ];
    const text = total > 0 ? facts.join(' · ') : found.length > 0 ? 'no GPU' : '';
    write(this._summary, text);
  }

  private _drawState(): void {
    const why = this._whyOld();
    this._node.classList.toggle('aiinfra-mod-notlive', why !== '');
    const text = why === '' ? 'live' : why;
    write(this._state, text);
    this._state.dataset.state = why === '' ? 'live' : 'old';
  }

  /** Why what is shown is not what is so now; empty while it is. */
  private _whyOld(): string {
    const { state, why } = this._model.get('life');
    const at = this._boards.at;
    const from = at === null ? '' : `, as of ${timeText(at)}`;
    if (this._isGone) {
      return `no longer live: its kernel is gone${from}`;
    }
    if (state === 'ended') {
      return `no longer live: ${why ?? 'it has ended'}${from}`;
    }
    const since = Math.max(this._newsAt, this._seenAt);
    const isSilent = performance.now() - since > SILENT_MILLISECONDS;
    return isSilent ? `no longer live: the kernel says nothing${from}` : '';
  }

  private _model: IGpusModel;
  private _node: HTMLElement;
  private _boards = new GpuBoards();
  private _looks: Looks | null = null;
  private _parts: IPart[] = [];
  private _shape = '';
  private _asked = false;
  private _isGone = false;
  private _newsAt = performance.now();
  private _seenAt = performance.now();
  private _timer: ReturnType<typeof setInterval>;
  private _title = h('span', { class: 'aiinfra-GpuBoard-title' });
  private _summary = h('span', { class: 'aiinfra-GpuBoard-summary' });
  private _state = h('span', { class: 'aiinfra-GpuBoard-state', role: 'status' });
  private _pools = h('div', { class: 'aiinfra-GpuBoard-pools' });
  private _processes = new ProcessTable();
}

/** `8 × H100 80GB HBM3`: of each kind how many, where there are few. */
function modelsText(pools: readonly IPoolGpus[]): string[] {
  const kinds = new Map<string, number>();
  for (const { board } of pools) {
    for (const gpu of board?.gpus ?? []) {
      if (gpu.parent === null) {
        kinds.set(modelText(gpu), (kinds.get(modelText(gpu)) ?? 0) + 1);
      }
    }
  }
  return kinds.size <= MOST_KINDS
    ? [...kinds].map(([model, number]) => `${count(number)} × ${model}`)
    : [];
}

function powerText(power: number | null, limit: number | null): string {
  const isLarge = Math.max(power ?? 0, limit ?? 0) >= MANY_WATTS;
  const scaled = (watts: number | null): number | null => (watts === null ? null : watts / 1000);
  return isLarge
    ? ofText(scaled(power), scaled(limit), 'kW', ENGLISH)
    : ofText(power, limit, 'W', ENGLISH);
}

function timeText(seconds: number): string {
  return new Date(seconds * 1000).toLocaleTimeString();
}

function write(node: HTMLElement, text: string): void {
  if (node.textContent !== text) {
    node.textContent = text;
  }
}
