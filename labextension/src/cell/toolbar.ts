/** What stands above a launch cell: its pool, a dry run, and what is wrong with its line. */

import type { TranslationBundle } from '@jupyterlab/translation';
import type { IDisposable } from '@lumino/disposable';
import { Widget } from '@lumino/widgets';

import type { LineWords, PoolItem } from '../api/types';
import { poolText } from '../editor/completion';
import { choosePool, launchLine, poolWord } from '../editor/launchline';
import { sentence } from '../editor/lint';
import type { ILaunchCell, ILineCheck, ILineProblem, IPoolsModel } from '../tokens';

export interface ICellToolbarOptions {
  cell: ILaunchCell;
  pools: IPoolsModel;
  /** What the server knows of options; needed to tell a pool from an option's value. */
  words: LineWords | null;
  /** `null` where the line is not to be checked. */
  check: ILineCheck | null;
  trans: TranslationBundle;
  /** Begin a dry run; answers why that cannot be, or nothing. */
  dryRun: () => Promise<string>;
}

export class CellToolbar extends Widget {
  constructor(options: ICellToolbarOptions) {
    super();
    this._options = options;
    const { cell, pools, check, trans } = options;
    this.addClass('aiinfra-celltoolbar');
    this.node.setAttribute('role', 'toolbar');
    this.node.setAttribute('aria-label', trans.__('AI Infra'));
    // Keys pressed in here are none of the notebook's shortcuts.
    this.node.setAttribute('data-lm-suppress-shortcuts', 'true');
    this._build();
    cell.model.sharedModel.changed.connect(this._onSource);
    pools.changed.connect(this._drawPools);
    check?.changed.connect(this._drawProblem);
    this._watching = pools.watch();
    this._drawPools();
    this._drawProblem();
  }

  /** Move the focus to the choice of the pool. */
  choosePool(): void {
    this._select.focus();
  }

  override dispose(): void {
    if (this.isDisposed) {
      return;
    }
    const { cell, pools, check } = this._options;
    cell.model.sharedModel.changed.disconnect(this._onSource);
    pools.changed.disconnect(this._drawPools);
    check?.changed.disconnect(this._drawProblem);
    this._watching.dispose();
    super.dispose();
  }

  private _build(): void {
    const { trans, cell } = this._options;
    const label = document.createElement('label');
    const name = label.appendChild(document.createElement('span'));
    name.textContent = trans.__('Pool');
    label.append(this._select);
    this._select.addEventListener('change', () => this._choose(this._select.value));

    const dry = document.createElement('button');
    dry.type = 'button';
    dry.className = 'jp-mod-styled jp-mod-minimal';
    dry.textContent = trans.__('Dry run');
    dry.title = trans.__('Show what would be sent and run; nothing is started');
    dry.addEventListener('click', () => {
      void this._options.dryRun().then(problem => this.say(problem));
    });

    this._problem.type = 'button';
    this._problem.className = 'aiinfra-celltoolbar-problem';
    this._problem.addEventListener('click', () => this._show());
    this._said.setAttribute('role', 'status');
    this._said.append(this._problem, this._note);

    this.node.append(label, dry, this._said);
    this.node.addEventListener('keydown', event => {
      if (event.key === 'Escape') {
        cell.view.focus();
      }
    });
  }

  /** Say something beside the buttons, until the line is changed. */
  say(note: string): void {
    this._note.textContent = note;
  }

  private readonly _onSource = (): void => {
    this.say('');
    this._drawPools();
  };

  private readonly _drawPools = (): void => {
    const { cell, pools, words, trans } = this._options;
    const line = launchLine(cell.model.sharedModel.getSource());
    if (line === null) {
      return;
    }
    const named = poolWord(line.text, words)?.text ?? '';
    const found = pools.pools ?? [];
    const choices = found.map(pool => [pool.name, poolLabel(pool, trans)] as const);
    if (!found.some(pool => pool.name === named)) {
      choices.unshift([named, this._unattached(named)]);
    }
    // Pools tell news all the time; a list that is open must not be pulled away for the same one.
    const drawn = JSON.stringify(choices);
    if (drawn !== this._drawn) {
      this._drawn = drawn;
      this._select.replaceChildren(...choices.map(([value, text]) => option(value, text)));
    }
    this._select.value = named;
  };

  /** What to show where the line names none of the attached pools. */
  private _unattached(named: string): string {
    const { pools, trans } = this._options;
    const [only, ...others] = pools.pools ?? [];
    if (pools.pools === null) {
      return named || '…';
    }
    if (named !== '') {
      return trans.__('%1 (not attached)', named);
    }
    if (only === undefined) {
      return trans.__('none attached');
    }
    return others.length > 0 ? trans.__('choose…') : trans.__('%1 (the only one)', only.name);
  }

  private _choose(pool: string): void {
    const { cell, words } = this._options;
    const { sharedModel } = cell.model;
    const edit = pool === '' ? null : choosePool(sharedModel.getSource(), pool, words);
    if (edit !== null) {
      // A step of its own in the history of whoever shares this text, and nothing else touched.
      sharedModel.updateSource(edit.start, edit.end, edit.value);
    }
  }

  private readonly _drawProblem = (): void => {
    const { check, trans } = this._options;
    const [first, ...others] = check?.problems ?? [];
    this._shown = first ?? null;
    this._problem.hidden = first === undefined;
    if (first === undefined) {
      this._problem.textContent = '';
      return;
    }
    const more =
      others.length > 0 ? ` ${trans._n('(and %1 more)', '(and %1 more)', others.length)}` : '';
    this._problem.textContent = sentence(first) + more;
    this._problem.title = [first, ...others].map(sentence).join('\n');
  };

  /** Put the cursor where the problem is. */
  private _show(): void {
    const problem = this._shown;
    const { view } = this._options.cell;
    if (problem !== null) {
      const { length } = view.state.doc;
      view.dispatch({
        selection: {
          anchor: Math.min(problem.start, length),
          head: Math.min(problem.end, length)
        }
      });
    }
    view.focus();
  }

  private readonly _options: ICellToolbarOptions;
  private readonly _select = document.createElement('select');
  private readonly _said = document.createElement('span');
  private readonly _problem = document.createElement('button');
  private readonly _note = document.createElement('span');
  private readonly _watching: IDisposable;
  private _drawn = '';
  private _shown: ILineProblem | null = null;
}

function option(value: string, text: string): HTMLOptionElement {
  const node = document.createElement('option');
  node.value = value;
  node.textContent = text;
  return node;
}

function poolLabel(pool: PoolItem, trans: TranslationBundle): string {
  return `${pool.name} — ${poolText(pool, trans)}`;
}
