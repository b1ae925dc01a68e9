/** The output of a training cell, drawn from the server; from what the output itself holds, else. */

import type { NotebookPanel } from '@jupyterlab/notebook';
import type { IRenderMime, IRenderMimeRegistry } from '@jupyterlab/rendermime';
import type { IDisposable } from '@lumino/disposable';
import type { Message } from '@lumino/messaging';
import { Panel } from '@lumino/widgets';

import { attachTool, placeOf, watchPlace, type IPlace } from './attach';
import { LiveJob, type IJobContext } from './livejob';
import { isWhole, JOB_MIME, jobReference, type IJobReference } from './reference';
import { registryOf } from './registry';
import { watchSight } from './sight';
import type { ITool } from './tools';

export interface IJobOutputOptions extends IJobContext {
  /** Draws what the server does not know, where the notebook's own registry is not found. */
  rendermime: IRenderMimeRegistry;
  /** The notebooks that are open. */
  panels: () => readonly NotebookPanel[];
}

/** Renders {@link JOB_MIME}; lives in an output area, or wherever outputs are shown. */
export class JobOutput extends Panel implements IRenderMime.IRenderer {
  constructor(options: IJobOutputOptions) {
    super();
    this._options = options;
    this.addClass('aiinfra-JobOutput');
  }

  async renderModel(model: IRenderMime.IMimeModel): Promise<void> {
    const named = jobReference(model.data[JOB_MIME]);
    this._model = model;
    this._named = named;
    this._isStale = true;
    if (!named || named.hides) {
      this._live?.dispose();
      this._live = null;
    } else if (this._live?.model.id !== named.id) {
      this._live?.dispose();
      this._live = this._open(named);
      this._live.setActive(this._inSight === true);
    }
    this._live?.setUsed(named?.used ?? []);
    this._live?.refresh();
    await this._settle();
  }

  protected override onAfterAttach(message: Message): void {
    super.onAfterAttach(message);
    this._sight = watchSight(this.node, inSight => {
      this._inSight = inSight;
      this._live?.setActive(inSight);
      void this._settle();
    });
    this._follow(placeOf(this, this._options.panels()));
    void this._settle();
  }

  protected override onBeforeDetach(message: Message): void {
    this._sight?.dispose();
    this._inSight = null;
    this._live?.setActive(false);
    this._follow(null);
    super.onBeforeDetach(message);
  }

  override dispose(): void {
    if (this.isDisposed) {
      return;
    }
    this._sight?.dispose();
    this._follow(null);
    // Not a child of this while there is nothing to draw.
    this._live?.dispose();
    super.dispose();
  }

  private _open({ id }: IJobReference): LiveJob {
    const live = new LiveJob({ ...this._options, id, tools: () => this._tools() });
    live.model.changed.connect(this._onModelChanged, this);
    return live;
  }

  /** Listen to what decides whether the kernel can attach. */
  private _follow(place: IPlace | null): void {
    this._following?.dispose();
    this._following = place && watchPlace(place, this._refresh);
    this._place = place;
    if (place) {
      this._refresh();
    }
  }

  private _refresh = (): void => {
    this._live?.refresh();
  };

  /** An output that was not finished by a kernel can be: unless one is about to. */
  private _tools(): ITool[] {
    const { _named: named, _place: place } = this;
    if (!named || !place || isWhole(named) || place.cell.model.executionState === 'running') {
      return [];
    }
    return [attachTool(named.id, place, this._options.trans)];
  }

  private _onModelChanged = (): void => void this._settle();

  /** Show the live drawing when there is one, and what the output holds until then. */
  private async _settle(): Promise<void> {
    const model = this._live?.model;
    const isKnown = model?.knowledge === 'known';
    if (this._live && !isKnown) {
      this._live.parent = null;
    } else if (this._live && this._live.parent !== this) {
      this.insertWidget(0, this._live);
    }
    if (isKnown) {
      this._fallback?.dispose();
      this._fallback = null;
      return;
    }
    // Out of sight nothing is asked; the other form keeps the place, or scrolling would jump.
    const isWaiting =
      model?.knowledge === 'loading' && model.problem === null && this._inSight !== false;
    if (!isWaiting && this.isAttached && (this._isStale || !this._fallback)) {
      await this._fallBack();
    }
  }

  /** Draw the next best form: the kernel's widget while there is one, else the static HTML. */
  private async _fallBack(): Promise<void> {
    const model = this._model;
    if (!model) {
      return;
    }
    this._isStale = false;
    const rendermime = registryOf(this) ?? this._options.rendermime;
    const others = Object.entries(model.data).filter(([type]) => type !== JOB_MIME);
    const safe = model.trusted ? 'any' : 'ensure';
    const type = rendermime.preferredMimeType(Object.fromEntries(others), safe);
    this._fallback?.dispose();
    this._fallback = null;
    if (type !== undefined) {
      this._fallback = rendermime.createRenderer(type);
      this.addWidget(this._fallback);
      await this._fallback.renderModel(model);
    }
  }

  private _options: IJobOutputOptions;
  private _model: IRenderMime.IMimeModel | null = null;
  private _named: IJobReference | null = null;
  private _live: LiveJob | null = null;
  private _fallback: IRenderMime.IRenderer | null = null;
  /** Whether the output has changed since the fallback was drawn. */
  private _isStale = false;
  private _place: IPlace | null = null;
  private _following: IDisposable | null = null;
  private _sight: IDisposable | null = null;
  /** `null` until the page has said. */
  private _inSight: boolean | null = null;
}
