import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { IStatusBar } from '@jupyterlab/statusbar';
import { ITranslator, nullTranslator, type TranslationBundle } from '@jupyterlab/translation';
import { DisposableSet, type IDisposable } from '@lumino/disposable';
import { Signal } from '@lumino/signaling';
import { Widget } from '@lumino/widgets';

import type { CostSummary } from '../api/types';
import { warningIcon } from '../icons';
import type * as CostWords from '../models/costwords';
import type { GpuStatus } from '../models/gpustatus';
import type { gpuWords } from '../models/gpuwords';
import { CommandIDs, IAiInfraModels, IAiInfraSettings, IAiInfraStream } from '../tokens';

/** How many jobs go on, what the GPUs do, and what it costs; a click shows more of it. */
const plugin: JupyterFrontEndPlugin<void> = {
  id: 'jupyter-aiinfra:statusbar',
  description: 'Adds the number of running jobs, the use of GPUs and the cost to the status bar.',
  autoStart: true,
  requires: [IAiInfraModels, IAiInfraStream],
  optional: [IStatusBar, IAiInfraSettings, ITranslator],
  activate: (
    app: JupyterFrontEnd,
    models: IAiInfraModels,
    stream: IAiInfraStream,
    statusBar: IStatusBar | null,
    settings: IAiInfraSettings | null,
    translator: ITranslator | null
  ): void => {
    if (statusBar === null) {
      return;
    }
    const trans = (translator ?? nullTranslator).load('jupyter_aiinfra');
    const jobs = addJobs({ app, models, stream, statusBar, settings, trans });
    const gpus = addGpus({ app, models, stream, statusBar, settings, trans });
    const cost = addCost({ app, models, stream, statusBar, settings, trans });
    // Nothing of JupyterLab's start waits for us.
    void Promise.all([app.restored, settings?.ready]).then(() => {
      const follow = (): void => {
        jobs();
        gpus();
        cost();
      };
      follow();
      settings?.changed.connect(follow);
    });
  }
};

interface IParts {
  app: JupyterFrontEnd;
  models: IAiInfraModels;
  stream: IAiInfraStream;
  statusBar: IStatusBar;
  settings: IAiInfraSettings | null;
  trans: TranslationBundle;
}

/** Register the item of the jobs. What is returned brings it in line with the settings. */
function addJobs({ app, models, stream, statusBar, settings, trans }: IParts): () => void {
  const item = new StatusItem({
    onClick: () => void app.commands.execute(CommandIDs.showPanel),
    caption: trans.__('Show AI Infra: pools and jobs')
  });
  const draw = (): void =>
    item.draw(statusText(models.jobs.active, stream.state === 'lost', trans));
  models.jobs.changed.connect(draw);
  stream.stateChanged.connect(draw);
  draw();

  const isWanted = (): boolean => settings?.get('showStatusBar') ?? true;
  const toggled = new Signal<StatusItem, void>(item);
  let watching: IDisposable | null = null;
  statusBar.registerStatusItem(plugin.id, {
    item,
    align: 'left',
    rank: RANK,
    isActive: isWanted,
    activeStateChanged: toggled
  });
  return () => {
    if (isWanted()) {
      watching ??= models.jobs.watch();
    } else {
      watching?.dispose();
      watching = null;
    }
    toggled.emit();
  };
}

/** Register the item of the GPUs. What is returned brings it in line with the settings. */
function addGpus(parts: IParts): () => void {
  const { app, statusBar, settings } = parts;
  const item = new StatusItem({
    onClick: () => {
      const { openGpus, showPanel } = CommandIDs;
      void app.commands.execute(app.commands.hasCommand(openGpus) ? openGpus : showPanel);
    },
    caption: ''
  });
  item.addClass('aiinfra-StatusItem-gpus');
  const gpus = new GpuItem(item, parts);
  statusBar.registerStatusItem(`${plugin.id}-gpus`, {
    item,
    align: 'left',
    rank: RANK + 1,
    isActive: () => gpus.isShown,
    activeStateChanged: gpus.toggled
  });
  return () => void gpus.want(settings?.get('showGpusInStatusBar') ?? true);
}

/** The item of the GPUs, which is there while any are known. What it needs loads when wanted. */
class GpuItem {
  constructor(item: StatusItem, parts: IParts) {
    this._item = item;
    this._parts = parts;
    this.toggled = new Signal<StatusItem, void>(item);
  }

  readonly toggled: Signal<StatusItem, void>;

  get isShown(): boolean {
    return this._isShown;
  }

  async want(isWanted: boolean): Promise<void> {
    this._isWanted = isWanted;
    if (!isWanted) {
      this._status?.dispose();
      this._status = null;
      this._show(false);
      return;
    }
    const [{ GpuStatus }, { gpuWords }] = await Promise.all([
      import('../models/gpustatus'),
      import('../models/gpuwords')
    ]);
    // The settings may have changed meanwhile, or have been told of twice.
    if (this._isWanted && this._status === null) {
      this._words = gpuWords;
      this._status = new GpuStatus(this._parts);
      this._status.changed.connect(() => this._draw());
      this._draw();
    }
  }

  private _draw(): void {
    const { models, trans } = this._parts;
    const nameOf = (id: string): string => models.jobs.find(id)?.name ?? id;
    const words = this._status && this._words?.(this._status, nameOf, trans);
    if (words) {
      this._item.draw(words.text, words);
    }
    this._show(Boolean(words));
  }

  private _show(isShown: boolean): void {
    if (isShown !== this._isShown) {
      this._isShown = isShown;
      this.toggled.emit();
    }
  }

  private _item: StatusItem;
  private _parts: IParts;
  private _status: GpuStatus | null = null;
  private _words: typeof gpuWords | null = null;
  private _isWanted = false;
  private _isShown = false;
}

/** Register the item of the cost. What is returned brings it in line with the settings. */
function addCost(parts: IParts): () => void {
  const { app, statusBar, settings } = parts;
  const item = new StatusItem({
    onClick: () => {
      const { openCost, showPanel } = CommandIDs;
      void app.commands.execute(app.commands.hasCommand(openCost) ? openCost : showPanel);
    },
    caption: ''
  });
  item.addClass('aiinfra-StatusItem-cost');
  const cost = new CostItem(item, parts);
  statusBar.registerStatusItem(`${plugin.id}-cost`, {
    item,
    align: 'left',
    rank: RANK + 2,
    isActive: () => cost.isShown,
    activeStateChanged: cost.toggled
  });
  return () => void cost.want(settings?.get('showCostInStatusBar') ?? true);
}

/** The item of the cost, which is there while any is known, or a budget warns. */
class CostItem {
  constructor(item: StatusItem, parts: IParts) {
    this._item = item;
    this._parts = parts;
    this.toggled = new Signal<StatusItem, void>(item);
  }

  readonly toggled: Signal<StatusItem, void>;

  get isShown(): boolean {
    return this._isShown;
  }

  async want(isWanted: boolean): Promise<void> {
    const { spend, budgets } = this._parts.models;
    this._isWanted = isWanted;
    if (!isWanted) {
      this._watches?.dispose();
      this._watches = null;
      spend.changed.disconnect(this._draw);
      budgets.changed.disconnect(this._draw);
      this._show(false);
      return;
    }
    const words = await import('../models/costwords');
    // The settings may have changed meanwhile, or have been told of twice.
    if (this._isWanted && this._watches === null) {
      this._words = words;
      this._watches = DisposableSet.from([spend.watch(), budgets.watch()]);
      spend.changed.connect(this._draw);
      budgets.changed.connect(this._draw);
      this._draw();
    }
  }

  private _draw = (): void => {
    const { models, trans } = this._parts;
    const { now } = models.spend;
    if (now !== this._told) {
      this._told = now;
      this._toldAt = performance.now();
    }
    const age = (performance.now() - this._toldAt) / 1000;
    const spent = now && (this._words?.summaryAfter(now, age) ?? null);
    const words = this._words?.costWords(spent, models.budgets.budgets, trans) ?? null;
    if (words !== null) {
      this._item.draw(words.text, words);
    }
    this._show(words !== null);
  };

  private _show(isShown: boolean): void {
    if (isShown !== this._isShown) {
      this._isShown = isShown;
      this.toggled.emit();
    }
  }

  private _item: StatusItem;
  private _parts: IParts;
  private _watches: IDisposable | null = null;
  private _words: typeof CostWords | null = null;
  /** What was told last, and when: it grows from then on. */
  private _told: CostSummary | null = null;
  private _toldAt = 0;
  private _isWanted = false;
  private _isShown = false;
}

const RANK = 100;

/** The words of the item. What was last known is no news while the server is not reachable. */
export function statusText(
  active: number | null,
  isLost: boolean,
  trans: TranslationBundle
): string {
  if (isLost) {
    return trans.__('AI Infra: offline');
  }
  if (active === null) {
    return trans.__('AI Infra');
  }
  return active === 0
    ? trans.__('AI Infra: idle')
    : trans._n('AI Infra: %1 job', 'AI Infra: %1 jobs', active);
}

interface IMore {
  /** What is wrong, in a word or two; empty where nothing is. */
  warning: string;
  /** All there is to say, for whoever points at it. */
  caption: string;
}

class StatusItem extends Widget {
  constructor({ onClick, caption }: { onClick: () => void; caption: string }) {
    super({ node: document.createElement('button') });
    this.addClass('aiinfra-StatusItem');
    this.node.title = caption;
    this.node.addEventListener('click', onClick);
  }

  draw(
    text: string,
    { warning, caption }: IMore = { warning: '', caption: this.node.title }
  ): void {
    const drawn = JSON.stringify([text, warning]);
    if (drawn !== this._drawn) {
      this._drawn = drawn;
      this.node.replaceChildren(text);
      this.toggleClass('aiinfra-mod-warning', warning !== '');
      if (warning !== '') {
        const icon = document.createElement('span');
        icon.className = 'aiinfra-StatusItem-sign';
        icon.setAttribute('aria-hidden', 'true');
        this.node.append(icon, warning);
        warningIcon.element({ container: icon });
      }
    }
    if (this.node.title !== caption) {
      this.node.title = caption;
    }
  }

  private _drawn = '';
}

export default plugin;
