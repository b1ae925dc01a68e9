/** What chooses one of a job's logs: tabs as long as there are few, a list of them beyond. */

import { h } from './dom';
import { TabBar, type ITab, type ITabOptions } from './tabs';

/** Tabs that fit beside the buttons of a page 1024 pixels wide. */
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

/** Tabs of ranks, the first of each node with its name; a list, by node, where there are many. */
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
  }

  readonly node: HTMLElement;

  update(tabs: readonly ILogTab[], selected: string): void {
    const isLong = tabs.length > MOST_TABS;
    this._bar.node.hidden = isLong;
    this._list.hidden = !isLong;
    if (isLong) {
      this._panel.setAttribute('role', 'region');
      this._panel.setAttribute('aria-labelledby', this._select.id);
      this._drawList(tabs, selected);
    } else {
      this._panel.setAttribute('role', 'tabpanel');
      this._bar.update(tabs.map(withGroup), selected);
    }
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
