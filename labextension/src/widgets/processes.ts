/* eslint-disable jupyter/no-untranslated-string -- loaded by anywidget, outside of JupyterLab's translations */
import { ENGLISH, placeText, unknownText } from '../gpus/text';
import type { Process } from '../gpus/wire';
import { h } from './dom';
import { count, plural } from './format';
import type { IPoolGpus } from './gpuboards';

const MOST_ROWS = 100;
/** So many are seen at a glance; more are folded at first. */
const FEW = 12;
const GIB = 2 ** 30;
const COLUMNS = ['GPU', 'user', 'command', 'memory', 'job', 'rank', 'pid'];

interface IFound {
  where: string;
  process: Process;
}

/** The processes on GPUs, those with the most memory first; written anew only when they change. */
export class ProcessTable {
  constructor() {
    const head = h('tr', {}, ...COLUMNS.map(name => h('th', { scope: 'col' }, name)));
    this._table = h('table', {}, h('thead', {}, head), this._body);
    this._scroll.append(this._table);
    this.node.append(this._summary, this._scroll, this._more);
  }

  readonly node = h('details', { class: 'aiinfra-GpuBoard-processes' });

  update(pools: readonly IPoolGpus[]): void {
    const { found, hidden } = processesOf(pools);
    const key = JSON.stringify([found, hidden]);
    if (key === this._key) {
      return;
    }
    if (this._key === '') {
      this.node.open = found.length <= FEW;
    }
    this._key = key;
    this.node.hidden = found.length + hidden === 0;
    this._summary.textContent =
      (found.length === 1 ? '1 process' : `${count(found.length)} processes`) +
      (hidden > 0 ? `; of ${plural(hidden, 'GPU')} they cannot be told` : '');
    this._table.hidden = found.length === 0;
    const rows = found.slice(0, MOST_ROWS);
    this._body.replaceChildren(...rows.map(row => h('tr', {}, ...cells(row))));
    this._more.hidden = found.length <= MOST_ROWS;
    this._more.textContent = `and ${count(found.length - MOST_ROWS)} more`;
  }

  private _summary = h('summary');
  private _body = h('tbody');
  private _table: HTMLTableElement;
  private _scroll = h('div', {
    class: 'aiinfra-GpuBoard-scroll',
    tabindex: '0',
    role: 'region',
    'aria-label': 'processes on GPUs'
  });
  private _more = h('div', { class: 'aiinfra-GpuBoard-more', hidden: '' });
  private _key = '';
}

/** Return them, and of how many GPUs they are not known. */
function processesOf(pools: readonly IPoolGpus[]): { found: IFound[]; hidden: number } {
  const found: IFound[] = [];
  let hidden = 0;
  for (const { pool, board } of pools) {
    board?.gpus.forEach(gpu => {
      hidden += gpu.processes === null && !gpu.lost ? 1 : 0;
      const place = placeText(board, gpu, ENGLISH);
      const where = pools.length > 1 ? `${pool}/${place}` : place;
      gpu.processes?.forEach(process => found.push({ where, process }));
    });
  }
  const size = ({ process }: IFound): number => process.memory_bytes ?? -1;
  found.sort((one, other) => size(other) - size(one));
  return { found, hidden };
}

function cells({ where, process }: IFound): HTMLElement[] {
  const unknown = unknownText(ENGLISH);
  const { memory_bytes: memory, job, rank } = process;
  const command = process.command ?? unknown;
  const texts: [string, string?][] = [
    [where],
    [process.user ?? unknown],
    [command, command],
    [memory === null ? unknown : sizeText(memory)],
    [job ?? ''],
    [rank === null ? '' : String(rank)],
    [String(process.pid)]
  ];
  return texts.map(([text, title]) => h('td', title ? { title } : {}, text));
}

function sizeText(bytes: number): string {
  return bytes >= GIB ? `${(bytes / GIB).toFixed(1)} GiB` : `${Math.round(bytes / 2 ** 20)} MiB`;
}
