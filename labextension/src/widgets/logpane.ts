import { coloured, h } from './dom';
import { count } from './format';
import { leftOutNote, splice } from './log';
import type { IRankLog, Line, Splice } from './protocol';

const NEAR_END_PIXELS = 6;

/** The lines of one rank. It follows the end unless the reader has scrolled away from it. */
export class LogPane {
  constructor(id: string) {
    this.panel = h('div', { class: 'aiinfra-log', role: 'tabpanel', id, tabindex: '0' });
    this._jump = h('button', { class: 'aiinfra-jump', type: 'button' }, 'Jump to the end ↓');
    this._jump.hidden = true;
    this._jump.addEventListener('click', () => this.follow());
    this.panel.addEventListener('scroll', () => this._onScroll());
    this.node = h('div', { class: 'aiinfra-pane' }, this.panel, this._jump);
  }

  readonly node: HTMLElement;
  readonly panel: HTMLElement;

  /** Draw all lines of a log anew. `note` stands above them. */
  show(log: IRankLog | undefined, note: string): void {
    this._lines = log?.tail.map(lineNode) ?? [];
    const between = log ? leftOutNote(log) : '';
    this._note = noteNode(between);
    this._note.hidden = !between;
    this.panel.replaceChildren(
      ...(note ? [noteNode(note)] : []),
      ...(log?.head.map(lineNode) ?? []),
      this._note,
      ...this._lines
    );
    this._settle();
  }

  /** Show something else than a log. */
  showNode(node: Node): void {
    this._lines = [];
    this.panel.replaceChildren(node);
    this.panel.scrollTop = 0;
    this._jump.hidden = true;
  }

  /** Draw only what changed of the log that is shown. */
  change(log: IRankLog, steps: Splice[]): void {
    const between = leftOutNote(log);
    this._note.textContent = between;
    this._note.hidden = !between;
    for (const [start, gone, lines] of steps) {
      const made = lines.map(lineNode);
      this._lines.slice(start, start + gone).forEach(line => line.remove());
      const before = this._lines[start + gone] ?? null;
      made.forEach(line => this.panel.insertBefore(line, before));
      splice(this._lines, [[start, gone, made]]);
    }
    this._settle();
  }

  /** Go to the end, and stay there while lines come. */
  follow(): void {
    this._following = true;
    this._settle();
  }

  private _settle(): void {
    if (this._following) {
      this.panel.scrollTop = this.panel.scrollHeight;
    }
    this._jump.hidden = this._following;
  }

  private _onScroll(): void {
    const { scrollTop, scrollHeight, clientHeight } = this.panel;
    this._following = scrollTop + clientHeight >= scrollHeight - NEAR_END_PIXELS;
    this._jump.hidden = this._following;
  }

  private _following = true;
  private _lines: HTMLElement[] = [];
  private _note = noteNode('');
  private _jump: HTMLButtonElement;
}

function noteNode(text: string): HTMLElement {
  return h('div', { class: 'aiinfra-line aiinfra-note' }, text);
}

/** One line of a log, with what is to be said of it. */
export function lineNode([text, repeat = 1, leftOut = 0, missing = 0]: Line): HTMLElement {
  if (missing) {
    return noteNode(`⋯ ${count(missing)} bytes are missing here ⋯`);
  }
  const node = h('div', { class: 'aiinfra-line' }, ...coloured(text));
  if (leftOut) {
    node.append(h('span', { class: 'aiinfra-note' }, ` … ${count(leftOut)} more bytes`));
  }
  if (repeat > 1) {
    node.append(h('span', { class: 'aiinfra-repeat' }, `× ${count(repeat)}`));
  }
  return node;
}
