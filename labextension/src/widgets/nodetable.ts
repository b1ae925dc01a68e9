import type { Trail } from '../gpus/history';
import { drawSpark, surfaceOf } from '../gpus/spark';
import { ENGLISH, memoryText, stateText, unknownText, valueText } from '../gpus/text';
import type { Board } from '../gpus/wire';
import { h } from './dom';

const COLUMNS = ['node', 'in use', 'utilization', '', 'memory', 'power'];
const SECONDS = 60;

/** An overview: a row a node, where there are too many GPUs for a row each. */
export class NodeTable {
  constructor(node: HTMLElement) {
    this.node = node;
    const head = h('tr', {}, ...COLUMNS.map(name => h('th', { scope: 'col' }, name)));
    const table = h('table', {}, h('thead', {}, head), this._body);
    node.classList.add('aiinfra-GpuBoard-scroll');
    node.append(table);
  }

  readonly node: HTMLElement;

  draw(board: Board, trail: Trail): void {
    while (this._rows.length > board.nodes.length) {
      this._rows.pop()?.node.remove();
    }
    while (this._rows.length < board.nodes.length) {
      const row = new NodeTableRow();
      this._rows.push(row);
      this._body.append(row.node);
    }
    const style = getComputedStyle(this.node);
    const colour = (name: string, other: string): string =>
      style.getPropertyValue(name).trim() || other;
    const line = colour('--aiinfra-gpu-line', '#1976d2');
    const area = colour('--aiinfra-gpu-area', '#1976d233');
    this._rows.forEach((row, number) => row.draw(board, number, trail, { line, area }));
  }

  private _body = h('tbody');
  private _rows: NodeTableRow[] = [];
}

class NodeTableRow {
  constructor() {
    const curve = h('td', { class: 'aiinfra-GpuBoard-curve', 'aria-hidden': 'true' }, this._canvas);
    this.node.append(this._name, this._used, this._util, curve, this._memory, this._power);
  }

  readonly node = h('tr');

  draw(board: Board, number: number, trail: Trail, colours: { line: string; area: string }): void {
    const node = board.nodes[number];
    if (node === undefined) {
      return;
    }
    const read = (series: string): number | null => board.nodeValue(number, series);
    const busy = read('busy');
    const state = stateText(node, ENGLISH);
    write(this._name, state === '' ? node.name : `${node.name} ⚠ ${state}`);
    write(this._used, `${busy ?? unknownText(ENGLISH)}/${node.gpus ?? '?'}`);
    write(this._util, valueText(read('utilization'), '%', ENGLISH));
    write(this._memory, memoryText(read('memory'), null, ENGLISH));
    write(this._power, valueText(read('power'), 'W', ENGLISH));
    this._name.title = [node.problem, ...node.problems].filter(Boolean).join('; ');
    const surface = surfaceOf(this._canvas, this._canvas.clientWidth, this._canvas.clientHeight);
    if (surface) {
      const { values } = trail.window(node.name, '', 'utilization', SECONDS);
      drawSpark(surface, values, { most: 100, ...colours });
    }
  }

  private _name = h('th', { scope: 'row' });
  private _used = h('td');
  private _util = h('td');
  private _canvas = h('canvas');
  private _memory = h('td');
  private _power = h('td');
}

function write(node: HTMLElement, text: string): void {
  if (node.textContent !== text) {
    node.textContent = text;
  }
}
