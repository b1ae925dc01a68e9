/** The GPUs of a job, rank by rank: live while it runs, and afterwards what was recorded. */

import type { TranslationBundle } from '@jupyterlab/translation';
import type { IDisposable } from '@lumino/disposable';

import type { JobDetail } from '../api/types';
import type { LiveGpus } from '../gpus/live';
import { GpuStrips } from '../gpus/strip';
import { memoryText, ofText, stateText, valueText } from '../gpus/text';
import type { Board } from '../gpus/wire';
import { isActive } from '../jobstate';
import type { IAiInfraApi, IGpusModel } from '../tokens';
import { h } from '../widgets/dom';
import { pastNode } from './gpupast';
import { fill } from './sections';

export interface IGpuSectionOptions {
  id: string;
  api: IAiInfraApi;
  gpus: IGpusModel;
  trans: TranslationBundle;
  /** Show these GPUs in the page of all GPUs. */
  onOpen?: (() => void) | undefined;
  /** Told when it comes to be known whether the job has GPUs. */
  onKnown: () => void;
}

/** Watches only while it is in sight and the job runs. */
export class GpuSection {
  constructor(options: IGpuSectionOptions) {
    this._options = options;
    const { trans, id, onOpen } = options;
    this._strips = new GpuStrips(this._rows, { job: id, trans });
    const open = h(
      'button',
      { type: 'button', class: 'aiinfra-JobPage-button' },
      trans.__('Show in the page of GPUs')
    );
    open.addEventListener('click', () => onOpen?.());
    this._bar.append(this._sum, ...(onOpen ? [open] : []));
    this._live.append(this._bar, this._note, this._rows, this._nodes);
    this.node.append(this._live, this._past);
  }

  readonly node = h('div', { class: 'aiinfra-JobGpus' });

  /** Whether the job has or had GPUs, as far as is known. */
  get hasGpus(): boolean {
    return this._hasGpus;
  }

  set visible(visible: boolean) {
    if (visible !== this._visible) {
      this._visible = visible;
      this._settle();
    }
  }

  /** Draw what is new of the job. */
  update(detail: JobDetail | null): void {
    this._detail = detail;
    this._hasGpus ||= detail?.placement.some(({ gpus }) => gpus.length > 0) ?? false;
    this._settle();
  }

  dispose(): void {
    this._isDisposed = true;
    this._settle();
    this._strips.dispose();
  }

  /** Watch, or ask for what was recorded, or neither. */
  private _settle(): void {
    const detail = this._detail;
    const shows = this._visible && !this._isDisposed && detail !== null;
    const isLive = detail !== null && isActive(detail.item);
    const watches = shows && isLive;
    if (watches && this._watching === null) {
      const { gpus, id } = this._options;
      this._gpus = gpus.of({ id });
      this._gpus.changed.connect(this._draw);
      this._watching = this._gpus.watch();
    } else if (!watches && this._watching !== null) {
      this._gpus?.changed.disconnect(this._draw);
      this._watching.dispose();
      this._watching = null;
    }
    if (!shows) {
      return;
    }
    this._live.hidden = !isLive;
    this._past.hidden = isLive;
    if (isLive) {
      this._askedAt = null;
      this._draw();
    } else if (this._askedAt !== detail.item.state) {
      this._askedAt = detail.item.state;
      const { api, trans } = this._options;
      void fill(this._past, () => pastNode(api, detail, trans), trans);
    }
  }

  private _draw = (): void => {
    const { trans, onKnown } = this._options;
    const live = this._gpus;
    const board = live?.board ?? null;
    if (board && board.gpus.length > 0 && !this._hasGpus) {
      this._hasGpus = true;
      onKnown();
    }
    write(this._note, this._noteText(live, board));
    this._note.hidden = this._note.textContent === '';
    this._rows.hidden = !board || board.gpus.length === 0;
    this._bar.hidden = !board || board.gpus.length === 0;
    this._nodes.hidden = !board;
    if (live && board) {
      write(this._sum, sumText(board, trans));
      this._strips.draw(board, live.trail);
      this._drawNodes(board);
    }
  };

  private _noteText(live: LiveGpus | null, board: Board | null): string {
    const { trans } = this._options;
    if (live?.problem) {
      return [live.problem.message, live.problem.hint].filter(Boolean).join('. ');
    }
    if (board === null) {
      return trans.__('loading…');
    }
    if (board.nodes.length === 0) {
      return trans.__('It is not known yet where this job runs.');
    }
    const isRead = board.nodes.every(({ state }) => state !== 'waiting');
    if (board.gpus.length === 0 && isRead && !this._hasGpus) {
      return trans.__('This job has no GPU. This is what its nodes do, with all that runs there:');
    }
    return live?.state === 'lost'
      ? trans.__('The server is away; this is what was last known.')
      : '';
  }

  /** Processors and memory of each node: written where they have changed. */
  private _drawNodes(board: Board): void {
    const { trans } = this._options;
    const names = JSON.stringify(board.nodes.map(({ name }) => name));
    if (names !== this._named) {
      this._named = names;
      this._cells = board.nodes.map(() => [h('td'), h('td'), h('td')]);
      const head = [trans.__('Node'), trans.__('Processors'), trans.__('Memory'), ''];
      this._nodes.replaceChildren(
        h(
          'thead',
          {},
          h('tr', {}, ...head.map(each => (each ? h('th', { scope: 'col' }, each) : h('td'))))
        ),
        h(
          'tbody',
          {},
          ...board.nodes.map(({ name }, number) =>
            h('tr', {}, h('th', { scope: 'row' }, name), ...(this._cells[number] ?? []))
          )
        )
      );
    }
    board.nodes.forEach((node, number) => {
      const [cpu, memory, state] = this._cells[number] ?? [];
      const cores = node.cpu_count;
      const used = valueText(board.nodeValue(number, 'cpu'), '%', trans);
      write(cpu, cores === null ? used : trans._n('%2 of %1 core', '%2 of %1 cores', cores, used));
      write(memory, memoryText(board.nodeValue(number, 'memory'), node.memory_total_bytes, trans));
      const word = stateText(node, trans);
      write(state, [word && `⚠ ${word}`, node.problem].filter(Boolean).join(': '));
    });
  }

  private _options: IGpuSectionOptions;
  private _detail: JobDetail | null = null;
  private _gpus: LiveGpus | null = null;
  private _watching: IDisposable | null = null;
  private _strips: GpuStrips;
  private _hasGpus = false;
  private _visible = false;
  private _isDisposed = false;
  /** The state of the job when the record was asked for last. */
  private _askedAt: string | null = null;
  private _named = '';
  private _cells: HTMLElement[][] = [];
  private _live = h('div');
  private _past = h('div', { hidden: '' });
  private _bar = h('div', { class: 'aiinfra-JobGpus-bar' });
  private _sum = h('span');
  private _note = h('p', { class: 'aiinfra-quiet', role: 'status' });
  private _rows = h('div');
  private _nodes = h('table', { class: 'aiinfra-JobPage-table aiinfra-JobGpus-nodes' });
}

/** `4 GPUs · 71 % · 160/320 GiB · 1,400/2,800 W`. */
export function sumText(board: Board, trans: TranslationBundle): string {
  const { total, utilization, memoryUsed, memoryTotal, power, powerLimit } = board.summary();
  return [
    trans._n('%1 GPU', '%1 GPUs', total),
    valueText(utilization, '%', trans),
    memoryText(memoryUsed, memoryTotal, trans),
    ofText(power, powerLimit, 'W', trans)
  ].join(' · ');
}

function write(node: HTMLElement | undefined, text: string): void {
  if (node && node.textContent !== text) {
    node.textContent = text;
  }
}
