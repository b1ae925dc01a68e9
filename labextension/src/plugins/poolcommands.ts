import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import {
  Dialog,
  ICommandPalette,
  InputDialog,
  Notification,
  showDialog
} from '@jupyterlab/apputils';
import { ITranslator, nullTranslator, type TranslationBundle } from '@jupyterlab/translation';
import { addIcon, refreshIcon } from '@jupyterlab/ui-components';
import type { ReadonlyJSONObject, ReadonlyPartialJSONObject } from '@lumino/coreutils';

import type { AttachRequest, PoolItem, PriceItem } from '../api/types';
import { telling } from '../telling';
import { CommandIDs, IAiInfraApi } from '../tokens';

/** What marks the row of a pool in the page; its `data-pool` is the pool's name. */
const ROW_SELECTOR = '.aiinfra-PoolRow';

const NAME_ARGS: ReadonlyJSONObject = {
  type: 'object',
  properties: {
    name: { type: 'string', description: 'The pool; asked for when left out' },
    fromMenu: { type: 'boolean', description: 'Take the pool whose context menu is open' }
  }
};

const ATTACH_ARGS: ReadonlyJSONObject = {
  type: 'object',
  properties: {
    name: { type: 'string', description: 'What to call the pool' },
    kind: { type: 'string', description: 'What the pool is, for example local' },
    options: { type: 'object', description: 'The options of that kind' }
  }
};

/** Commands that attach, check, price and detach pools: in the palette and in a pool's menu. */
const plugin: JupyterFrontEndPlugin<void> = {
  id: 'jupyter-aiinfra:pool-commands',
  description: 'Adds the commands that attach, check, price and detach pools.',
  autoStart: true,
  requires: [IAiInfraApi],
  optional: [ITranslator, ICommandPalette],
  activate: (
    app: JupyterFrontEnd,
    api: IAiInfraApi,
    translator: ITranslator | null,
    palette: ICommandPalette | null
  ): void => {
    const trans = (translator ?? nullTranslator).load('jupyter_aiinfra');
    const verbs = new PoolVerbs(app, api, trans);
    addCommands(app, verbs, trans);

    const category = trans.__('AI Infra');
    const { attachPool, checkPool, setPrice, detachPool } = CommandIDs;
    for (const command of [attachPool, checkPool, setPrice, detachPool]) {
      palette?.addItem({ command, category, args: { isPalette: true } });
    }
    for (const [rank, command] of [checkPool, setPrice, detachPool].entries()) {
      app.contextMenu.addItem({ command, selector: ROW_SELECTOR, rank, args: { fromMenu: true } });
    }
  }
};

function addCommands(app: JupyterFrontEnd, verbs: PoolVerbs, trans: TranslationBundle): void {
  const { commands } = app;
  const label =
    (short: string, long: string) =>
    (args: ReadonlyPartialJSONObject): string =>
      args['isPalette'] ? long : short;

  commands.addCommand(CommandIDs.attachPool, {
    label: label(trans.__('Attach a Pool…'), trans.__('AI Infra: Attach a Pool…')),
    caption: trans.__('Attach a machine or cluster that jobs can run on'),
    icon: args => (args['isPalette'] ? undefined : addIcon),
    describedBy: { args: ATTACH_ARGS },
    execute: args => verbs.attach(args)
  });
  commands.addCommand(CommandIDs.checkPool, {
    label: label(trans.__('Check Now'), trans.__('AI Infra: Check a Pool…')),
    caption: trans.__('Ask the pool itself whether it is there and what it has'),
    icon: args => (args['isPalette'] ? undefined : refreshIcon),
    describedBy: { args: NAME_ARGS },
    execute: args => verbs.check(args)
  });
  commands.addCommand(CommandIDs.setPrice, {
    label: label(trans.__('Set the Price…'), trans.__('AI Infra: Set the Price of a Pool…')),
    caption: trans.__('Say what an hour of the pool costs'),
    describedBy: { args: NAME_ARGS },
    execute: args => verbs.price(args)
  });
  commands.addCommand(CommandIDs.detachPool, {
    label: label(trans.__('Detach'), trans.__('AI Infra: Detach a Pool…')),
    caption: trans.__('Forget the pool; its jobs and files stay as they are'),
    describedBy: { args: NAME_ARGS },
    execute: args => verbs.detach(args)
  });
}

/** What the commands do. A refusal is told in a dialog, and the answer is then `null`. */
class PoolVerbs {
  constructor(app: JupyterFrontEnd, api: IAiInfraApi, trans: TranslationBundle) {
    this._app = app;
    this._api = api;
    this._trans = trans;
  }

  /** Attach what the arguments name, or what the form is filled in with; the pool, if attached. */
  attach(args: ReadonlyPartialJSONObject): Promise<PoolItem | null> {
    const { name, kind, options } = args;
    const title = this._trans.__('The pool was not attached');
    if (typeof name !== 'string' || typeof kind !== 'string') {
      return this._telling(title, () => this._form(args['isPalette'] === true));
    }
    // The options are what the server makes of them, whatever they are.
    return this._telling(title, () =>
      this._api.attachPool({ name, kind, options: options ?? {} } as AttachRequest)
    );
  }

  /** Ask the pool itself; what it answered. */
  check(args: ReadonlyPartialJSONObject): Promise<PoolItem | null> {
    return this._telling(this._trans.__('The pool was not checked'), async () => {
      const name = await this._name(args, this._trans.__('Check a pool'));
      return name === null ? null : this._api.checkPool(name);
    });
  }

  /** Fill in the form of the pool's price; what was said by it. */
  price(args: ReadonlyPartialJSONObject): Promise<PriceItem | null> {
    return this._telling(this._trans.__('The price was not set'), async () => {
      const name = await this._name(args, this._trans.__('Set the price of a pool'));
      const pool = name === null ? null : await this._find(name);
      if (pool === null) {
        return null;
      }
      const [{ PriceDraft }, { showPriceForm }] = await Promise.all([
        import('../models/pricedraft'),
        import('../components/priceform')
      ]);
      return showPriceForm(new PriceDraft({ api: this._api, pool }), this._trans);
    });
  }

  /** Detach the pool, after a question where jobs on it are not over; the pool, if detached. */
  detach(args: ReadonlyPartialJSONObject): Promise<PoolItem | null> {
    return this._telling(this._trans.__('The pool was not detached'), async () => {
      const name = await this._name(args, this._trans.__('Detach a pool'));
      const pool = name === null ? null : await this._find(name);
      if (pool === null || !(await this._letGo(pool))) {
        return null;
      }
      this._offerUndo(pool);
      return pool;
    });
  }

  /** The form, in a dialog. What went wrong is shown there as long as it is open. */
  private async _form(isPalette: boolean): Promise<PoolItem | null> {
    const [kinds, { AttachDraft }, { showAttachForm }] = await Promise.all([
      this._api.kinds(),
      import('../models/attach'),
      import('../components/attachform')
    ]);
    const pool = await showAttachForm(new AttachDraft(this._api, kinds), this._trans);
    const { commands } = this._app;
    if (pool && isPalette && commands.hasCommand(CommandIDs.showPanel)) {
      // The panel opens the new pool; whoever came from the palette may not have it in sight.
      await commands.execute(CommandIDs.showPanel);
    }
    return pool;
  }

  /** The pool meant; `null` when the question for it was closed. */
  private async _name(args: ReadonlyPartialJSONObject, title: string): Promise<string | null> {
    if (typeof args['name'] === 'string') {
      return args['name'];
    }
    if (args['fromMenu'] === true) {
      const row = this._app.contextMenuHitTest(node => node.matches(ROW_SELECTOR));
      return row?.dataset['pool'] ?? null;
    }
    const names = (await this._api.pools()).map(pool => pool.name);
    if (names.length === 0) {
      Notification.info(this._trans.__('No pool is attached.'), { autoClose: SHORT_MS });
      return null;
    }
    return (await InputDialog.getItem({ title, items: names })).value;
  }

  private async _find(name: string): Promise<PoolItem | null> {
    const found = (await this._api.pools()).find(pool => pool.name === name);
    if (found === undefined) {
      // Somebody else was quicker, and what was asked for is so.
      Notification.info(this._trans.__('The pool %1 is not attached.', name), {
        autoClose: SHORT_MS
      });
    }
    return found ?? null;
  }

  /** Detach the pool; whether that was done, or not wanted after all. */
  private async _letGo(pool: PoolItem): Promise<boolean> {
    let jobs = pool.active_jobs;
    if (jobs === 0) {
      try {
        await this._api.detachPool(pool.name);
        return true;
      } catch (error) {
        jobs = await this._jobsSince(pool.name);
        if (jobs === 0) {
          throw error;
        }
      }
    }
    if (!(await this._confirm(pool.name, jobs))) {
      return false;
    }
    await this._api.detachPool(pool.name, { force: true });
    return true;
  }

  /** How many jobs the pool has now: one may have begun since its count was taken. */
  private async _jobsSince(name: string): Promise<number> {
    const pools = await this._api.pools();
    return pools.find(pool => pool.name === name)?.active_jobs ?? 0;
  }

  private async _confirm(name: string, jobs: number): Promise<boolean> {
    const trans = this._trans;
    const { button } = await showDialog({
      title: trans.__('Detach %1?', name),
      body: trans._n(
        'A job on this pool is not over. It goes on, but is not watched until the pool is attached again under this name.',
        '%1 jobs on this pool are not over. They go on, but are not watched until the pool is attached again under this name.',
        jobs
      ),
      buttons: [Dialog.cancelButton(), Dialog.warnButton({ label: trans.__('Detach anyway') })],
      defaultButton: 0
    });
    return button.accept;
  }

  private _offerUndo(pool: PoolItem): void {
    const { name, kind, options } = pool;
    Notification.info(this._trans.__('Detached %1.', name), {
      autoClose: UNDO_MS,
      actions: [
        {
          label: this._trans.__('Attach again'),
          callback: () => {
            void this._app.commands.execute(CommandIDs.attachPool, { name, kind, options });
          }
        }
      ]
    });
  }

  private _telling<T>(title: string, work: () => Promise<T>): Promise<T | null> {
    return telling(title, this._trans, work);
  }

  private _app: JupyterFrontEnd;
  private _api: IAiInfraApi;
  private _trans: TranslationBundle;
}

const SHORT_MS = 5_000;
/** How long an undo is offered. */
const UNDO_MS = 15_000;

export default plugin;
