/** The output of `%gpus`: the widget while its kernel has it, else the table that was saved. */

import type { IRenderMime, IRenderMimeRegistry } from '@jupyterlab/rendermime';
import type { Message } from '@lumino/messaging';
import { Panel } from '@lumino/widgets';

import { registryOf } from './registry';

const WIDGET_MIME = 'application/vnd.jupyter.widget-view+json';
const SAVED_MIMES = ['text/html', 'text/plain'];
/** What the widget draws, as soon as it is there. */
const DRAWN = '.aiinfra-GpuBoard';
const LOOK_MILLISECONDS = 500;

/**
 * Shows the saved table until the widget is drawn, and again when it is not any more.
 *
 * A widget that nobody knows says so in the place of its output, in words of its own: so it is shown
 * only while it is ours.
 */
export class GpusOutput extends Panel implements IRenderMime.IRenderer {
  /** `rendermime` is the registry of the page, which knows of no kernel. */
  constructor(rendermime: IRenderMimeRegistry) {
    super();
    this._rendermime = rendermime;
    this.addClass('aiinfra-GpusOutput');
    this._watch = new MutationObserver(() => this._settle());
    this._watch.observe(this.node, { childList: true, subtree: true });
  }

  async renderModel(model: IRenderMime.IMimeModel): Promise<void> {
    this._model = model;
    this._saved?.dispose();
    this._live?.dispose();
    this._saved = this._live = null;
    this._saved = this._pick(this._rendermime, SAVED_MIMES);
    await this._saved?.renderModel(model);
    this._lookForWidgets();
    this._settle();
  }

  override dispose(): void {
    this._watch.disconnect();
    clearInterval(this._timer);
    super.dispose();
  }

  protected override onAfterAttach(message: Message): void {
    super.onAfterAttach(message);
    if (this._live === null) {
      this._timer = setInterval(() => this._lookForWidgets(), LOOK_MILLISECONDS);
      this._lookForWidgets();
    }
  }

  protected override onBeforeDetach(message: Message): void {
    clearInterval(this._timer);
    super.onBeforeDetach(message);
  }

  /**
   * Draw the widget once the notebook knows its kernel's. Until then it has the page's renderer,
   * which would wait for ever: the widgets' own extension gives a kernel only to those renderers
   * that stand in an output by themselves, and tells nobody else.
   */
  private _lookForWidgets(): void {
    const [registry, model] = [registryOf(this), this._model];
    if (this._live !== null || model === null || registry === null || !model.trusted) {
      return;
    }
    const factory = registry.getFactory(WIDGET_MIME);
    if (factory !== undefined && factory !== this._rendermime.getFactory(WIDGET_MIME)) {
      clearInterval(this._timer);
      this._live = this._pick(registry, [WIDGET_MIME]);
      void this._live?.renderModel(model);
      this._settle();
    }
  }

  private _pick(registry: IRenderMimeRegistry, mimes: string[]): IRenderMime.IRenderer | null {
    const { data = {}, trusted } = this._model ?? {};
    const known = mimes.filter(mime => data[mime] !== undefined).map(mime => [mime, data[mime]]);
    const bundle = Object.fromEntries(known) as IRenderMime.IMimeModel['data'];
    const type = registry.preferredMimeType(bundle, trusted ? 'any' : 'ensure');
    if (type === undefined) {
      return null;
    }
    const renderer = registry.createRenderer(type);
    this.addWidget(renderer);
    return renderer;
  }

  private _settle(): void {
    const isDrawn = this._live !== null && this._live.node.querySelector(DRAWN) !== null;
    this._live?.setHidden(!isDrawn);
    this._saved?.setHidden(isDrawn);
  }

  private _rendermime: IRenderMimeRegistry;
  private _watch: MutationObserver;
  private _timer: ReturnType<typeof setInterval> | undefined;
  private _model: IRenderMime.IMimeModel | null = null;
  private _saved: IRenderMime.IRenderer | null = null;
  private _live: IRenderMime.IRenderer | null = null;
}
