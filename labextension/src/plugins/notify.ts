import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ICommandPalette, Notification as Toast } from '@jupyterlab/apputils';
import { ITranslator, nullTranslator, type TranslationBundle } from '@jupyterlab/translation';
import { bellIcon } from '@jupyterlab/ui-components';
import type { IDisposable } from '@lumino/disposable';

import type { JobItem } from '../api/types';
import type { NoticeTeller } from '../noticetoasts';
import type { RunTeller } from '../runtoasts';
import { CommandIDs, IAiInfraModels, IAiInfraSettings } from '../tokens';

/** A failure is worth reading to the end. */
const FAILURE_MILLISECONDS = 15_000;

/** Tells of jobs and runs that end, and of what budgets do, while the page looks on. */
const plugin: JupyterFrontEndPlugin<void> = {
  id: 'jupyter-aiinfra:notify',
  description: 'Tells when a job or a run ends, and what budgets do.',
  autoStart: true,
  requires: [IAiInfraModels, IAiInfraSettings],
  optional: [ITranslator, ICommandPalette],
  activate: (
    app: JupyterFrontEnd,
    models: IAiInfraModels,
    settings: IAiInfraSettings,
    translator: ITranslator | null,
    palette: ICommandPalette | null
  ): void => {
    const trans = (translator ?? nullTranslator).load('jupyter_aiinfra');
    const open = (id: string): void => void app.commands.execute(CommandIDs.openJob, { id });
    models.jobs.ended.connect((_sender, job) => {
      if (isOfRun(job, models)) {
        return; // the run is told of, which may go on with another attempt
      }
      const text = endText(job, trans);
      if (settings.get('notifyWhenDone')) {
        toast(job, { text, open, trans });
      }
      if (isBrowserWanted(settings)) {
        notifyInBrowser({ text, tag: `aiinfra-${job.id}` }, () => open(job.id));
      }
    });
    const notices = new Notices({ app, models, settings, trans, open });
    const runs = new Runs({ app, models, settings, trans });
    const watching = new Watching(models, settings);
    addAllowCommand({ app, palette, trans, onAllowed: () => watching.settle() });
    void Promise.all([app.restored, settings.ready]).then(() => {
      watching.settle();
      settings.changed.connect(() => watching.settle());
      models.jobs.changed.connect(() => watching.settle());
      models.jobs.changed.connect(() => void notices.look());
      models.runs.changed.connect(() => void runs.look());
    });
  }
};

/** What budgets say of jobs. What tells of it loads once jobs are known. */
class Notices {
  constructor(private readonly _parts: INoticeParts) {}

  async look(): Promise<void> {
    const { jobs } = this._parts.models;
    if (jobs.active === null) {
      return;
    }
    this._teller ??= this._make();
    (await this._teller).look(jobs.jobs);
  }

  private async _make(): Promise<NoticeTeller> {
    const { app, models, settings, trans, open } = this._parts;
    const before = models.jobs.jobs;
    const { NoticeTeller } = await import('../noticetoasts');
    const options = {
      commands: app.commands,
      budgets: models.budgets,
      trans,
      isWanted: () => settings.get('notifyOfBudgets'),
      onTold: (told: ITold & { job: string }): void => {
        if (settings.get('notifyOfBudgets') && isBrowserWanted(settings)) {
          notifyInBrowser(told, () => open(told.job));
        }
      }
    };
    return new NoticeTeller(options, before);
  }

  private _teller: Promise<NoticeTeller> | null = null;
}

/** Runs of schedules. What tells of them loads once there are any. */
class Runs {
  constructor(private readonly _parts: Omit<INoticeParts, 'open'>) {}

  async look(): Promise<void> {
    const { models } = this._parts;
    if (models.runs.runs !== null && (models.runs.runs.length > 0 || this._teller)) {
      this._teller ??= this._make();
      (await this._teller).look();
    }
  }

  private async _make(): Promise<RunTeller> {
    const { app, models, settings, trans } = this._parts;
    const before = models.runs.runs ?? [];
    const { RunTeller } = await import('../runtoasts');
    const open = (id: string): void => void app.commands.execute(CommandIDs.openRun, { id });
    const options = {
      runs: models.runs,
      trans,
      open,
      wanted: () => settings.get('notifyOfRuns'),
      onTold: (told: ITold & { run: string }): void => {
        if (isBrowserWanted(settings)) {
          notifyInBrowser(told, () => open(told.run));
        }
      }
    };
    return new RunTeller(options, before);
  }

  private _teller: Promise<RunTeller> | null = null;
}

/** Whether a job is an attempt of a run that this page knows. */
function isOfRun({ id, kind }: JobItem, { runs }: IAiInfraModels): boolean {
  return (
    kind === 'notebook' &&
    (runs.runs ?? []).some(({ job, jobs }) => job === id || jobs.includes(id))
  );
}

interface INoticeParts {
  app: JupyterFrontEnd;
  models: IAiInfraModels;
  settings: IAiInfraSettings;
  trans: TranslationBundle;
  open: (id: string) => void;
}

/** What the browser shows. */
interface ITold {
  text: string;
  /** Of all with one tag the browser shows one: two tabs do not tell it twice. */
  tag: string;
}

/**
 * Watches the jobs for as long as somebody wants to be told. A hidden page goes on only while
 * there are jobs whose end it could tell of through the browser.
 */
class Watching {
  constructor(models: IAiInfraModels, settings: IAiInfraSettings) {
    this._models = models;
    this._settings = settings;
  }

  settle(): void {
    const inBrowser = this._settings.get('notifyInBrowser') !== 'never' && isAllowed();
    const isTold = this._settings.get('notifyWhenDone') || this._settings.get('notifyOfBudgets');
    const wanted = inBrowser || isTold;
    const ofRuns = this._settings.get('notifyOfRuns') !== 'never';
    const whileHidden = inBrowser && (this._models.jobs.active ?? 0) > 0;
    const isOther = this._whileHidden !== whileHidden;
    if (isOther || wanted !== (this._watch !== null)) {
      const before = this._watch;
      this._watch = wanted ? this._models.jobs.watch({ whileHidden }) : null;
      before?.dispose();
    }
    if (isOther || ofRuns !== (this._watchRuns !== null)) {
      const before = this._watchRuns;
      this._watchRuns = ofRuns ? this._models.runs.watch({ whileHidden }) : null;
      before?.dispose();
    }
    this._whileHidden = whileHidden;
  }

  private _models: IAiInfraModels;
  private _settings: IAiInfraSettings;
  private _watch: IDisposable | null = null;
  private _watchRuns: IDisposable | null = null;
  private _whileHidden = false;
}

function addAllowCommand(options: {
  app: JupyterFrontEnd;
  palette: ICommandPalette | null;
  trans: TranslationBundle;
  onAllowed: () => void;
}): void {
  const { app, palette, trans, onAllowed } = options;
  app.commands.addCommand(CommandIDs.allowNotifications, {
    label: trans.__('AI Infra: Allow Browser Notifications'),
    caption: trans.__('Let the browser ask you whether it may tell you when a job ends'),
    icon: bellIcon,
    describedBy: { args: { type: 'object', properties: {} } },
    // Browsers ask once, and only upon a click or a key.
    isEnabled: () => 'Notification' in window && Notification.permission === 'default',
    execute: async () => {
      await Notification.requestPermission();
      app.commands.notifyCommandChanged(CommandIDs.allowNotifications);
      onAllowed();
    }
  });
  palette?.addItem({ command: CommandIDs.allowNotifications, category: trans.__('AI Infra') });
}

function isAllowed(): boolean {
  return 'Notification' in window && Notification.permission === 'granted';
}

function isBrowserWanted(settings: IAiInfraSettings): boolean {
  const when = settings.get('notifyInBrowser');
  return isAllowed() && (when === 'always' || (when === 'when hidden' && document.hidden));
}

function endText(job: JobItem, trans: TranslationBundle): string {
  const said = job.message ? `: ${job.message}` : '';
  switch (job.state) {
    case 'succeeded':
      return trans.__('“%1” has succeeded on %2', job.name, job.pool);
    case 'cancelled':
      return job.notice?.kind === 'stop'
        ? trans.__('“%1” was stopped on %2: %3', job.name, job.pool, job.notice.text)
        : trans.__('“%1” was cancelled on %2', job.name, job.pool);
    case 'lost':
      return trans.__('“%1” is lost on %2%3', job.name, job.pool, said);
    default:
      return trans.__('“%1” has failed on %2%3', job.name, job.pool, said);
  }
}

function toast(
  job: JobItem,
  options: { text: string; open: (id: string) => void; trans: TranslationBundle }
): void {
  const { text, open, trans } = options;
  const actions = [{ label: trans.__('Open'), callback: () => open(job.id) }];
  switch (job.state) {
    case 'succeeded':
      Toast.success(text, { actions, autoClose: 5000 });
      break;
    case 'cancelled':
      Toast.warning(text, { actions, autoClose: 5000 });
      break;
    default:
      Toast.error(text, { actions, autoClose: FAILURE_MILLISECONDS });
  }
}

function notifyInBrowser({ text, tag }: ITold, open: () => void): void {
  const shown = new Notification('AI Infra', { body: text, tag });
  shown.onclick = () => {
    window.focus();
    open();
    shown.close();
  };
}

export default plugin;
