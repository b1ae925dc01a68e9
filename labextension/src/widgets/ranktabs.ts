/** What chooses one of a job's logs: tabs as long as they fit, a list of them beyond. */

import { h } from './dom';
import { TabBar, type ITab, type ITabOptions } from './tabs';

/** Beyond so many, nobody finds a rank by its tab. */
export const MOST_TABS = 12;

/** One log. `group` is the node it is of, where there are several. */
export interface ILogTab extends ITab {
  group?: string;
}

export interface IRankTabsOptions extends ITabOptions {
  /** What the list is called; `Log` when left out. */
  listLabel?: string;
  /** What stands behind a rank that failed, in the list, where no colour can say it. */
  failed?: string;
}

/** Tabs of ranks, the first of each node with its name; a list, by node, where these do not fit. */
export class RankTabs {
  constructor(options: IRankTabsOptions) {
    this._panel = options.panel;
    this._failed = options.failed ?? 'failed';
    this._bar = new TabBar(options);
    const id = `${options.id}-list`;
    const label = h('label', { for: id }, options.listLabel ?? 'Log');
    this._select = h('select', { id });
    this._select.addEventListener('change', () => options.onSelect(this._select.value));
    // JupyterLab's notebook moves between cells with the keys that move in a list.
    this._select.addEventListener('keydown', event => event.stopPropagation());
    this._list = h('div', { class: 'aiinfra-loglist' }, label, this._select);
    this.node = h('div', { class: 'aiinfra-ranktabs' }, this._bar.node, this._list);
    this._list.hidden = true;
    if (typeof ResizeObserver !== 'undefined') {
      // It ends with the node.
      new ResizeObserver(() => this._fit()).observe(this.node);
    }
  }

  readonly node: HTMLElement;

  update(tabs: readonly ILogTab[], selected: string): void {
    this._tabs = tabs;
    this._selected = selected;
    const labels = JSON.stringify(tabs.map(({ label }) => label));
    if (labels !== this._labels) {
      this._labels = labels;
      this._needed = null;
    }
    this._draw();
  }

  /** Take the form that fits by now; where it is the present one, nothing is drawn. */
  private _fit(): void {
    if (this._tabs.length > 0 && this._isLong() !== !this._list.hidden) {
      this._draw();
    }
  }

  private _draw(): void {
    const isLong = this._isLong();
    this._show(isLong);
    if (isLong) {
      this._panel.setAttribute('role', 'region');
      this._panel.setAttribute('aria-labelledby', this._select.id);
      this._drawList(this._tabs, this._selected);
    } else {
      this._panel.setAttribute('role', 'tabpanel');
      this._bar.update(this._tabs.map(withGroup), this._selected);
    }
  }

  private _show(isLong: boolean): void {
    this._bar.node.hidden = isLong;
    this._list.hidden = !isLong;
  }

  private _isLong(): boolean {
    if (this._tabs.length > MOST_TABS) {
      return true;
    }
    const room = this.node.clientWidth;
    if (room === 0) {
      return !this._list.hidden; // not in sight: it is looked at again when it is
    }
    if (this._needed === null) {
      this._show(false);
      this._bar.update(this._tabs.map(withGroup), this._selected);
      this._needed = this._bar.node.scrollWidth;
    }
    return this._needed > room;
  }

  private _drawList(tabs: readonly ILogTab[], selected: string): void {
    const shape = JSON.stringify(tabs);
    if (shape !== this._shape) {
      this._shape = shape;
      this._select.replaceChildren(...runs(tabs).map(run => this._group(run)));
    }
    this._select.value = selected;
  }

  private _group(tabs: readonly ILogTab[]): HTMLElement {
    const options = tabs.map(({ key, label, bad }) =>
      h('option', { value: key }, bad ? `${label}: ${this._failed}` : label)
    );
    const name = tabs[0]?.group ?? '';
    const group = h('optgroup', { label: name }, ...options);
    return group;
  }

  private _panel: HTMLElement;
  private _failed: string;
  private _bar: TabBar;
  private _select: HTMLSelectElement;
  private _list: HTMLElement;
  private _shape = '';
  private _tabs: readonly ILogTab[] = [];
  private _selected = '';
  private _labels = '';
  /** How wide the tabs are; `null` before they were measured. */
  private _needed: number | null = null;
}

/** The tab as it is drawn: the first one of a node says which that is. */
function withGroup(tab: ILogTab, at: number, all: readonly ILogTab[]): ITab {
  const { key, label, bad, group } = tab;
  const isFirst = Boolean(group) && group !== all[at - 1]?.group;
  return { key, bad, label: isFirst ? `${group} · ${label}` : label };
}

/** What stands side by side and is of the same node. */
function runs(tabs: readonly ILogTab[]): ILogTab[][] {
  const found: ILogTab[][] = [];
  for (const tab of tabs) {
    const last = found[found.length - 1];
    if (last && last[0]?.group === tab.group) {
      last.push(tab);
    } else {
      found.push([tab]);
    }
  }
  return found;
}
