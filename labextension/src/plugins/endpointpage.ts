import {
  ILayoutRestorer,
  type JupyterFrontEnd,
  type JupyterFrontEndPlugin
} from '@jupyterlab/application';
import { ICommandPalette, WidgetTracker, type MainAreaWidget } from '@jupyterlab/apputils';
import { ILauncher } from '@jupyterlab/launcher';
import { ITranslator, nullTranslator, type TranslationBundle } from '@jupyterlab/translation';
import { closeIcon, launchIcon, undoIcon, type LabIcon } from '@jupyterlab/ui-components';
import type { ReadonlyJSONObject, ReadonlyPartialJSONObject } from '@lumino/coreutils';

import type { Endpoints } from '../endpointpage/open';
import type { EndpointPage } from '../endpointpage/page';
import type { EndpointVerbs } from '../endpointverbs';
import { endpointIcon } from '../icons';
import { CommandIDs, IAiInfraApi } from '../tokens';

type Page = MainAreaWidget<EndpointPage>;

interface IContext {
  app: JupyterFrontEnd;
  trans: TranslationBundle;
  /** All of endpoints, loaded with the first command. */
  load: () => Promise<Endpoints>;
}

/** The page of endpoints, which is there again after a reload, and the commands on one of them. */
const plugin: JupyterFrontEndPlugin<void> = {
  id: 'jupyter-aiinfra:endpointpage',
  description: 'Adds the page of endpoints: what is served, how it does, and how that changes.',
  autoStart: true,
  requires: [IAiInfraApi],
  optional: [ITranslator, ICommandPalette, ILauncher, ILayoutRestorer],
  activate: (
    app: JupyterFrontEnd,
    api: IAiInfraApi,
    translator: ITranslator | null,
    palette: ICommandPalette | null,
    launcher: ILauncher | null,
    restorer: ILayoutRestorer | null
  ): void => {
    const trans = (translator ?? nullTranslator).load('jupyter_aiinfra');
    let loaded: Promise<Endpoints> | null = null;
    const load = (): Promise<Endpoints> =>
      (loaded ??= import('../endpointpage/open').then(
        module => new module.Endpoints({ api, commands: app.commands, trans })
      ));
    const context = { app, trans, load };
    const tracker = new WidgetTracker<Page>({ namespace: 'aiinfra-endpoints' });
    const open = opener(context, tracker);
    addPageCommands(context, open);
    const onEndpoint = endpointCommands(trans);
    onEndpoint.forEach(command => addEndpointCommand(command, context));
    const category = trans.__('AI Infra');
    const { openEndpoints } = CommandIDs;
    for (const command of [openEndpoints, ...onEndpoint.map(({ id }) => id)]) {
      palette?.addItem({ command, category, args: { isPalette: true } });
    }
    launcher?.add({ command: openEndpoints, category, rank: 4, args: { isLauncher: true } });
    void restorer?.restore(tracker, {
      command: openEndpoints,
      args: ({ content }) => content.model.kept,
      name: () => 'endpoints'
    });
  }
};

type Open = (args: ReadonlyPartialJSONObject) => Promise<Page>;

function opener({ app, load }: IContext, tracker: WidgetTracker<Page>): Open {
  const make = async (): Promise<Page> => {
    const page = (await load()).createPage();
    page.content.model.viewChanged.connect(() => void tracker.save(page));
    await tracker.add(page);
    app.shell.add(page, 'main');
    return page;
  };
  let opening: Promise<Page> | null = null;
  return async args => {
    // Asked for twice at once, it is still one page.
    opening ??= Promise.resolve(tracker.find(() => true) ?? make());
    try {
      const page = await opening;
      (await load()).show(page, args);
      app.shell.activateById(page.id);
      return page;
    } finally {
      opening = null;
    }
  };
}

function addPageCommands({ app, trans, load }: IContext, open: Open): void {
  const text = { type: 'string' } as const;
  app.commands.addCommand(CommandIDs.openEndpoints, {
    label: args =>
      args['isPalette'] ? trans.__('AI Infra: Show Endpoints') : trans.__('Endpoints'),
    caption: trans.__('Show what is served, how it does, and change it'),
    icon: endpointIcon,
    describedBy: {
      args: {
        type: 'object',
        properties: {
          endpoint: { ...text, description: trans.__('The endpoint; all when left out') },
          tab: {
            ...text,
            description: trans.__('overview, try, samples, replicas, keys or history')
          }
        }
      }
    },
    execute: ({ isPalette: _isPalette, isLauncher: _isLauncher, cwd: _cwd, ...args }) => open(args)
  });
  app.commands.addCommand(CommandIDs.openEndpoint, {
    label: trans.__('Open Endpoint'),
    caption: trans.__('Show an endpoint: its versions, traffic and speed; try it'),
    describedBy: argsOf(trans),
    execute: async args => {
      const id = await idOf(args, trans.__('Open an endpoint'), load);
      return id === null ? null : open({ endpoint: id });
    }
  });
}

interface IEndpointCommand {
  id: string;
  label: string;
  palette: string;
  caption: string;
  icon?: LabIcon;
  execute: (verbs: EndpointVerbs, id: string, args: ReadonlyPartialJSONObject) => unknown;
}

function endpointCommands(trans: TranslationBundle): IEndpointCommand[] {
  return [
    {
      id: CommandIDs.rollbackEndpoint,
      label: trans.__('Roll Back'),
      palette: trans.__('AI Infra: Roll an Endpoint Back…'),
      caption: trans.__('End what is tried out, or serve the version before once more'),
      icon: undoIcon,
      execute: (verbs, id, { to }) => verbs.rollback(id, typeof to === 'number' ? to : undefined)
    },
    {
      id: CommandIDs.promoteEndpoint,
      label: trans.__('Promote'),
      palette: trans.__('AI Infra: Promote a Version of an Endpoint…'),
      caption: trans.__('Give all requests to the version that is tried out'),
      icon: launchIcon,
      execute: (verbs, id) => verbs.promote(id)
    },
    {
      id: CommandIDs.scaleEndpoint,
      label: trans.__('Scale…'),
      palette: trans.__('AI Infra: Scale an Endpoint…'),
      caption: trans.__('Say how many replicas there are'),
      execute: (verbs, id, { least, most }) =>
        verbs.scale(id, {
          ...(typeof least === 'number' && { least }),
          ...(typeof most === 'number' && { most })
        })
    },
    {
      id: CommandIDs.removeEndpoint,
      label: trans.__('Remove'),
      palette: trans.__('AI Infra: Remove an Endpoint…'),
      caption: trans.__('Serve it no more'),
      icon: closeIcon,
      execute: (verbs, id) => verbs.remove(id)
    }
  ];
}

/** A command on the endpoint that is given, or that is asked for. */
function addEndpointCommand(command: IEndpointCommand, { app, trans, load }: IContext): void {
  app.commands.addCommand(command.id, {
    label: args => (args['isPalette'] ? command.palette : command.label),
    caption: command.caption,
    icon: args => (args['isPalette'] ? undefined : command.icon),
    describedBy: argsOf(trans),
    execute: async args => {
      const id = await idOf(args, command.palette.replace(/^.*?: /, ''), load);
      return id === null ? null : command.execute((await load()).verbs, id, args);
    }
  });
}

async function idOf(
  args: ReadonlyPartialJSONObject,
  title: string,
  load: () => Promise<Endpoints>
): Promise<string | null> {
  return typeof args['id'] === 'string' ? args['id'] : (await load()).verbs.choose(title);
}

function argsOf(trans: TranslationBundle): { args: ReadonlyJSONObject } {
  const description = trans.__('The endpoint; asked for when left out');
  return { args: { type: 'object', properties: { id: { type: 'string', description } } } };
}

export default plugin;
