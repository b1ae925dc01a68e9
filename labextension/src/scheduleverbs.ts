/** What the commands on schedules and their runs do. */

import { InputDialog, Notification } from '@jupyterlab/apputils';
import type { KernelSpec } from '@jupyterlab/services';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { CommandRegistry } from '@lumino/commands';

import type { RunItem, ScheduleItem } from './api/types';
import { showScheduleForm } from './components/scheduleform';
import { ScheduleDraft } from './models/scheduledraft';
import { nameOf } from './models/scheduletexts';
import { telling } from './telling';
import { CommandIDs, type IAiInfraApi, type IAiInfraModels, type IRemoval } from './tokens';

/** How long what is removed can be had back. */
const UNDO_SECONDS = 8;
const SHORT_MS = 5_000;

export interface IScheduleVerbsOptions {
  api: IAiInfraApi;
  models: IAiInfraModels;
  commands: CommandRegistry;
  /** The kernels of this server, where they are known. */
  kernels: () => KernelSpec.ISpecModels | null;
  trans: TranslationBundle;
}

/** A refusal is told in a dialog, and the answer is then `null`. */
export class ScheduleVerbs {
  constructor(options: IScheduleVerbsOptions) {
    this._api = options.api;
    this._models = options.models;
    this._commands = options.commands;
    this._kernels = options.kernels;
    this._trans = options.trans;
  }

  /** Fill in the form for a notebook; the schedule that was made by it. */
  add(path: string): Promise<ScheduleItem | null> {
    return this._telling(this._trans.__('The notebook was not scheduled'), async () => {
      const draft = await this._draft({ path });
      const made = await showScheduleForm(draft, this._trans);
      if (made !== null) {
        this._say(this._trans.__('“%1” is scheduled.', made.name), {
          [this._trans.__('Show')]: [CommandIDs.openSchedules, { schedule: made.id }]
        });
        await this._runIf(draft, made);
      }
      return made;
    });
  }

  /** Fill in the form for a schedule that there is; it as it is by that. */
  edit(id: string): Promise<ScheduleItem | null> {
    return this._telling(this._trans.__('The schedule was not changed'), async () => {
      const draft = await this._draft({ old: (await this._api.schedule(id)).item });
      const changed = await showScheduleForm(draft, this._trans);
      if (changed !== null) {
        await this._runIf(draft, changed);
      }
      return changed;
    });
  }

  /** Make another schedule of what one runs, under a name that is asked for. */
  duplicate(id: string): Promise<ScheduleItem | null> {
    const trans = this._trans;
    return this._telling(trans.__('The schedule was not duplicated'), async () => {
      const [{ item }, all] = await Promise.all([this._api.schedule(id), this._all()]);
      const { value } = await InputDialog.getText({
        title: trans.__('Duplicate “%1”', item.name),
        label: trans.__('Name of the copy'),
        text: nameOf(item.name, all),
        okLabel: trans.__('Duplicate')
      });
      if (!value?.trim()) {
        return null;
      }
      const made = await this._models.schedules.duplicate(id, value.trim());
      this._say(trans.__('“%1” was made as a copy.', made.name), {
        [trans.__('Change…')]: [CommandIDs.editSchedule, { id: made.id }]
      });
      return made;
    });
  }

  pause(id: string): Promise<ScheduleItem | null> {
    const title = this._trans.__('The schedule was not paused');
    return this._telling(title, () => this._models.schedules.pause(id));
  }

  resume(id: string): Promise<ScheduleItem | null> {
    const title = this._trans.__('The schedule is still paused');
    return this._telling(title, () => this._models.schedules.resume(id));
  }

  /** Ask for a run beside the slots. */
  run(id: string): Promise<RunItem | null> {
    return this._telling(this._trans.__('It was not run'), async () => {
      const run = await this._models.schedules.run(id);
      this._models.runs.take([run]);
      this._say(this._trans.__('“%1” is run now.', run.schedule_name), this._open(run));
      return run;
    });
  }

  /** Hide a schedule, and remove it when nobody has taken that back in time; returns at once. */
  remove(id: string): void {
    const { schedules } = this._models;
    const name = schedules.find(id)?.name ?? id;
    this._removing(
      schedules.remove(id, UNDO_SECONDS),
      this._trans.__('“%1” was removed. It runs no more.', name),
      this._trans.__('The schedule was not removed')
    );
  }

  cancelRun(id: string): Promise<RunItem | null> {
    const title = this._trans.__('The run was not cancelled');
    return this._telling(title, () => this._models.runs.cancel(id));
  }

  rerunRun(id: string): Promise<RunItem | null> {
    return this._telling(this._trans.__('It was not run again'), async () => {
      const run = await this._models.runs.rerun(id);
      this._say(this._trans.__('“%1” is run again.', run.schedule_name), this._open(run));
      return run;
    });
  }

  removeRun(id: string): void {
    const { runs } = this._models;
    const name = runs.find(id)?.schedule_name ?? id;
    this._removing(
      runs.remove(id, UNDO_SECONDS),
      this._trans.__('A run of “%1” was deleted from the record.', name),
      this._trans.__('The run was not deleted')
    );
  }

  /** The schedule that is meant; `null` where the question for it was closed. */
  async choose(title: string): Promise<string | null> {
    const trans = this._trans;
    return this._telling(title, async () => {
      const all = await this._all();
      if (all.length === 0) {
        Notification.info(trans.__('There is no schedule.'), { autoClose: SHORT_MS });
        return null;
      }
      const { value } = await InputDialog.getItem({ title, items: all.map(({ name }) => name) });
      return all.find(({ name }) => name === value)?.id ?? null;
    });
  }

  private async _draft(given: { path?: string; old?: ScheduleItem }): Promise<ScheduleDraft> {
    const { schedules } = this._models;
    const [pools, all] = await Promise.all([
      this._models.pools.pools ?? this._api.pools(),
      this._all()
    ]);
    const { old } = given;
    const specs = Object.values(this._kernels()?.kernelspecs ?? {});
    return new ScheduleDraft({
      ...given,
      pools,
      schedules: all,
      kernels: specs.flatMap(spec =>
        spec ? [{ value: spec.name, label: spec.display_name }] : []
      ),
      send: request =>
        old === undefined ? schedules.add(request) : schedules.edit(old.id, request),
      preview: (request, signal) =>
        this._api.previewSchedule(request, { signal, ...(old && { schedule: old.id }) })
    });
  }

  private async _all(): Promise<readonly ScheduleItem[]> {
    return this._models.schedules.schedules ?? (await this._api.schedules());
  }

  private async _runIf(draft: ScheduleDraft, { id }: ScheduleItem): Promise<void> {
    if (draft.has('runNow')) {
      await this.run(id);
    }
  }

  private _open({ id }: RunItem): Readonly<Record<string, [string, { id: string }]>> {
    return { [this._trans.__('Open')]: [CommandIDs.openRun, { id }] };
  }

  /** Say it, with a button for each command that there is. */
  private _say(
    message: string,
    buttons: Readonly<Record<string, [string, Record<string, string>]>>
  ): void {
    const known = Object.entries(buttons).filter(([, [id]]) => this._commands.hasCommand(id));
    Notification.success(message, {
      autoClose: SHORT_MS,
      actions: known.map(([label, [id, args]]) => ({
        label,
        callback: () => void this._commands.execute(id, args)
      }))
    });
  }

  private _removing(removal: IRemoval, message: string, title: string): void {
    // It goes when the time does, not when the toast's own clock says so.
    const toast = Notification.info(message, {
      autoClose: false,
      actions: [{ label: this._trans.__('Undo'), callback: () => void removal.undo() }]
    });
    void this._telling(title, () => removal.done.finally(() => Notification.dismiss(toast)));
  }

  private _telling<T>(title: string, work: () => Promise<T>): Promise<T | null> {
    return telling(title, this._trans, work);
  }

  private _api: IAiInfraApi;
  private _models: IAiInfraModels;
  private _commands: CommandRegistry;
  private _kernels: () => KernelSpec.ISpecModels | null;
  private _trans: TranslationBundle;
}
