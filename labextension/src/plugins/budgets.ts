import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import {
  Dialog,
  ICommandPalette,
  InputDialog,
  Notification,
  showDialog
} from '@jupyterlab/apputils';
import { ITranslator, nullTranslator, type TranslationBundle } from '@jupyterlab/translation';
import type { ReadonlyJSONObject, ReadonlyPartialJSONObject } from '@lumino/coreutils';

import type { BudgetItem } from '../api/types';
import type { BudgetScope } from '../models/budgetdraft';
import { telling } from '../telling';
import { CommandIDs, IAiInfraApi, IAiInfraModels } from '../tokens';

/** The rows of the panel, as the context menu finds them. */
const BUDGETS = '.aiinfra-BudgetRow';
const POOLS = '.aiinfra-PoolRow';
const JOBS = '.aiinfra-JobRow';

const HOUR = 3600;
/** How long a removed budget can be had back; it acts until then. */
const UNDO_SECONDS = 8;
const SHORT_MS = 5_000;

const ID = {
  id: { type: 'string', description: 'The budget; asked for when left out' },
  fromMenu: { type: 'boolean', description: 'Take what the context menu is of' }
} as const;

/** Commands on budgets: in the palette, and in the menus of budgets, pools and jobs. */
const plugin: JupyterFrontEndPlugin<void> = {
  id: 'jupyter-aiinfra:budget-commands',
  description: 'Adds the commands that set, snooze and remove budgets.',
  autoStart: true,
  requires: [IAiInfraApi, IAiInfraModels],
  optional: [ITranslator, ICommandPalette],
  activate: (
    app: JupyterFrontEnd,
    api: IAiInfraApi,
    models: IAiInfraModels,
    translator: ITranslator | null,
    palette: ICommandPalette | null
  ): void => {
    const trans = (translator ?? nullTranslator).load('jupyter_aiinfra');
    addCommands(app, new BudgetVerbs({ app, api, models, trans }), trans);
    const { setBudget, snoozeBudget, stopBudget, removeBudget } = CommandIDs;
    const category = trans.__('AI Infra');
    for (const command of [setBudget, snoozeBudget, stopBudget, removeBudget]) {
      palette?.addItem({ command, category, args: { isPalette: true } });
    }
    const inMenu: [string, ReadonlyJSONObject][] = [
      [setBudget, { isChange: true }],
      [snoozeBudget, { seconds: HOUR }],
      [snoozeBudget, { seconds: null }],
      [stopBudget, {}],
      [removeBudget, {}]
    ];
    for (const [rank, [command, args]] of inMenu.entries()) {
      const item = { command, selector: BUDGETS, rank, args: { ...args, fromMenu: true } };
      app.contextMenu.addItem(item);
    }
    for (const selector of [POOLS, JOBS]) {
      const item = { command: setBudget, selector, rank: LAST, args: { fromMenu: true } };
      app.contextMenu.addItem(item);
    }
  }
};

/** Behind what one does more often. */
const LAST = 20;

function addCommands(app: JupyterFrontEnd, verbs: BudgetVerbs, trans: TranslationBundle): void {
  const { commands } = app;
  const label =
    (short: string, long: string) =>
    (args: ReadonlyPartialJSONObject): string =>
      args['isPalette'] ? long : short;
  const describe = (properties: ReadonlyJSONObject): { args: ReadonlyJSONObject } => ({
    args: { type: 'object', properties }
  });

  commands.addCommand(CommandIDs.setBudget, {
    label: args =>
      args['isChange']
        ? trans.__('Change…')
        : label(trans.__('Set a Budget…'), trans.__('AI Infra: Set a Budget…'))(args),
    caption: trans.__('Say how much may be spent, and what is done once it is'),
    describedBy: describe({
      ...ID,
      scope: { type: 'string', description: 'Whose cost counts: pool, user, job, all and so on' },
      subject: { type: 'string', description: 'Which one' }
    }),
    execute: args => verbs.set(args)
  });
  commands.addCommand(CommandIDs.snoozeBudget, {
    label: args =>
      args['seconds'] === null
        ? trans.__('Wake Up')
        : label(trans.__('Snooze for an Hour'), trans.__('AI Infra: Snooze a Budget…'))(args),
    caption: trans.__('Have the budget do nothing for a while'),
    isVisible: args => verbs.canSnooze(args),
    describedBy: describe({
      ...ID,
      seconds: { type: ['number', 'null'], description: 'An hour when left out; null wakes it up' }
    }),
    execute: args => verbs.snooze(args)
  });
  commands.addCommand(CommandIDs.stopBudget, {
    label: label(trans.__('Stop Its Jobs…'), trans.__('AI Infra: Stop the Jobs of a Budget…')),
    caption: trans.__('Stop the jobs that the budget counts, with time to save'),
    describedBy: describe(ID),
    execute: args => verbs.stop(args)
  });
  commands.addCommand(CommandIDs.removeBudget, {
    label: label(trans.__('Remove'), trans.__('AI Infra: Remove a Budget…')),
    caption: trans.__('Forget the budget'),
    describedBy: describe(ID),
    execute: args => verbs.remove(args)
  });
  commands.addCommand(CommandIDs.leaveIdle, {
    label: trans.__('Leave the Job Alone'),
    caption: trans.__('Never stop the job for idle GPUs, and say no more of them'),
    describedBy: describe({ id: { type: 'string', description: 'The job' } }),
    execute: args => verbs.leaveIdle(args)
  });
}

interface IVerbOptions {
  app: JupyterFrontEnd;
  api: IAiInfraApi;
  models: IAiInfraModels;
  trans: TranslationBundle;
}

/** What the commands do. A refusal is told in a dialog, and the answer is then `null`. */
class BudgetVerbs {
  constructor(options: IVerbOptions) {
    this._app = options.app;
    this._api = options.api;
    this._models = options.models;
    this._trans = options.trans;
  }

  /** Fill in the form, for a new budget or the one that is named; what was set by it. */
  set(args: ReadonlyPartialJSONObject): Promise<BudgetItem | null> {
    const models = this._models;
    return this._telling(this._trans.__('The budget was not set'), async () => {
      const id = args['isChange'] ? await this._id(args, '') : args['id'];
      const [old, pools, { BudgetDraft }, { showBudgetForm }] = await Promise.all([
        typeof id === 'string' ? this._item(id) : null,
        models.pools.pools ?? this._api.pools(),
        import('../models/budgetdraft'),
        import('../components/budgetform')
      ]);
      const draft = new BudgetDraft({
        set: request => models.budgets.set(request),
        given: this._given(args),
        old,
        jobs: models.jobs.jobs,
        pools
      });
      return showBudgetForm(draft, this._trans);
    });
  }

  /** Of a menu only what there is to do: a budget that rests is not put to rest. */
  canSnooze(args: ReadonlyPartialJSONObject): boolean {
    const id = args['fromMenu'] === true ? this._inMenu(BUDGETS, 'budget') : null;
    const budget = id === null ? undefined : this._models.budgets.find(id);
    return budget === undefined || budget.snoozed === (args['seconds'] === null);
  }

  /** Have a budget do nothing for a while, or wake it up; the budget. */
  snooze(args: ReadonlyPartialJSONObject): Promise<BudgetItem | null> {
    const trans = this._trans;
    const given = args['seconds'];
    const seconds = given === null ? null : typeof given === 'number' ? given : HOUR;
    const title =
      seconds === null ? trans.__('The budget still rests') : trans.__('The budget does not rest');
    return this._telling(title, async () => {
      const id = await this._id(args, trans.__('Snooze a budget for an hour'));
      return id === null ? null : this._models.budgets.snooze(id, seconds);
    });
  }

  /** Stop the jobs that a budget counts, after a question; the ids of those that were. */
  stop(args: ReadonlyPartialJSONObject): Promise<string[] | null> {
    const trans = this._trans;
    return this._telling(trans.__('The jobs were not stopped'), async () => {
      const id = await this._id(args, trans.__('Stop the jobs of a budget'));
      const budget = id === null ? null : await this._item(id);
      if (budget === null) {
        return null;
      }
      if (budget.jobs.length === 0) {
        Notification.info(trans.__('No job runs that this budget counts.'), {
          autoClose: SHORT_MS
        });
        return [];
      }
      return (await this._confirm(budget)) ? this._models.budgets.stop(budget.id) : null;
    });
  }

  /** Hide a budget, and forget it when nobody has taken that back in time; returns at once. */
  async remove(args: ReadonlyPartialJSONObject): Promise<void> {
    const trans = this._trans;
    const title = trans.__('The budget was not removed');
    const budget = await this._telling(title, async () => {
      const id = await this._id(args, trans.__('Remove a budget'));
      return id === null ? null : this._item(id);
    });
    if (budget === null) {
      return;
    }
    const removal = this._models.budgets.remove(budget.id, UNDO_SECONDS);
    // It goes when the time does, not when the toast's own clock says so.
    const toast = Notification.info(trans.__('Removed the budget of %1.', budget.name), {
      autoClose: false,
      actions: [{ label: trans.__('Undo'), callback: () => void removal.undo() }]
    });
    void this._telling(title, () => removal.done.finally(() => Notification.dismiss(toast)));
  }

  /** Never look at the GPUs of a job again. */
  leaveIdle(args: ReadonlyPartialJSONObject): Promise<boolean | null> {
    const trans = this._trans;
    const id = args['id'];
    return this._telling(trans.__('The job is not left alone'), async () => {
      if (typeof id !== 'string') {
        return null;
      }
      await this._api.setIdle(id, { stop_seconds: null, warn_seconds: null, watch: false });
      const name = this._models.jobs.find(id)?.name ?? id;
      Notification.info(trans.__('“%1” is left alone, also while its GPUs are idle.', name), {
        autoClose: SHORT_MS
      });
      return true;
    });
  }

  /** What is known of a budget that is to be set. */
  private _given(args: ReadonlyPartialJSONObject): { scope?: BudgetScope; subject?: string } {
    const { scope, subject } = args;
    if (typeof scope === 'string') {
      // Another word than one of the scopes is refused by the server.
      const text = typeof subject === 'string' ? subject : '';
      return { scope: scope as BudgetScope, subject: text };
    }
    const pool = args['fromMenu'] === true ? this._inMenu(POOLS, 'pool') : null;
    if (pool !== null) {
      return { scope: 'pool', subject: pool };
    }
    const job = args['fromMenu'] === true ? this._inMenu(JOBS, 'job') : null;
    return job === null ? {} : { scope: 'job', subject: job };
  }

  /** The budget meant; `null` when the question for it was closed. */
  private async _id(args: ReadonlyPartialJSONObject, title: string): Promise<string | null> {
    if (typeof args['id'] === 'string') {
      return args['id'];
    }
    if (args['fromMenu'] === true) {
      return this._inMenu(BUDGETS, 'budget');
    }
    const budgets = await this._api.budgets();
    if (budgets.length === 0) {
      Notification.info(this._trans.__('There is no budget.'), { autoClose: SHORT_MS });
      return null;
    }
    const items = budgets.map(({ name }) => name);
    const { value } = await InputDialog.getItem({ title, items });
    return budgets.find(({ name }) => name === value)?.id ?? null;
  }

  private _inMenu(selector: string, field: string): string | null {
    const row = this._app.contextMenuHitTest(node => node.matches(selector));
    return row?.dataset[field] ?? null;
  }

  private async _item(id: string): Promise<BudgetItem> {
    return this._models.budgets.find(id) ?? (await this._api.budget(id)).item;
  }

  private async _confirm({ name, jobs }: BudgetItem): Promise<boolean> {
    const trans = this._trans;
    const names = jobs.map(id => trans.__('“%1”', this._models.jobs.find(id)?.name ?? id));
    const { button } = await showDialog({
      title: trans._n('Stop 1 job?', 'Stop %1 jobs?', jobs.length),
      body: trans._n(
        'The budget of %2 counts %3. It is given time to save.',
        'The budget of %2 counts %3. They are given time to save.',
        jobs.length,
        name,
        names.join(', ')
      ),
      buttons: [
        Dialog.cancelButton(),
        Dialog.warnButton({ label: trans._n('Stop it', 'Stop them', jobs.length) })
      ],
      defaultButton: 0
    });
    return button.accept;
  }

  private _telling<T>(title: string, work: () => Promise<T>): Promise<T | null> {
    return telling(title, this._trans, work);
  }

  private _app: JupyterFrontEnd;
  private _api: IAiInfraApi;
  private _models: IAiInfraModels;
  private _trans: TranslationBundle;
}

export default plugin;
