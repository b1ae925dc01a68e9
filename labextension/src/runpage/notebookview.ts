/** The notebook of a run: only read, drawn as it grows, and followed. */

import type { IEditorLanguageRegistry } from '@jupyterlab/codemirror';
import type { IRenderMimeRegistry } from '@jupyterlab/rendermime';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { Message } from '@lumino/messaging';
import { Signal, type ISignal } from '@lumino/signaling';
import { Panel } from '@lumino/widgets';

import { cellOf, cellsOf, failedCell, languageOf, type ICell } from './cells';
import { CellView, type Highlight } from './cellview';

/** What is that far out of sight is made, too. */
const NEAR = '800px 0px';
/** So much stays free below what is followed. */
const END_PIXELS = 24;

export interface INotebookViewOptions {
  rendermime: IRenderMimeRegistry;
  languages: IEditorLanguageRegistry | null;
  trans: TranslationBundle;
  follow: boolean;
}

/** A notebook, and which of its cells is at work: counted from 1, `null` for none. */
export interface IShown {
  notebook: unknown;
  cell: number | null;
}

export class NotebookView extends Panel {
  constructor(options: INotebookViewOptions) {
    super();
    this._options = options;
    this._following = options.follow;
    this.addClass('aiinfra-RunNotebook');
    this.node.tabIndex = 0;
    this.node.setAttribute('role', 'region');
    this.node.setAttribute('aria-label', options.trans.__('The notebook of the run'));
    this.node.addEventListener('wheel', this._onHand, { passive: true });
    this.node.addEventListener('keydown', this._onHand);
    this.node.addEventListener('pointerdown', this._onHand);
    this.node.addEventListener('scroll', this._onScroll, { passive: true });
    if (typeof IntersectionObserver !== 'undefined') {
      const near = { root: this.node, rootMargin: NEAR };
      this._observer = new IntersectionObserver(entries => {
        for (const { isIntersecting, target } of entries) {
          if (isIntersecting) {
            this._observer?.unobserve(target);
            this._views.find(({ node }) => node === target)?.realize();
          }
        }
      }, near);
    }
  }

  /** Whether what is at work is kept in sight. */
  get following(): boolean {
    return this._following;
  }

  get followingChanged(): ISignal<NotebookView, boolean> {
    return this._followingChanged;
  }

  /** The cells as they are shown. */
  get cells(): readonly ICell[] {
    return this._views.flatMap(({ cell }) => (cell === null ? [] : [cell]));
  }

  /** Show a notebook; cells that are as they were are left as they are. */
  draw({ notebook, cell: running }: IShown): void {
    const cells = cellsOf(notebook);
    this._highlight ??= this._highlighter(notebook);
    while (this._views.length > cells.length) {
      this._views.pop()?.dispose();
      this._given.pop();
    }
    const at = running === null ? -1 : running - 1;
    const before = this._running;
    this._running = at;
    let grown = false;
    cells.forEach((cell, index) => {
      const isTurn = before !== at && (index === before || index === at);
      if (this._given[index] !== cell || isTurn) {
        this._given[index] = cell;
        const view = this._views[index] ?? this._add(index);
        grown = view.draw(cellOf(cell), index === at) || grown;
      }
    });
    if (before !== at) {
      this._since = null;
    }
    if ((grown || before !== at) && this._following) {
      this._show();
    }
  }

  /** Begin or cease to follow. */
  follow(follow: boolean): void {
    if (follow !== this._following) {
      this._following = follow;
      this._followingChanged.emit(follow);
    }
    if (follow) {
      this._show();
    }
  }

  /** Bring a cell into sight, counted from 0, and mark it for a moment. */
  reveal(index: number): void {
    const view = this._views[index];
    if (view === undefined) {
      return;
    }
    this.follow(false);
    view.realize();
    view.node.scrollIntoView({ block: 'start' });
    view.node.tabIndex = -1;
    view.node.focus({ preventScroll: true });
  }

  /** The cell that failed, counted from 0; -1 where none has. */
  get failed(): number {
    return failedCell(this.cells);
  }

  /** To be called about once a second while a cell is at work. */
  tick(now: number): void {
    const view = this._views[this._running];
    this._since ??= now;
    view?.tick((now - this._since) / 1000);
  }

  override dispose(): void {
    if (!this.isDisposed) {
      this._observer?.disconnect();
      cancelAnimationFrame(this._frame);
      Signal.clearData(this);
      super.dispose();
    }
  }

  protected override onAfterShow(message: Message): void {
    super.onAfterShow(message);
    if (this._following) {
      this._show();
    }
  }

  private _add(index: number): CellView {
    const { rendermime, trans } = this._options;
    const highlight: Highlight = (code, node) =>
      this._highlight?.(code, node) ?? Promise.resolve(void (node.textContent = code));
    const view = new CellView({ index, rendermime, highlight, trans });
    this._views[index] = view;
    this.addWidget(view);
    if (this._observer) {
      this._observer.observe(view.node);
    } else {
      view.realize();
    }
    return view;
  }

  private _highlighter(notebook: unknown): Highlight | null {
    const { languages } = this._options;
    if (languages === null || cellsOf(notebook).length === 0) {
      return null;
    }
    const { name, mimeType } = languageOf(notebook);
    const byType = mimeType === '' ? null : languages.findByMIME(mimeType);
    const language = byType ?? languages.findByName(name) ?? languages.findByName('python');
    return (code, node) => languages.highlight(code, language, node);
  }

  /** The end of what the cell at work shows comes into sight, once everything is drawn. */
  private _show(): void {
    this._frame ||= requestAnimationFrame(() => {
      this._frame = 0;
      const view = this._views[this._running];
      if (!this._following || view === undefined || !this.isVisible) {
        return;
      }
      view.realize();
      view.showEnd();
      const place = view.node.getBoundingClientRect();
      const seen = this.node.getBoundingClientRect();
      const below = place.bottom + END_PIXELS - seen.bottom;
      // Its end is what grows; all of it is out of sight where the notebook was scrolled down.
      const move = below > 0 ? below : place.bottom < seen.top ? place.top - seen.top : 0;
      if (move !== 0) {
        this._byUs = true;
        this.node.scrollTop += move;
      }
    });
  }

  /** Who moves the notebook by hand wants to read there. */
  private _onHand = (event: Event): void => {
    if (!(event instanceof KeyboardEvent) || MOVING_KEYS.includes(event.key)) {
      this._byHand = true;
    }
  };

  private _onScroll = (): void => {
    const isOurs = this._byUs && !this._byHand;
    this._byUs = false;
    if (!isOurs && this._byHand && this._following && this._running >= 0) {
      this._following = false;
      this._followingChanged.emit(false);
    }
    this._byHand = false;
  };

  private _options: INotebookViewOptions;
  private _views: CellView[] = [];
  /** What each cell was made of. */
  private _given: unknown[] = [];
  private _running = -1;
  private _since: number | null = null;
  private _following: boolean;
  private _followingChanged = new Signal<NotebookView, boolean>(this);
  private _highlight: Highlight | null = null;
  private _observer: IntersectionObserver | null = null;
  private _frame = 0;
  private _byUs = false;
  private _byHand = false;
}

const MOVING_KEYS: readonly string[] = [
  'ArrowUp',
  'ArrowDown',
  'PageUp',
  'PageDown',
  'Home',
  'End'
];
