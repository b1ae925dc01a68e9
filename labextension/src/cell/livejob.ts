/** A job drawn from the server, with buttons for what can be done with it. */

import type { TranslationBundle } from '@jupyterlab/translation';
import type { CommandRegistry } from '@lumino/commands';
import { Widget } from '@lumino/widgets';

import type { Silence } from '../api/types';
import { isActive, silenceText } from '../jobstate';
import { ServerJobModel } from '../models/jobmodel';
import { CommandIDs, type IAiInfraApi, type IAiInfraStream } from '../tokens';
import { JobView } from '../widgets/view';
import { Tools, type ITool } from './tools';

/** What every drawing of a job needs. */
export interface IJobContext {
  api: IAiInfraApi;
  stream: IAiInfraStream;
  commands: CommandRegistry;
  trans: TranslationBundle;
}

export interface ILiveJobOptions extends IJobContext {
  id: string;
  /** Further buttons, asked for whenever they are drawn. */
  tools?: () => ITool[];
}

/** Draws while somebody says that it is seen: `model.setActive`. */
export class LiveJob extends Widget {
  constructor(options: ILiveJobOptions) {
    super();
    const { id, api, stream, trans } = options;
    this._options = options;
    this.addClass('aiinfra-LiveJob');
    const lostNote = trans.__('the server does not answer; this goes on when it is back');
    const silenceNote = (silence: Silence): string => silenceText(silence, trans);
    this.model = new ServerJobModel({ id, api, stream, lostNote, silenceNote });
    this._tools = new Tools(trans.__('Job'));
    const node = this.node.appendChild(document.createElement('div'));
    this._view = new JobView(this.model, node, {
      tools: this._tools.node,
      onLook: rank => this.model.look(rank)
    });
    this.model.changed.connect(() => this.refresh());
  }

  readonly model: ServerJobModel;

  /** Draw the buttons anew. */
  refresh(): void {
    this._tools.draw([...(this._options.tools?.() ?? []), ...this._own()]);
  }

  override dispose(): void {
    if (!this.isDisposed) {
      this._view.dispose();
      this.model.dispose();
      super.dispose();
    }
  }

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
}
