/** What the commands on endpoints do. */

import { Dialog, InputDialog, Notification, showDialog } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { CommandRegistry } from '@lumino/commands';
import { Widget } from '@lumino/widgets';

import type { EndpointItem } from './api/types';
import { telling } from './telling';
import { CommandIDs, type IAiInfraApi, type IEndpointsModel } from './tokens';
import { h } from './widgets/dom';

/** How long what is removed can be had back. */
const UNDO_SECONDS = 8;
const SHORT_MS = 8_000;

export interface IEndpointVerbsOptions {
  api: IAiInfraApi;
  endpoints: IEndpointsModel;
  commands: CommandRegistry;
  trans: TranslationBundle;
}

export interface IScaleBounds {
  least: number;
  most: number;
}

/** A refusal is told in a dialog, and the answer is then `null`. */
export class EndpointVerbs {
  constructor(options: IEndpointVerbsOptions) {
    this._api = options.api;
    this._endpoints = options.endpoints;
    this._commands = options.commands;
    this._trans = options.trans;
  }

  /** Go back at once: nobody is asked first, and it can be gone forward again. */
  rollback(id: string, to?: number): Promise<EndpointItem | null> {
    const trans = this._trans;
    return telling(trans.__('It was not rolled back'), trans, async () => {
      const item = await this._endpoints.rollback(id, to);
      this._say(trans.__('“%1” is rolled back: %2.', item.name, this._served(item)), id);
      return item;
    });
  }

  promote(id: string): Promise<EndpointItem | null> {
    const trans = this._trans;
    return telling(trans.__('It was not promoted'), trans, async () => {
      const item = await this._endpoints.promote(id);
      const back = CommandIDs.rollbackEndpoint;
      this._say(trans.__('“%1” is promoted: %2.', item.name, this._served(item)), id, {
        [trans.__('Roll back')]: back
      });
      return item;
    });
  }

  /** Say how many replicas there are; what is not given is asked for. */
  scale(id: string, given: Partial<IScaleBounds> = {}): Promise<EndpointItem | null> {
    const trans = this._trans;
    return telling(trans.__('It was not scaled'), trans, async () => {
      const asked =
        given.least === undefined && given.most === undefined ? await this._askBounds(id) : given;
      return asked === null ? null : this._endpoints.scale(id, asked);
    });
  }

  /** Hide an endpoint, and remove it when nobody has taken that back in time; returns at once. */
  remove(id: string): void {
    const trans = this._trans;
    const name = this._endpoints.find(id)?.name ?? id;
    const removal = this._endpoints.remove(id, UNDO_SECONDS);
    // It goes when the time does, not when the toast's own clock says so.
    const toast = Notification.info(trans.__('“%1” was removed. It answers no more.', name), {
      autoClose: false,
      actions: [{ label: trans.__('Undo'), callback: () => void removal.undo() }]
    });
    void telling(trans.__('The endpoint was not removed'), trans, () =>
      removal.done.finally(() => Notification.dismiss(toast))
    );
  }

  /** The endpoint that is meant; `null` where the question for it was closed. */
  choose(title: string): Promise<string | null> {
    const trans = this._trans;
    return telling(title, trans, async () => {
      const all = await this._all();
      if (all.length === 0) {
        Notification.info(trans.__('There is no endpoint.'), { autoClose: SHORT_MS });
        return null;
      }
      const { value } = await InputDialog.getItem({ title, items: all.map(({ name }) => name) });
      return all.find(({ name }) => name === value)?.id ?? null;
    });
  }

  private async _all(): Promise<readonly EndpointItem[]> {
    return this._endpoints.endpoints ?? (await this._api.endpoints());
  }

  private async _askBounds(id: string): Promise<IScaleBounds | null> {
    const trans = this._trans;
    const item = this._endpoints.find(id) ?? (await this._api.endpoint(id)).item;
    const body = new BoundsBody(item.scaling, trans);
    const { button, value } = await showDialog<IScaleBounds>({
      title: trans.__('Scale “%1”', item.name),
      body,
      focusNodeSelector: 'input',
      buttons: [
        Dialog.cancelButton({ label: trans.__('Cancel') }),
        Dialog.okButton({ label: trans.__('Scale') })
      ]
    });
    return button.accept ? value : null;
  }

  /** `version 3 is served`. */
  private _served({ traffic, rollout }: EndpointItem): string {
    const trans = this._trans;
    if (rollout !== null) {
      return trans.__('version %1 is started, and takes over when it answers', rollout.new);
    }
    const [first] = [...traffic].sort((one, other) => other.weight - one.weight);
    return first === undefined
      ? trans.__('nothing is served')
      : trans.__('version %1 is served', first.version);
  }

  /** Say it, with a button for each command. */
  private _say(message: string, id: string, buttons: Readonly<Record<string, string>> = {}): void {
    Notification.success(message, {
      autoClose: SHORT_MS,
      actions: Object.entries(buttons).map(([label, command]) => ({
        label,
        callback: () => void this._commands.execute(command, { id })
      }))
    });
  }

  private _api: IAiInfraApi;
  private _endpoints: IEndpointsModel;
  private _commands: CommandRegistry;
  private _trans: TranslationBundle;
}

/** Two numbers in a dialog. What they may be is for the server to say. */
class BoundsBody extends Widget implements Dialog.IBodyWidget<IScaleBounds> {
  constructor({ least, most }: IScaleBounds, trans: TranslationBundle) {
    super();
    this.addClass('aiinfra-EndpointScale');
    this._least = numberInput(least, 0);
    this._most = numberInput(most, 1);
    const none = trans.__('With 0 nothing runs while nobody calls: the next request waits for it.');
    this.node.append(
      h('label', {}, trans.__('At least'), this._least),
      h('label', {}, trans.__('At most'), this._most),
      h('p', { class: 'aiinfra-hint' }, none)
    );
  }

  getValue(): IScaleBounds {
    return { least: Number(this._least.value), most: Number(this._most.value) };
  }

  private _least: HTMLInputElement;
  private _most: HTMLInputElement;
}

function numberInput(value: number, least: number): HTMLInputElement {
  const node = h('input', { type: 'number', step: '1', min: String(least) });
  node.value = String(value);
  return node;
}
