import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { IStatusBar } from '@jupyterlab/statusbar';
import { ITranslator, nullTranslator, type TranslationBundle } from '@jupyterlab/translation';
import type { IDisposable } from '@lumino/disposable';
import { Signal } from '@lumino/signaling';
import { Widget } from '@lumino/widgets';

import { CommandIDs, IAiInfraModels, IAiInfraSettings, IAiInfraStream } from '../tokens';

/** How many jobs go on, in the status bar; a click shows the panel. */
const plugin: JupyterFrontEndPlugin<void> = {
  id: 'jupyter-aiinfra:statusbar',
  description: 'Adds the number of running jobs to the status bar.',
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
    const follow = (): void => {
      if (isWanted()) {
        watching ??= models.jobs.watch();
      } else {
        watching?.dispose();
        watching = null;
      }
      toggled.emit();
    };
    statusBar.registerStatusItem(plugin.id, {
      item,
      align: 'left',
      rank: 100,
      isActive: isWanted,
      activeStateChanged: toggled
    });
    // Nothing of JupyterLab's start waits for us.
    void Promise.all([app.restored, settings?.ready]).then(() => {
      follow();
      settings?.changed.connect(follow);
    });
  }
};

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

class StatusItem extends Widget {
  constructor({ onClick, caption }: { onClick: () => void; caption: string }) {
    super({ node: document.createElement('button') });
    this.addClass('aiinfra-StatusItem');
    this.node.title = caption;
    this.node.addEventListener('click', onClick);
  }

  draw(text: string): void {
    if (this.node.textContent !== text) {
      this.node.textContent = text;
    }
  }
}

export default plugin;
