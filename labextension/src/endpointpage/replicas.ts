/** The replicas of an endpoint: jobs, with what they have written last. */

import type { TranslationBundle } from '@jupyterlab/translation';
import type { CommandRegistry } from '@lumino/commands';

import type { EndpointItem, EndpointReplica } from '../api/types';
import { momentText } from '../cost/jobline';
import { Redrawn } from '../costpage/redraw';
import { fill, note } from '../jobpage/sections';
import { CommandIDs, type IAiInfraApi } from '../tokens';
import { coloured, h } from '../widgets/dom';
import { count } from '../widgets/format';
import { badge, button, quiet, swatch, table } from './parts';

const LOG_ROWS = 200;
const ID_LENGTH = 8;

export interface IReplicasOptions {
  api: Pick<IAiInfraApi, 'logRows'>;
  commands: CommandRegistry;
  trans: TranslationBundle;
}

interface IRow {
  number: number;
  replica: EndpointReplica;
}

export class Replicas {
  constructor(options: IReplicasOptions) {
    this._options = options;
    this.node.append(this._all, this._log);
  }

  readonly node = h('div');

  update(item: EndpointItem): void {
    const { trans } = this._options;
    const rows = item.versions
      .flatMap(({ number, replicas }) => replicas.map(replica => ({ number, replica })))
      .filter(({ replica }) => replica.state !== 'gone')
      .sort((one, other) => other.number - one.number);
    if (item.id !== this._of) {
      [this._of, this._shown] = [item.id, ''];
      this._log.replaceChildren();
    }
    this._redrawn.draw(JSON.stringify([rows, this._shown]), () =>
      rows.length === 0 ? [quiet(trans.__('No replica runs.'))] : [this._table(rows)]
    );
  }

  private _table(rows: readonly IRow[]): HTMLElement {
    const { trans } = this._options;
    return table(
      trans.__('Replicas'),
      [
        { text: trans.__('Replica') },
        { text: trans.__('Version') },
        { text: trans.__('State') },
        { text: trans.__('Under way'), isNumber: true },
        { text: trans.__('Since') },
        { text: trans.__('What is said') },
        { text: trans.__('What can be done'), isUnseen: true }
      ],
      rows.map(row => this._cells(row))
    );
  }

  private _cells({ number, replica }: IRow): (Node | string)[] {
    const { commands, trans } = this._options;
    const { id, in_flight: busy, reason, created_at: at } = replica;
    const name = id.slice(0, ID_LENGTH);
    const open = h(
      'button',
      { type: 'button', class: 'aiinfra-EndpointPage-link', title: id },
      name
    );
    open.dataset['focus'] = `job ${id}`;
    open.setAttribute('aria-label', trans.__('Open job %1', name));
    open.addEventListener('click', () => void commands.execute(CommandIDs.openJob, { id }));
    const isShown = this._shown === id;
    const log = button(isShown ? trans.__('Hide log') : trans.__('Log'), {
      name: `log ${id}`,
      label: isShown ? trans.__('Hide the log of %1', name) : trans.__('Log of %1', name),
      onClick: () => this._show(isShown ? '' : id)
    });
    log.setAttribute('aria-expanded', String(isShown));
    const [state, text] = stateOf(replica, trans);
    return [
      open,
      h('span', {}, swatch(number), String(number)),
      badge(state, text),
      busy === null ? trans.__('n/a') : String(busy),
      momentText(at),
      reason,
      log
    ];
  }

  /** Show the end of the log of a replica; the page is told by `onShow` to draw the rest. */
  private _show(id: string): void {
    const { api, trans } = this._options;
    this._shown = id;
    this.onShow();
    if (id === '') {
      this._log.replaceChildren();
      return;
    }
    const place = h('div');
    const ask = async (): Promise<HTMLElement> => {
      const { rows, total_rows: all } = await api.logRows({
        id,
        rank: 0,
        first: -LOG_ROWS,
        count: LOG_ROWS
      });
      if (rows.length === 0) {
        return note(trans.__('It has written nothing.'));
      }
      const label = trans.__('Log of %1', id.slice(0, ID_LENGTH));
      const text = rows.map(row => (row.repeat > 1 ? `${row.text} (×${row.repeat})` : row.text));
      const pre = h('pre', { tabindex: '0', role: 'region', 'aria-label': label });
      pre.append(...coloured(text.join('\n')));
      const isWhole = rows.length >= all;
      const said = trans.__('The last %1 of %2 rows.', count(rows.length), count(all));
      return h('div', {}, pre, ...(isWhole ? [] : [quiet(said)]));
    };
    const load = (): void => void fill(place, ask, trans);
    const again = button(trans.__('Read again'), { onClick: load });
    const title = h('h3', {}, trans.__('Log of %1', id.slice(0, ID_LENGTH)));
    const head = h('div', { class: 'aiinfra-EndpointPage-row' }, title, again);
    this._log.replaceChildren(head, place);
    load();
  }

  /** What is shown has changed by itself. */
  onShow: () => void = () => undefined;

  private _options: IReplicasOptions;
  private _of = '';
  /** The replica whose log is shown; empty: none. */
  private _shown = '';
  private _all = h('div');
  private _log = h('section', { class: 'aiinfra-EndpointPage-log' });
  private _redrawn = new Redrawn(this._all);
}

/** How the router has it, which is what counts for who calls; else how it stands on record. */
function stateOf(
  { state, router }: EndpointReplica,
  trans: TranslationBundle
): [state: string, text: string] {
  if (state === 'leaving') {
    return ['leaving', trans.__('ends')];
  }
  switch (router) {
    case 'up':
      return ['ready', trans.__('answers')];
    case 'ejected':
      return ['failed', trans.__('fails')];
    case 'draining':
      return ['leaving', trans.__('ends')];
    case 'starting':
      return ['starting', trans.__('starts')];
    case null:
      return state === 'due'
        ? ['starting', trans.__('to be started')]
        : ['unknown', trans.__('unknown')];
    default:
      return ['unknown', router];
  }
}
