/** All that is shown, in a few numbers, and what of it somebody should look at. */

import type { TranslationBundle } from '@jupyterlab/translation';

import { chip } from '../gpus/striprow';
import { memoryText, ofText, valueText } from '../gpus/text';
import type { Board, ISummary, NodeRow } from '../gpus/wire';
import { h } from '../widgets/dom';

const MOST_ALERTS = 6;
const KILOWATT = 1000;

interface ITile {
  node: HTMLElement;
  value: HTMLElement;
}

export class Tiles {
  constructor(trans: TranslationBundle) {
    this._trans = trans;
    const names = [
      trans.__('GPUs in use'),
      trans.__('Utilization'),
      trans.__('Memory'),
      trans.__('Power')
    ];
    this._tiles = names.map(name => {
      const value = h('dd', {});
      const node = h('div', { class: 'aiinfra-GpusPage-tile' }, h('dt', {}, name), value);
      return { node, value };
    });
    this._list.append(...this._tiles.map(({ node }) => node));
    this.node.append(this._list, this._alerts);
  }

  readonly node = h('div', { class: 'aiinfra-GpusPage-sum' });

  update(boards: readonly Board[]): void {
    const trans = this._trans;
    const all = boards.map(board => board.summary());
    const total = all.reduce((sum, each) => sum + each.total, 0);
    const busy = all.reduce((sum, each) => sum + each.busy, 0);
    const power = sumOf(all, 'power');
    const [unit, name] = (power ?? 0) >= 10 * KILOWATT ? [KILOWATT, 'kW'] : [1, 'W'];
    const limit = sumOf(all, 'powerLimit');
    const texts = [
      `${busy}/${total}`,
      valueText(meanOf(all), '%', trans),
      memoryText(sumOf(all, 'memoryUsed'), sumOf(all, 'memoryTotal'), trans),
      ofText(power && power / unit, limit && limit / unit, name, trans)
    ];
    this._tiles.forEach(({ value }, place) => {
      const text = texts[place] ?? '';
      if (value.textContent !== text) {
        value.textContent = text;
      }
    });
    this._list.hidden = total === 0;
    this._drawAlerts(boards);
  }

  private _drawAlerts(boards: readonly Board[]): void {
    const found = boards.flatMap(({ nodes }) =>
      nodes.flatMap(node => node.alerts.map(alert => this._alertText(node, alert)))
    );
    const key = found.join('\n');
    if (key === this._said) {
      return;
    }
    this._said = key;
    const shown = found.slice(0, MOST_ALERTS).map(text => chip(text, '⚠', 'warning'));
    const more = found.length - shown.length;
    if (more > 0) {
      shown.push(chip(this._trans.__('%1 more', more), '⚠', 'warning'));
    }
    this._alerts.replaceChildren(...shown);
  }

  private _alertText(node: NodeRow, alert: NodeRow['alerts'][number]): string {
    const trans = this._trans;
    const place = `${node.name}:${alert.index ?? '?'}`;
    switch (alert.kind) {
      case 'lost':
        return trans.__('%1 is lost', place);
      case 'hot':
        return trans.__('%1 is hot', place);
      case 'idle':
        return trans.__('%1 is held by %2 and not used', place, alert.job ?? '?');
    }
  }

  private _trans: TranslationBundle;
  private _tiles: ITile[];
  private _list = h('dl', { class: 'aiinfra-GpusPage-tiles' });
  private _alerts = h('div', { class: 'aiinfra-GpusPage-alerts', role: 'status' });
  private _said = '';
}

type Sum = 'power' | 'powerLimit' | 'memoryUsed' | 'memoryTotal';

function sumOf(all: readonly ISummary[], name: Sum): number | null {
  const known = all.flatMap(each => each[name] ?? []);
  return known.length > 0 ? known.reduce((sum, value) => sum + value, 0) : null;
}

/** Of GPUs, not of pools. */
function meanOf(all: readonly ISummary[]): number | null {
  const known = all.filter(({ utilization }) => utilization !== null);
  const count = known.reduce((sum, { total }) => sum + total, 0);
  const sum = known.reduce((each, { utilization, total }) => each + (utilization ?? 0) * total, 0);
  return count > 0 ? sum / count : null;
}
