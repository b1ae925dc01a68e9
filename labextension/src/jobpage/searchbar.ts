/** The bar to search a log with. */

import type { TranslationBundle } from '@jupyterlab/translation';

import { h } from '../widgets/dom';
import { count } from '../widgets/format';
import type { ISearchStatus } from './search';

/** How long the typing has to pause before the server is asked. */
const PAUSE_MILLISECONDS = 200;

export interface ISearchBarOptions {
  trans: TranslationBundle;
  /** Search for what is in the bar now. */
  onFind: (text: string, matchCase: boolean) => void;
  onNext: () => void;
  onPrevious: () => void;
  onClose: () => void;
}

export class SearchBar {
  constructor(options: ISearchBarOptions) {
    const { trans } = options;
    this._options = options;
    this._input = h('input', {
      type: 'text',
      'aria-label': trans.__('Find in the log'),
      placeholder: trans.__('Find in the log'),
      spellcheck: 'false',
      autocomplete: 'off'
    });
    this._case = button('Aa', trans.__('Match case'), () => this._toggleCase());
    this._case.setAttribute('aria-pressed', 'false');
    this.node = h(
      'div',
      { class: 'aiinfra-SearchBar', role: 'search', 'aria-label': trans.__('Find in the log') },
      this._input,
      this._case,
      this._status,
      button('↑', trans.__('Previous match (Shift+Enter)'), () => options.onPrevious()),
      button('↓', trans.__('Next match (Enter)'), () => this._next()),
      button('✕', trans.__('Close (Escape)'), () => options.onClose())
    );
    this.node.hidden = true;
    this._input.addEventListener('input', () => this._findSoon());
    this.node.addEventListener('keydown', event => this._onKey(event));
  }

  readonly node: HTMLElement;

  get text(): string {
    return this._input.value;
  }

  get matchCase(): boolean {
    return this._case.getAttribute('aria-pressed') === 'true';
  }

  get isOpen(): boolean {
    return !this.node.hidden;
  }

  /** Open the bar, and have what is typed go there. */
  open(): void {
    this.node.hidden = false;
    this._input.focus();
    this._input.select();
  }

  close(): void {
    clearTimeout(this._timer);
    this._timer = undefined;
    this.node.hidden = true;
  }

  show(status: ISearchStatus): void {
    this._status.textContent = statusText(status, this.text !== '', this._options.trans);
    this._status.classList.toggle('aiinfra-mod-bad', status.problem !== null);
  }

  dispose(): void {
    clearTimeout(this._timer);
  }

  private _toggleCase(): void {
    this._case.setAttribute('aria-pressed', String(!this.matchCase));
    this._find();
  }

  private _findSoon(): void {
    clearTimeout(this._timer);
    this._timer = setTimeout(() => this._find(), PAUSE_MILLISECONDS);
  }

  private _find(): void {
    clearTimeout(this._timer);
    this._timer = undefined;
    this._options.onFind(this.text, this.matchCase);
  }

  /** The next match; the first one where what was typed has not been searched for yet. */
  private _next(): void {
    if (this._timer === undefined) {
      this._options.onNext();
    } else {
      this._find();
    }
  }

  private _onKey(event: KeyboardEvent): void {
    if (event.key === 'Escape') {
      this._options.onClose();
    } else if (event.key === 'Enter' && event.target === this._input) {
      if (event.shiftKey) {
        this._options.onPrevious();
      } else {
        this._next();
      }
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  }

  private _options: ISearchBarOptions;
  private _input: HTMLInputElement;
  private _case: HTMLButtonElement;
  private _status = h('span', { class: 'aiinfra-SearchBar-status', role: 'status' });
  private _timer: ReturnType<typeof setTimeout> | undefined;
}

function button(text: string, label: string, onClick: () => void): HTMLButtonElement {
  const node = h('button', { type: 'button', title: label, 'aria-label': label }, text);
  node.addEventListener('click', onClick);
  return node;
}

function statusText(status: ISearchStatus, asked: boolean, trans: TranslationBundle): string {
  const { position, matches, more, searching, problem } = status;
  if (problem) {
    return [problem.message, problem.hint].filter(Boolean).join('. ');
  }
  if (matches > 0) {
    return trans.__('%1 of %2', count(position), `${count(matches)}${more ? '+' : ''}`);
  }
  if (searching) {
    return trans.__('searching…');
  }
  return asked ? trans.__('no match') : '';
}
