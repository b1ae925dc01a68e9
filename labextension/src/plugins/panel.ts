import {
  ILayoutRestorer,
  type JupyterFrontEnd,
  type JupyterFrontEndPlugin
} from '@jupyterlab/application';
import { ICommandPalette } from '@jupyterlab/apputils';
import { ITranslator, nullTranslator, type TranslationBundle } from '@jupyterlab/translation';
import { refreshIcon } from '@jupyterlab/ui-components';
import { PanelLayout, Widget } from '@lumino/widgets';

import { panelIcon } from '../icons';
import { CommandIDs, IAiInfraApi, IAiInfraModels, IAiInfraStream } from '../tokens';

export const PANEL_ID = 'aiinfra-panel';
const RANK = 600;

/** The sidebar. At start it is an icon; what is in it loads when it is first shown. */
const plugin: JupyterFrontEndPlugin<void> = {
  id: 'jupyter-aiinfra:panel',
  description: 'Adds the AI Infra sidebar with pools, jobs and budgets.',
  autoStart: true,
  requires: [IAiInfraApi, IAiInfraStream, IAiInfraModels],
  optional: [ITranslator, ICommandPalette, ILayoutRestorer],
  activate: (
    app: JupyterFrontEnd,
    api: IAiInfraApi,
    stream: IAiInfraStream,
    models: IAiInfraModels,
    translator: ITranslator | null,
    palette: ICommandPalette | null,
    restorer: ILayoutRestorer | null
  ): void => {
    const trans = (translator ?? nullTranslator).load('jupyter_aiinfra');
    const panel = new LazyPanel(async () => {
      const [{ createPanel }, { JobList }, { JobCosts }] = await Promise.all([
        import('../components/panel/panel'),
        import('../models/joblist'),
        import('../models/jobcosts')
      ]);
      const list = new JobList({ jobs: models.jobs, api });
      return createPanel({
        stream,
        models,
        api,
        list,
        costs: new JobCosts({ api }),
        commands: app.commands,
        translator: translator ?? nullTranslator
      });
    });
    panel.id = PANEL_ID;
    panel.title.icon = panelIcon;
    panel.title.caption = trans.__('AI Infra: pools and jobs');
    panel.node.setAttribute('role', 'region');
    panel.node.setAttribute('aria-label', trans.__('AI Infra'));
    app.shell.add(panel, 'left', { rank: RANK, type: 'AI Infra' });
    restorer?.add(panel, PANEL_ID);

    addCommands(app, stream, trans);
    const category = trans.__('AI Infra');
    palette?.addItem({ command: CommandIDs.showPanel, category });
    palette?.addItem({ command: CommandIDs.refresh, category });
  }
};

function addCommands(app: JupyterFrontEnd, stream: IAiInfraStream, trans: TranslationBundle): void {
  app.commands.addCommand(CommandIDs.showPanel, {
    label: trans.__('AI Infra: Show Pools and Jobs'),
    caption: trans.__('Show the AI Infra sidebar'),
    icon: panelIcon,
    describedBy: { args: { type: 'object', properties: {} } },
    execute: () => app.shell.activateById(PANEL_ID)
  });
  app.commands.addCommand(CommandIDs.refresh, {
    label: trans.__('AI Infra: Refresh Pools and Jobs'),
    caption: trans.__('Ask the server for pools and jobs again'),
    icon: refreshIcon,
    describedBy: { args: { type: 'object', properties: {} } },
    execute: () => stream.refresh()
  });
}

/** A widget whose content is made when it is first shown. */
class LazyPanel extends Widget {
  constructor(make: () => Promise<Widget>) {
    super();
    this._make = make;
    this.layout = new PanelLayout();
    this.addClass('aiinfra-Panel');
    this.node.tabIndex = -1;
  }

  protected override onBeforeShow(): void {
    void this._fill();
  }

  protected override onAfterAttach(): void {
    // Restored as the one in sight: it is shown without ever having been hidden.
    if (this.isVisible) {
      void this._fill();
    }
  }

  /** The next Tab leads into the panel. */
  protected override onActivateRequest(): void {
    this.node.focus();
  }

  private async _fill(): Promise<void> {
    if (this._isFilled) {
      return;
    }
    this._isFilled = true;
    try {
      (this.layout as PanelLayout).addWidget(await this._make());
    } catch (error) {
      this._isFilled = false; // the next time it is shown is the next try
      throw error;
    }
  }

  private _make: () => Promise<Widget>;
  private _isFilled = false;
}

export default plugin;
