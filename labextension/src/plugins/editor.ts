import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { EditorExtensionRegistry, IEditorExtensionRegistry } from '@jupyterlab/codemirror';
import {
  ICompletionProviderManager,
  type CompletionHandler,
  type ICompletionContext,
  type ICompletionProvider
} from '@jupyterlab/completer';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import type { LineCompleter } from '../editor/completion';
// Every editor has it from its beginning, and it is small.
// eslint-disable-next-line jupyter/prefer-lazy-imports
import { LaunchCells } from '../editor/launchcells';
import {
  IAiInfraApi,
  IAiInfraModels,
  IAiInfraSettings,
  ILaunchCells,
  type ILaunchCell
} from '../tokens';

/** In which line there may be something of ours to complete. */
const OURS = /^\s*(%{1,2}\w*$|%{1,2}(accelerate|pool|jobs|load_ext)\s)/;

/** Above the kernel's (550), so that ours, which are documented, win where both offer the same. */
const RANK = 600;

/** Knows the launch cells, underlines what is wrong in their first line, and completes it. */
const plugin: JupyterFrontEndPlugin<ILaunchCells> = {
  id: 'jupyter-aiinfra:editor',
  description: 'Checks and completes the lines of the AI Infra magics.',
  autoStart: true,
  provides: ILaunchCells,
  requires: [IAiInfraApi, IAiInfraModels, IAiInfraSettings, IEditorExtensionRegistry],
  optional: [ICompletionProviderManager, ITranslator],
  activate: (
    _app: JupyterFrontEnd,
    api: IAiInfraApi,
    models: IAiInfraModels,
    settings: IAiInfraSettings,
    editors: IEditorExtensionRegistry,
    completion: ICompletionProviderManager | null,
    translator: ITranslator | null
  ): ILaunchCells => {
    const cells = new LaunchCells(api, models);
    editors.addExtension({
      name: 'jupyter-aiinfra:launch-cells',
      // Cells of notebooks and consoles are edited inline; a file is never a launch cell.
      factory: ({ inline, model }) =>
        inline ? EditorExtensionRegistry.createImmutableExtension(cells.extension(model)) : null
    });
    cells.opened.connect((_, cell) => void lint(cell, settings));
    settings.changed.connect(() => cells.cells.forEach(cell => void lint(cell, settings)));

    const trans = (translator ?? nullTranslator).load('jupyter_aiinfra');
    let completer: Promise<LineCompleter> | null = null;
    completion?.registerProvider(
      new Provider(() => {
        completer ??= import('../editor/completion').then(
          loaded => new loaded.LineCompleter(api, models, trans)
        );
        return completer;
      })
    );
    return cells;
  }
};

/** Draw what is wrong with the line of a cell from now on, or no longer. */
async function lint(cell: ILaunchCell, settings: IAiInfraSettings): Promise<void> {
  await settings.ready;
  if (!settings.get('lintLaunchLine')) {
    cell.draw([]);
    return;
  }
  const [{ lineLint }, check] = await Promise.all([import('../editor/lint'), cell.check()]);
  if (!cell.isClosed) {
    cell.draw(lineLint(check));
  }
}

class Provider implements ICompletionProvider {
  readonly identifier = 'CompletionProvider:aiinfra';
  readonly rank = RANK;

  constructor(private readonly _completer: () => Promise<LineCompleter>) {}

  isApplicable({ editor }: ICompletionContext): Promise<boolean> {
    const position = editor?.getCursorPosition();
    const line = position && editor?.getLine(position.line)?.slice(0, position.column);
    return Promise.resolve(line !== undefined && OURS.test(line));
  }

  async fetch(
    request: CompletionHandler.IRequest
  ): Promise<CompletionHandler.ICompletionItemsReply> {
    return (await this._completer()).complete(request);
  }
}

export default plugin;
