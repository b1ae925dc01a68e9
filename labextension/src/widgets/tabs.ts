import { h } from './dom';

/** One tab. `bad` marks a rank that failed. */
export interface ITab {
  key: string;
  label: string;
  bad: boolean;
}

export interface ITabOptions {
  id: string;
  panel: HTMLElement;
  onSelect: (key: string) => void;
  /** What is chosen from; the logs when left out. */
  label?: string;
}

/** A row of tabs: arrow keys, Home and End move, and moving selects. */
export class TabBar {
  constructor(options: ITabOptions) {
    this._id = options.id;
    this._panel = options.panel;
    this._onSelect = options.onSelect;
    const label = options.label ?? 'logs';
    this.node = h('div', { class: 'aiinfra-tabs', role: 'tablist', 'aria-label': label });
    this.node.addEventListener('keydown', event => this._onKey(event));
  }

  readonly node: HTMLElement;

  /** Draw the tabs; buttons that stay are kept, so that the focus is. */
  update(tabs: ITab[], selected: string): void {
    const shape = JSON.stringify([tabs, selected]);
    if (shape === this._shape) {
      return;
    }
    this._shape = shape;
    const old = this._buttons;
    this._buttons = new Map(tabs.map(tab => [tab.key, old.get(tab.key) ?? this._button(tab.key)]));
    for (const [key, button] of old) {
      if (!this._buttons.has(key)) {
        button.remove();
      }
    }
    tabs.forEach((tab, index) => this._draw(tab, { index, selected: tab.key === selected }));
  }

  private _draw(tab: ITab, { index, selected }: { index: number; selected: boolean }): void {
    const button = this._buttons.get(tab.key);
    if (!button) {
      return;
    }
    button.textContent = tab.label;
    button.className = `aiinfra-tab${tab.bad ? ' aiinfra-bad' : ''}`;
    button.setAttribute('aria-selected', String(selected));
    button.tabIndex = selected ? 0 : -1;
    if (selected) {
      this._panel.setAttribute('aria-labelledby', button.id);
    }
    if (this.node.children[index] !== button) {
      this.node.insertBefore(button, this.node.children[index] ?? null);
    }
  }

  private _button(key: string): HTMLButtonElement {
    const id = `${this._id}-tab-${key}`;
    const attributes = { type: 'button', role: 'tab', id, 'aria-controls': this._panel.id };
    const button = h('button', attributes);
    button.addEventListener('click', () => this._onSelect(key));
    return button;
  }

  private _onKey(event: KeyboardEvent): void {
    const keys = [...this._buttons.keys()];
    const at = keys.findIndex(key => this._buttons.get(key)?.tabIndex === 0);
    const targets: Record<string, number> = {
      ArrowRight: (at + 1) % keys.length,
      ArrowLeft: (at - 1 + keys.length) % keys.length,
      Home: 0,
      End: keys.length - 1
    };
    const key = keys[targets[event.key] ?? -1];
    if (key === undefined) {
      return;
    }
    event.preventDefault();
    // JupyterLab's notebook moves between cells with the same keys.
    event.stopPropagation();
    this._onSelect(key);
    this._buttons.get(key)?.focus();
  }

  private _id: string;
  private _panel: HTMLElement;
  private _onSelect: (key: string) => void;
  private _buttons = new Map<string, HTMLButtonElement>();
  private _shape = '';
}
