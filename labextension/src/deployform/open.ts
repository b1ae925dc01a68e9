/** From a notebook to an endpoint; loaded with the first command that deploys. */

import { Notification } from '@jupyterlab/apputils';
import type { NotebookPanel } from '@jupyterlab/notebook';
import { PathExt } from '@jupyterlab/coreutils';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { CommandRegistry } from '@lumino/commands';

import type { EndpointItem } from '../api/types';
import { EndpointsModel } from '../models/endpoints';
import { telling } from '../telling';
import { CommandIDs, type IAiInfraApi, type IAiInfraModels } from '../tokens';
import { DeployDraft } from './draft';
import { showDeployForm } from './form';
import { NotebookKernel } from './kernel';
import { showProgress } from './progress';

const TAG = 'predict';
const SHORT_MS = 8_000;

export interface IDeployingOptions {
  api: IAiInfraApi;
  models: IAiInfraModels;
  commands: CommandRegistry;
  trans: TranslationBundle;
  /** The path of a notebook as the server has it. */
  localPath: (path: string) => string;
}

export class Deploying {
  constructor(private readonly _options: IDeployingOptions) {}

  /**
   * Fill in the form for a notebook, and deploy what it says; `endpoint` is the name of the one
   * that is to have another version. What is deployed, or `null`.
   */
  deploy(panel: NotebookPanel, endpoint: string | null): Promise<EndpointItem | null> {
    const { api, trans } = this._options;
    return telling(trans.__('It was not deployed'), trans, async () => {
      const [endpoints] = await Promise.all([api.endpoints(), this._poolsKnown()]);
      const draft = this._draft(panel, endpoint, endpoints);
      const title =
        endpoint === null
          ? trans.__('Deploy an endpoint')
          : trans.__('New version of “%1”', endpoint);
      const done = await showDeployForm(draft, title, trans);
      if (done === 'insert') {
        await insertCell(panel, draft.line, trans);
        return null;
      }
      if (done === null) {
        return null;
      }
      const model = new EndpointsModel({ api });
      if (await showProgress({ deployed: done, endpoints: model, trans })) {
        const args = { endpoint: done.item.id, tab: 'overview' };
        await this._options.commands.execute(CommandIDs.openEndpoints, args);
      }
      return done.item;
    });
  }

  private _draft(
    panel: NotebookPanel,
    endpoint: string | null,
    endpoints: readonly EndpointItem[]
  ): DeployDraft {
    const { api, models, trans, localPath } = this._options;
    const { context, sessionContext } = panel;
    const kernel = new NotebookKernel(sessionContext, trans);
    return new DeployDraft({
      look: signal => kernel.look(signal),
      run: async (line, say, signal) => {
        // What is tagged is read from the disk, and the version of the notebook is recorded.
        if (context.model.dirty && !context.model.readOnly) {
          await context.save();
        }
        await kernel.run(line, say, signal);
      },
      find: async name => (await api.endpoints()).find(each => each.name === name) ?? null,
      addKey: async (id, name) => (await api.addEndpointKey(id, { name })).secret,
      // A kernel's folder is that of its notebook.
      notebook: PathExt.basename(localPath(context.path)),
      isTagged: hasTag(panel),
      endpoints,
      pools: models.pools.pools ?? [],
      endpoint
    });
  }

  /** The pools are told by the socket, which nobody may have asked yet. */
  private async _poolsKnown(): Promise<void> {
    const { pools } = this._options.models;
    const watching = pools.watch();
    try {
      await new Promise<void>(resolve => {
        const look = (): void => {
          if (pools.pools !== null || pools.problem !== null) {
            pools.changed.disconnect(look);
            resolve();
          }
        };
        pools.changed.connect(look);
        look();
      });
    } finally {
      watching.dispose();
    }
  }
}

function hasTag({ context }: NotebookPanel): boolean {
  return [...(context.model?.cells ?? [])].some(cell => {
    const tags: unknown = cell.getMetadata('tags');
    return cell.type === 'code' && Array.isArray(tags) && tags.includes(TAG);
  });
}

/** Put the line below the active cell, and run nothing. */
async function insertCell(
  panel: NotebookPanel,
  source: string,
  trans: TranslationBundle
): Promise<void> {
  const { context, content: notebook } = panel;
  if (context.model.readOnly) {
    const message = trans.__('%1 cannot be edited', panel.title.label);
    Notification.warning(message, { autoClose: SHORT_MS });
    return;
  }
  const index = notebook.activeCell === null ? 0 : notebook.activeCellIndex + 1;
  // With its text from the beginning: it is undone in one step, and a second editor sees it whole.
  context.model.sharedModel.insertCell(index, {
    cell_type: 'code',
    metadata: { trusted: true },
    source
  });
  notebook.activeCellIndex = index;
  notebook.deselectAll();
  await notebook.scrollToItem(index, 'smart');
}
