/**
 * GPUs as compact rows: what each does now, and did in the last minute. Pure DOM, so that a cell's
 * widget draws the same as JupyterLab's panel and pages. Its style is `widgets/gpus.css`.
 */

import { h } from '../widgets/dom';
import type { Trail } from './history';
import { chip, StripRow } from './striprow';
import { ENGLISH, stateText, type IJobNames, type ITrans } from './text';
import type { Board, NodeRow } from './wire';

/** From one drawing to the next at least: less than a second, or every other would be too early. */
const PAUSE_MILLISECONDS = 900;
const SECONDS = 60;
const UNSEEN_TURNS = 10;

export interface IStripOptions {
  /** Rows in the order of the ranks of this job, and named after them. */
  job?: string;
  /** How jobs are called. */
  names?: IJobNames;
  /** What a click on a job does; without it a job is plain text. */
  onJob?: (id: string) => void;
  /** Whether each node has a head of its own: `several` where there are more than one. */
  heads?: 'always' | 'several' | 'never';
  /** Whether memory and power have a curve too, where there is room. */
  curves?: boolean;
  /** Seconds in the curve. */
  seconds?: number;
  trans?: ITrans;
}

interface INodePart {
  node: HTMLElement;
  said: string;
  number: number;
}

/**
 * Rows in `node`, which is given the class `aiinfra-Gpus`. They are drawn once a second at most,
 * and only while they are in sight.
 */
export class GpuStrips {
  constructor(node: HTMLElement, options: IStripOptions = {}) {
    this.node = node;
    this._options = options;
    this._trans = options.trans ?? ENGLISH;
    node.classList.add('aiinfra-Gpus');
    node.append(this._empty, this._list);
    document.addEventListener('visibilitychange', this._onVisibility);
    if (typeof IntersectionObserver === 'function') {
      this._sight = new IntersectionObserver(entries => this._onSight(entries));
    }
  }

  readonly node: HTMLElement;

  /** How often anything was drawn, for tests. */
  get drawn(): number {
    return this._drawn;
  }

  /** Show this from the next frame on. What is given is kept, and read when it is drawn. */
  draw(board: Board, trail: Trail): void {
    this._board = board;
    this._trail = trail;
    this._isDue = true;
    this._schedule();
  }

  dispose(): void {
    document.removeEventListener('visibilitychange', this._onVisibility);
    this._sight?.disconnect();
    clearTimeout(this._timer);
    cancelAnimationFrame(this._frame);
    this._board = this._trail = null;
    this._rows.forEach(row => row.dispose());
    this.node.replaceChildren();
  }

  private _schedule(): void {
    if (this._isPending || !this._isDue || this._board === null) {
      return;
    }
    this._isPending = true;
    const wait = this._drawnAt + PAUSE_MILLISECONDS - performance.now();
    const next = (): void => {
      this._frame = requestAnimationFrame(() => {
        this._isPending = false;
        this._render();
      });
    };
    if (wait > 0) {
      this._timer = setTimeout(next, wait);
    } else {
      next();
    }
  }

  private _render(): void {
    const [board, trail] = [this._board, this._trail];
    if (board === null || trail === null || document.hidden) {
      return;
    }
    this._arrange(board);
    if (this._sight !== null && this._rows.length > 0 && this._inSight.size === 0) {
      return; // what comes into sight is drawn then
    }
    this._isDue = false;
    this._drawnAt = performance.now();
    this._drawn += 1;
    this._heads.forEach(head => this._drawHead(head, board.nodes[head.number]));
    const colours = this._colours();
    const seconds = this._options.seconds ?? SECONDS;
    this._rows.forEach((row, place) => {
      const isSeen = this._sight === null || this._inSight.has(row.node);
      // The others are brought up to date in turns: they can be listened to.
      if (isSeen || place % UNSEEN_TURNS === this._drawn % UNSEEN_TURNS) {
        row.update(board);
      }
      if (isSeen) {
        row.drawCurve(board, trail, seconds, colours);
      }
    });
  }

  /** Make the rows anew where others are to be shown, or in another order. */
  private _arrange(board: Board): void {
    if (board === this._arranged && board.revision === this._revision) {
      return;
    }
    [this._arranged, this._revision] = [board, board.revision];
    const { job } = this._options;
    const order = this._order(board);
    const key = JSON.stringify([
      board.nodes.map(({ name }) => name),
      order.map(number => [number, board.gpus[number]?.node, board.gpus[number]?.uuid])
    ]);
    if (key === this._key) {
      return;
    }
    this._key = key;
    this._rows.forEach(row => row.dispose());
    this._sight?.disconnect();
    this._inSight.clear();
    this._heads = [];
    const { names, onJob, curves = false } = this._options;
    const how = { trans: this._trans, job, names, onJob, curves };
    this._rows = order.map(number => new StripRow(number, how));
    this._list.replaceChildren(...this._parts(board, order));
    this._rows.forEach(row => this._sight?.observe(row.node));
    this._empty.hidden = order.length > 0;
    this._empty.textContent = this._trans.__('no GPU');
  }

  private _order(board: Board): number[] {
    const { job } = this._options;
    const all = board.gpus.map((_, number) => number);
    if (job === undefined) {
      return all;
    }
    const first = (number: number): number => {
      const holder = board.gpus[number]?.holders.find(each => each.job === job);
      return holder?.ranks[0] ?? Infinity;
    };
    // Two that are not known are as they stand: their difference is no number.
    return all.sort((a, b) => {
      const [left, right] = [first(a), first(b)];
      return left === right ? a - b : left - right;
    });
  }

  /** Rows below the heads of their nodes; by rank they are one list, since ranks may be mixed. */
  private _parts(board: Board, order: readonly number[]): HTMLElement[] {
    const { heads = 'several', job } = this._options;
    const headed = heads === 'always' || (heads === 'several' && board.nodes.length > 1);
    const list = (rows: StripRow[]): HTMLElement =>
      h('ul', { class: 'aiinfra-Gpus-rows' }, ...rows.map(({ node }) => node));
    if (job !== undefined) {
      return [list(this._rows)];
    }
    return board.nodes.map((node, number) => {
      const rows = this._rows.filter((_, place) => board.gpus[order[place] ?? 0]?.node === number);
      const part = h('section', { class: 'aiinfra-Gpus-node', 'aria-label': node.name });
      if (headed) {
        const head = h('div', { class: 'aiinfra-Gpus-head' });
        this._heads.push({ node: head, said: '', number });
        part.append(head);
      }
      part.append(rows.length > 0 ? list(rows) : this._noGpu(node, headed));
      return part;
    });
  }

  private _noGpu({ gpus }: NodeRow, headed: boolean): HTMLElement {
    const said = gpus === 0 && headed ? this._trans.__('no GPU') : '';
    return h('div', { class: 'aiinfra-Gpus-none' }, said);
  }

  private _drawHead(head: INodePart, node: NodeRow | undefined): void {
    if (node === undefined) {
      return;
    }
    const state = stateText(node, this._trans);
    const said = JSON.stringify([node.name, state, node.problem, node.problems]);
    if (said === head.said) {
      return;
    }
    head.said = said;
    const name = h('span', { class: 'aiinfra-Gpus-name' }, node.name);
    const problems = [node.problem, ...node.problems].filter(Boolean).join('; ');
    head.node.replaceChildren(
      name,
      ...(state ? [chip(state, node.state === 'waiting' ? '…' : '⚠', node.state)] : []),
      ...(problems ? [h('span', { class: 'aiinfra-Gpus-problem', title: problems }, problems)] : [])
    );
  }

  private _colours(): { line: string; area: string } {
    const style = getComputedStyle(this.node);
    return {
      line: style.getPropertyValue('--aiinfra-gpu-line').trim() || '#1976d2',
      area: style.getPropertyValue('--aiinfra-gpu-area').trim() || '#1976d233'
    };
  }

  private _onSight(entries: IntersectionObserverEntry[]): void {
    for (const { target, isIntersecting } of entries) {
      if (isIntersecting) {
        this._inSight.add(target);
        // A curve that comes into sight is drawn at once.
        this._isDue = true;
      } else {
        this._inSight.delete(target);
      }
    }
    this._schedule();
  }

  private _onVisibility = (): void => {
    if (!document.hidden) {
      this._schedule();
    }
  };

  private _options: IStripOptions;
  private _trans: ITrans;
  private _board: Board | null = null;
  private _trail: Trail | null = null;
  private _rows: StripRow[] = [];
  private _heads: INodePart[] = [];
  private _list = h('div', { class: 'aiinfra-Gpus-nodes' });
  private _empty = h('div', { class: 'aiinfra-Gpus-none', hidden: '' });
  private _sight: IntersectionObserver | null = null;
  private _inSight = new Set<Element>();
  private _arranged: Board | null = null;
  private _revision = -1;
  private _key = '';
  private _isDue = false;
  private _isPending = false;
  private _drawn = 0;
  private _drawnAt = -Infinity;
  private _timer: ReturnType<typeof setTimeout> | undefined;
  private _frame = 0;
}
