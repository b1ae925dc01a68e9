/** A row of small buttons. */

/** One button. Its label tells it from the others; `title` says more, or why it is disabled. */
export interface ITool {
  label: string;
  title: string;
  isEnabled: boolean;
  run: () => void;
}

export class Tools {
  constructor(label: string) {
    this.node = document.createElement('div');
    this.node.className = 'aiinfra-tools';
    this.node.setAttribute('role', 'group');
    this.node.setAttribute('aria-label', label);
    // Keys pressed in here are none of the notebook's shortcuts.
    this.node.setAttribute('data-lm-suppress-shortcuts', 'true');
  }

  readonly node: HTMLElement;

  /** Draw the buttons; those that stay are kept, so that the focus is. */
  draw(tools: readonly ITool[]): void {
    const old = this._buttons;
    this._buttons = new Map(tools.map(({ label }) => [label, old.get(label) ?? makeButton(label)]));
    this._tools = new Map(tools.map(tool => [tool.label, tool]));
    for (const [label, button] of old) {
      if (!this._buttons.has(label)) {
        button.remove();
      }
    }
    let index = 0;
    for (const [label, button] of this._buttons) {
      const tool = this._tools.get(label);
      button.title = tool?.title ?? '';
      // Not `disabled`: its reason is to be read by keyboard, too.
      button.setAttribute('aria-disabled', String(!tool?.isEnabled));
      button.onclick = () => this._click(label);
      if (this.node.children[index] !== button) {
        this.node.insertBefore(button, this.node.children[index] ?? null);
      }
      index += 1;
    }
  }

  private _click(label: string): void {
    const tool = this._tools.get(label);
    if (tool?.isEnabled) {
      tool.run();
    }
  }

  private _buttons = new Map<string, HTMLButtonElement>();
  private _tools = new Map<string, ITool>();
}

function makeButton(label: string): HTMLButtonElement {
  const button = document.createElement('button');
  button.type = 'button';
  button.className = 'aiinfra-tool';
  button.textContent = label;
  return button;
}
