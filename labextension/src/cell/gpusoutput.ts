/** The output of `%gpus`: the widget while its kernel has it, else the table that was saved. */

import type { IRenderMime, IRenderMimeRegistry } from '@jupyterlab/rendermime';
import type { Message } from '@lumino/messaging';
import { Panel } from '@lumino/widgets';

import { registryOf } from './registry';

const WIDGET_MIME = 'application/vnd.jupyter.widget-view+json';
const SAVED_MIMES = ['text/html', 'text/plain'];
/** What the widget draws, as soon as it is there. */
const DRAWN = '.aiinfra-GpuBoard';

/**
 * Shows the saved table until the widget is drawn, and again when it is not any more.
 *
 * A widget that nobody knows says so in the place of its output, in words of its own: so it is shown
 * only while it is ours.
 */
export class GpusOutput extends Panel implements IRenderMime.IRenderer {
  constructor(rendermime: IRenderMimeRegistry) {
    super();
    this._rendermime = rendermime;
    this.addClass('aiinfra-GpusOutput');
    this._watch = new MutationObserver(() => this._settle());
    this._watch.observe(this.node, { childList: true, subtree: true });
  }

  async renderModel(model: IRenderMime.IMimeModel): Promise<void> {
    this._model = model;
    if (this.isAttached) {
      await this._render();
    }
  }

  protected override onAfterAttach(message: Message): void {
    super.onAfterAttach(message);
    void this._render();
  }

  override dispose(): void {
    this._watch.disconnect();
    super.dispose();
  }

  /** The registry that knows widgets is found only from within the notebook. */
  private async _render(): Promise<void> {
    const model = this._model;
    if (model === null || model === this._rendered) {
      return;
    }
    this._rendered = model;
    const rendermime = registryOf(this) ?? this._rendermime;
    [...this.widgets].forEach(widget => widget.dispose());
    const pick = (mimes: string[]): IRenderMime.IRenderer | null => {
      const data = Object.fromEntries(mimes.map(mime => [mime, model.data[mime]]));
      const known = Object.fromEntries(Object.entries(data).filter(([, value]) => value != null));
      const type = rendermime.preferredMimeType(known, model.trusted ? 'any' : 'ensure');
      return type === undefined ? null : rendermime.createRenderer(type);
    };
    this._saved = pick(SAVED_MIMES);
    this._live = model.trusted ? pick([WIDGET_MIME]) : null;
    for (const part of [this._saved, this._live]) {
      if (part !== null) {
        this.addWidget(part);
      }
    }
    this._settle();
    await this._saved?.renderModel(model);
    if (this._live !== null && !this._live.isDisposed) {
      await this._live.renderModel(model);
    }
  }

  private _settle(): void {
    const isDrawn = this._live !== null && this._live.node.querySelector(DRAWN) !== null;
    this._live?.setHidden(!isDrawn);
    this._saved?.setHidden(isDrawn);
  }

  private _rendermime: IRenderMimeRegistry;
  private _watch: MutationObserver;
  private _model: IRenderMime.IMimeModel | null = null;
  private _rendered: IRenderMime.IMimeModel | null = null;
  private _saved: IRenderMime.IRenderer | null = null;
  private _live: IRenderMime.IRenderer | null = null;
}
