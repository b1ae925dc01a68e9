/** One cell of a notebook that is only read. */

import { SimplifiedOutputArea } from '@jupyterlab/outputarea';
import { MimeModel, type IRenderMimeRegistry } from '@jupyterlab/rendermime';
import type { TranslationBundle } from '@jupyterlab/translation';
import { Panel, Widget } from '@lumino/widgets';

import { h } from '../widgets/dom';
import { durationText } from '../widgets/format';
import type { ICell } from './cells';
import { ShownOutputs } from './outputs';

/** Puts code into an element, in colours. */
export type Highlight = (code: string, node: HTMLElement) => Promise<void>;

export interface ICellViewOptions {
  /** Counted from 0. */
  index: number;
  rendermime: IRenderMimeRegistry;
  highlight: Highlight;
  trans: TranslationBundle;
}

/**
 * What is costly of a cell is made when it is near what is in sight: `realize`. Until then its
 * source stands there as plain text, so that a search finds it.
 */
export class CellView extends Panel {
  constructor(options: ICellViewOptions) {
    super();
    this._options = options;
    this.addClass('aiinfra-RunCell');
    this.node.setAttribute('role', 'group');
    this._input.node.append(this._prompt, this._source);
    this._input.addClass('aiinfra-RunCell-input');
    this.addWidget(this._input);
    this.node.append(this._foot);
  }

  get cell(): ICell | null {
    return this._cell;
  }

  get isRealized(): boolean {
    return this._isRealized;
  }

  /** Show this; `running` says that it is the one at work. Returns whether its outputs changed. */
  draw(cell: ICell, running: boolean): boolean {
    const before = this._cell;
    this._cell = cell;
    if (before?.source !== cell.source || before.kind !== cell.kind) {
      this._isDrawn = false;
    }
    this._running = running;
    this._drawHead();
    this._drawSource();
    return this._drawOutputs();
  }

  /** Make what is costly; idempotent. */
  realize(): void {
    if (!this._isRealized) {
      this._isRealized = true;
      this._drawSource();
      this._drawOutputs();
    }
  }

  /** Say how long it has been at work, as nobody sends that again and again. */
  tick(seconds: number | null): void {
    if (this._running) {
      const text = seconds === null ? '' : durationText(seconds, true);
      this._say(text);
    }
  }

  /** What scrolls in it while it grows. */
  showEnd(): void {
    if (this._area) {
      this._area.node.scrollTop = this._area.node.scrollHeight;
    }
  }

  override dispose(): void {
    if (!this.isDisposed) {
      super.dispose();
      this._outputs?.dispose();
    }
  }

  private _drawHead(): void {
    const cell = this._cell;
    if (cell === null) {
      return;
    }
    const { trans, index } = this._options;
    const { kind, count, state, tags } = cell;
    const number = index + 1;
    const shownState = this._running ? 'running' : kind === 'code' ? state : '';
    this.node.dataset['state'] = shownState;
    this.node.dataset['kind'] = kind;
    const words: Record<string, string> = {
      running: trans.__('running'),
      failed: trans.__('failed'),
      completed: trans.__('done'),
      pending: trans.__('not run')
    };
    const word = words[shownState];
    this.node.setAttribute(
      'aria-label',
      word === undefined ? trans.__('Cell %1', number) : trans.__('Cell %1: %2', number, word)
    );
    const mark = this._running ? '*' : (count ?? ' ');
    this._prompt.textContent = kind === 'code' ? `[${mark}]` : '';
    this._prompt.title = trans.__('Cell %1', number);
    const named = tags.filter(tag => NAMED_TAGS.includes(tag));
    if (!this._running) {
      const took = cell.seconds === null ? '' : durationText(cell.seconds);
      this._say([...named, took].filter(Boolean).join(' · '));
    }
  }

  private _say(text: string): void {
    if (this._foot.textContent !== text) {
      this._foot.textContent = text;
    }
    this._foot.hidden = text === '';
  }

  private _drawSource(): void {
    const cell = this._cell;
    if (cell === null || (this._isDrawn && this._isRealized === this._isDrawnWhole)) {
      return;
    }
    this._isDrawn = true;
    this._isDrawnWhole = this._isRealized;
    if (cell.kind === 'markdown' && this._isRealized) {
      void this._drawMarkdown(cell.source);
      return;
    }
    const code = h('code', {});
    this._source.replaceChildren(h('pre', { class: 'aiinfra-RunCell-code' }, code));
    if (cell.kind === 'code' && this._isRealized) {
      const coloured = h('code', {});
      code.textContent = cell.source;
      void this._options.highlight(cell.source, coloured).then(() => {
        if (code.isConnected || !this.isAttached) {
          code.replaceChildren(...coloured.childNodes);
        }
      });
    } else {
      code.textContent = cell.source;
    }
  }

  private async _drawMarkdown(source: string): Promise<void> {
    const { rendermime } = this._options;
    const renderer = rendermime.createRenderer('text/markdown');
    const model = new MimeModel({ data: { 'text/markdown': source }, trusted: false });
    this._markdown?.dispose();
    this._markdown = renderer;
    await renderer.renderModel(model);
    if (this._markdown === renderer && !this.isDisposed) {
      this._source.replaceChildren();
      if (this._source.isConnected) {
        Widget.attach(renderer, this._source);
      } else {
        this._source.append(renderer.node);
      }
    }
  }

  /** The area is made when there is something for it. */
  private _drawOutputs(): boolean {
    const cell = this._cell;
    if (cell === null || !this._isRealized) {
      return false;
    }
    if (this._area === null) {
      if (cell.outputs.length === 0) {
        return false;
      }
      this._outputs = new ShownOutputs();
      this._area = new SimplifiedOutputArea({
        model: this._outputs.model,
        rendermime: this._options.rendermime
      });
      this._area.addClass('aiinfra-RunCell-outputs');
      this._area.node.tabIndex = 0;
      this._area.node.setAttribute('role', 'region');
      this.addWidget(this._area);
      this.node.append(this._foot);
      const label = this._options.trans.__('Output of cell %1', this._options.index + 1);
      this._area.node.setAttribute('aria-label', label);
    }
    return this._outputs?.set(cell.outputs) ?? false;
  }

  private _options: ICellViewOptions;
  private _cell: ICell | null = null;
  private _running = false;
  private _isDrawn = false;
  private _isDrawnWhole = false;
  private _isRealized = false;
  private _input = new Widget();
  private _prompt = h('div', { class: 'aiinfra-RunCell-prompt' });
  private _source = h('div', { class: 'aiinfra-RunCell-source' });
  private _foot = h('div', { class: 'aiinfra-RunCell-foot', hidden: '' });
  private _markdown: Widget | null = null;
  private _outputs: ShownOutputs | null = null;
  private _area: SimplifiedOutputArea | null = null;
}

/** Tags that say what a cell is to a run. */
const NAMED_TAGS: readonly string[] = [
  'parameters',
  'injected-parameters',
  'checkpoint',
  'setup',
  'raises-exception'
];
