/** Below a cell that does not show its job: that there is one, and how to have it back. */

import type { IOutputAreaModel } from '@jupyterlab/outputarea';
import type { IDisposable } from '@lumino/disposable';
import type { Message } from '@lumino/messaging';
import { Panel, Widget } from '@lumino/widgets';

import type { JobDetail } from '../api/types';
import { stateText } from '../components/panel/states';
import { isActive } from '../jobstate';
import { CommandIDs } from '../tokens';
import { attachTool, watchPlace, type IPlace } from './attach';
import { LiveJob, type IJobContext } from './livejob';
import { outputsOf } from './origin';
import { watchSight } from './sight';
import { Tools, type ITool } from './tools';

export interface IJobBannerOptions extends IJobContext {
  place: IPlace;
  detail: JobDetail;
  /** The user does not want to hear of it. */
  onDismiss: () => void;
}

/**
 * Stands in the cell's widget and not in its document: nothing is saved, and who looks at the same
 * notebook elsewhere has a banner of their own.
 *
 * It goes when the cell is run or attached, or its job is in its outputs.
 */
export class JobBanner extends Panel {
  constructor(options: IJobBannerOptions) {
    super();
    this._options = options;
    const { detail, place, trans } = options;
    this.addClass('aiinfra-JobBanner');
    this.node.setAttribute('role', 'region');
    this.node.setAttribute('aria-label', trans.__('The job of this cell'));
    this._tools = new Tools(trans.__('What to do about the job of this cell'));
    this._text.className = 'aiinfra-JobBanner-text';
    const line = new Widget();
    line.addClass('aiinfra-JobBanner-line');
    line.node.append(this._text, this._tools.node);
    this.addWidget(line);
    if (isActive(detail.item)) {
      this._live = new LiveJob({ ...options, id: detail.item.id });
      this._live.model.take(detail);
      this._live.model.changed.connect(this._draw, this);
      if (hidesValues(detail)) {
        // The server does not know what its kernel hides, so the log is not shown.
        this._live.model.look(null);
      } else {
        this.addWidget(this._live);
      }
    }
    this._following = watchPlace(place, () => {
      this._leaveIfShown();
      this._draw();
    });
    this._outputs = place.cell.model.outputs;
    this._outputs.changed.connect(this._leaveIfShown);
    this._draw();
  }

  override dispose(): void {
    if (this.isDisposed) {
      return;
    }
    this._following.dispose();
    this._outputs.changed.disconnect(this._leaveIfShown);
    this._live?.dispose();
    super.dispose();
  }

  protected override onAfterAttach(message: Message): void {
    super.onAfterAttach(message);
    const sight = watchSight(this.node, inSight => this._live?.setActive(inSight));
    this._sight = () => sight.dispose();
  }

  protected override onBeforeDetach(message: Message): void {
    this._sight();
    this._live?.setActive(false);
    super.onBeforeDetach(message);
  }

  private _draw = (): void => {
    if (this.isDisposed) {
      return;
    }
    this._text.textContent = this._sentence();
    this._tools.draw(this._buttons());
  };

  private _sentence(): string {
    const { trans } = this._options;
    const detail = this._live?.model.detail ?? this._options.detail;
    const { id, name, state } = detail.item;
    if (this._live?.model.knowledge === 'absent') {
      return trans.__('The job of this cell, %1, was removed', id);
    }
    if (isActive(detail.item)) {
      return trans.__('The job of this cell, %1, still runs', id);
    }
    if (state === 'succeeded' && detail.fetch.length) {
      const names = detail.fetch.join(', ');
      return trans.__('The job of this cell, %1, has succeeded; its results: %2', id, names);
    }
    return trans.__(
      'The job of this cell, %1 (%2), is over: %3',
      id,
      name,
      stateText(state, trans)
    );
  }

  private _buttons(): ITool[] {
    const { place, detail, trans, commands } = this._options;
    const { id } = detail.item;
    const tools: ITool[] = [];
    if (this._live?.model.knowledge !== 'absent') {
      tools.push(attachTool(id, place, trans));
    }
    if (this._live?.parent !== this && commands.hasCommand(CommandIDs.openJob)) {
      tools.push({
        label: trans.__('Open'),
        title: trans.__('Show the job on a page of its own: all of its log, its files and plan'),
        isEnabled: true,
        run: () => void commands.execute(CommandIDs.openJob, { id })
      });
    }
    tools.push({
      label: trans.__('Dismiss'),
      title: trans.__('Say no more of this job below this cell; the job is left alone'),
      isEnabled: true,
      run: () => {
        this._options.onDismiss();
        this.dispose();
      }
    });
    return tools;
  }

  private _leaveIfShown = (): void => {
    const { cell } = this._options.place;
    const { id } = this._options.detail.item;
    if (cell.isDisposed) {
      return;
    }
    const { model } = cell;
    if (model.executionState === 'running' || outputsOf(model).some(shown => shown.id === id)) {
      // Not within the signal: the cell is still telling others of the same change.
      queueMicrotask(() => this.dispose());
    }
  };

  private _options: IJobBannerOptions;
  private _text = document.createElement('span');
  private _tools: Tools;
  private _live: LiveJob | null = null;
  private _following: IDisposable;
  private _outputs: IOutputAreaModel;
  private _sight: () => void = () => undefined;
}

/** Whether the job was given secrets, whose values its log may hold. */
function hidesValues({ line }: JobDetail): boolean {
  return /(^|\s)--secret(=|\s)/.test(line);
}
