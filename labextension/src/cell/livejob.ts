/** A job drawn from the server, with buttons for what can be done with it. */

import type { TranslationBundle } from '@jupyterlab/translation';
import type { CommandRegistry } from '@lumino/commands';
import type { IDisposable } from '@lumino/disposable';
import { Widget } from '@lumino/widgets';

import type { Silence } from '../api/types';
import { noticeActions } from '../cost/actions';
import type { LiveGpus } from '../gpus/live';
import { isActive, silenceText } from '../jobstate';
import { ServerJobModel } from '../models/jobmodel';
import { CommandIDs, type IAiInfraApi, type IAiInfraStream, type IGpusModel } from '../tokens';
import type { IGpuUse } from '../widgets/rankgpus';
import { JobView } from '../widgets/view';
import { Tools, type ITool } from './tools';

/** What every drawing of a job needs. */
export interface IJobContext {
  api: IAiInfraApi;
  stream: IAiInfraStream;
  commands: CommandRegistry;
  trans: TranslationBundle;
  /** The GPUs of this page; without them a job is drawn without its own. */
  gpus?: IGpusModel | undefined;
}

export interface ILiveJobOptions extends IJobContext {
  id: string;
  /** Further buttons, asked for whenever they are drawn. */
  tools?: () => ITool[];
}

/** Draws while somebody says that it is seen: `setActive`. */
export class LiveJob extends Widget {
  constructor(options: ILiveJobOptions) {
    super();
    const { id, api, stream, trans, commands } = options;
    this._options = options;
    this.addClass('aiinfra-LiveJob');
    const lostNote = trans.__('the server does not answer; this goes on when it is back');
    const silenceNote = (silence: Silence): string => silenceText(silence, trans);
    this.model = new ServerJobModel({ id, api, stream, lostNote, silenceNote });
    this._tools = new Tools(trans.__('Job'));
    const node = this.node.appendChild(document.createElement('div'));
    this._view = new JobView(this.model, node, {
      tools: this._tools.node,
      trans,
      actions: noticeActions({ api, commands, job: id }),
      onLook: rank => this.model.look(rank)
    });
    this.model.changed.connect(() => {
      this.refresh();
      this._settleGpus();
    });
  }

  readonly model: ServerJobModel;

  /** Keep up to date from now on, or rest. */
  setActive(active: boolean): void {
    this._active = active;
    this.model.setActive(active);
    this._settleGpus();
  }

  /** Say what its ranks did with their GPUs, as the kernel has noted it, once the job is over. */
  setUsed(used: readonly IGpuUse[]): void {
    this._used = used;
    if (this._isOver) {
      this._view.endGpus(used);
    }
  }

  /** Draw the buttons anew. */
  refresh(): void {
    this._tools.draw([...(this._options.tools?.() ?? []), ...this._own()]);
  }

  override dispose(): void {
    if (!this.isDisposed) {
      this._active = false;
      this._settleGpus();
      this._view.dispose();
      this.model.dispose();
      super.dispose();
    }
  }

  /** Watch the GPUs of a job that runs on some, while it is seen. */
  private _settleGpus(): void {
    const { gpus, id } = this._options;
    const detail = this.model.detail;
    const runs =
      detail?.item.state === 'running' && detail.placement.some(each => each.gpus.length > 0);
    if (gpus && runs && this._active) {
      if (this._gpus === null) {
        const live = gpus.of({ id });
        live.changed.connect(this._onGpus);
        this._gpus = { live, watching: live.watch() };
        this._onGpus(live);
      }
      return;
    }
    this._gpus?.live.changed.disconnect(this._onGpus);
    this._gpus?.watching.dispose();
    this._gpus = null;
    if (detail && !isActive(detail.item) && !this._isOver) {
      this._isOver = true;
      this._view.endGpus(this._used);
    }
  }

  private _onGpus = ({ board, trail }: LiveGpus): void => {
    if (board) {
      this._view.drawGpus(board, trail);
    }
  };

  private _own(): ITool[] {
    const { trans } = this._options;
    const item = this.model.detail?.item;
    const tools: ITool[] = [];
    if (item && isActive(item)) {
      const stopping = item.desired === 'stop';
      tools.push({
        label: stopping ? trans.__('Stopping…') : trans.__('Cancel'),
        title: trans.__('Stop the job; also while the kernel is busy'),
        isEnabled: !stopping,
        run: () => this._command(CommandIDs.cancelJob)
      });
    }
    if (item && this._options.commands.hasCommand(CommandIDs.openJob)) {
      tools.push({
        label: trans.__('Open'),
        title: trans.__('Show the job on a page of its own: all of its log, its files and plan'),
        isEnabled: true,
        run: () => this._command(CommandIDs.openJob)
      });
    }
    return tools;
  }

  private _command(command: string): void {
    void this._options.commands.execute(command, { id: this.model.id });
  }

  private _options: ILiveJobOptions;
  private _tools: Tools;
  private _view: JobView;
  private _active = false;
  private _isOver = false;
  private _used: readonly IGpuUse[] = [];
  private _gpus: { live: LiveGpus; watching: IDisposable } | null = null;
}
