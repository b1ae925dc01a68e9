/** The list of endpoints. */

import type { TranslationBundle } from '@jupyterlab/translation';
import { undoIcon } from '@jupyterlab/ui-components';
import type { CommandRegistry } from '@lumino/commands';

import type { EndpointItem } from '../api/types';
import { iconButton, menuButton } from '../schedulepage/buttons';
import { compareKeys } from '../schedulepage/runlist';
import { VirtualTable } from '../schedulepage/virtualtable';
import { CommandIDs, type IEndpointsModel } from '../tokens';
import { h } from '../widgets/dom';
import { badge } from './parts';
import { sortedBy, type Column, type IView } from './view';
import {
  canRollBack,
  errorsText,
  mainOf,
  millisecondsText,
  rateText,
  replicasOf,
  replicasText,
  stateText,
  trafficText,
  triedOf
} from './words';

const ROW_PIXELS = 34;

export interface IListOptions {
  endpoints: IEndpointsModel;
  commands: CommandRegistry;
  trans: TranslationBundle;
  show: (change: Partial<IView>) => void;
}

type Key = Column | 'actions';

export class EndpointList {
  constructor(options: IListOptions) {
    this._options = options;
    const { commands, show, trans } = options;
    this._table = new VirtualTable<EndpointItem, Key>({
      label: trans.__('Endpoints'),
      columns: [
        { key: 'name', label: trans.__('Name'), width: 'minmax(140px, 1.6fr)' },
        { key: 'state', label: trans.__('State'), width: 'minmax(90px, 0.8fr)' },
        { key: 'traffic', label: trans.__('Versions'), width: 'minmax(130px, 1.4fr)' },
        { key: 'rate', label: trans.__('Requests/s'), width: '92px', kind: 'number' },
        { key: 'p95', label: trans.__('p95'), width: '84px', kind: 'number' },
        { key: 'errors', label: trans.__('Errors'), width: '104px', kind: 'number' },
        { key: 'replicas', label: trans.__('Replicas'), width: '84px', kind: 'number' },
        { key: 'actions', label: trans.__('What can be done'), width: '72px', isFixed: true }
      ],
      rowPixels: ROW_PIXELS,
      idOf: ({ id }) => id,
      nameOf: ({ name }) => name,
      keyOf: item => this._keyOf(item),
      cells: item => this._cells(item),
      onSort: column => {
        if (column !== 'actions') {
          show(sortedBy(this._view, column));
        }
      },
      onOpen: ({ id }) => show({ endpoint: id }),
      onDelete: ({ id }) => void commands.execute(CommandIDs.removeEndpoint, { id })
    });
  }

  get node(): HTMLElement {
    return this._table.node;
  }

  /** Show those that match; returns how many do. */
  update(view: IView): number {
    this._view = view;
    const words = view.find.trim().toLowerCase();
    const found = (this._options.endpoints.endpoints ?? []).filter(item =>
      wordsOf(item).some(text => text.toLowerCase().includes(words))
    );
    const items = this._sorted(found, view);
    this._table.update({ items, sort: view.sort, down: view.down });
    return items.length;
  }

  dispose(): void {
    this._table.dispose();
  }

  /** Numbers that are not known come last, whichever way it is sorted. */
  private _sorted(items: readonly EndpointItem[], { sort, down }: IView): EndpointItem[] {
    const turn = down ? -1 : 1;
    return items
      .map(item => ({ item, key: this._sortKey(item, sort) }))
      .sort(
        (one, other) =>
          Number(one.key === null) - Number(other.key === null) ||
          turn * compareKeys(one.key ?? 0, other.key ?? 0) ||
          compareKeys(one.item.name, other.item.name)
      )
      .map(({ item }) => item);
  }

  private _sortKey(item: EndpointItem, sort: Column): string | number | null {
    const { endpoints, trans } = this._options;
    switch (sort) {
      case 'name':
        return item.name;
      case 'state':
        return stateText(item.state, trans);
      case 'traffic':
        return mainOf(item)?.number ?? null;
      case 'rate':
        return endpoints.rates.endpoint(item.id).perSecond;
      case 'p95':
        return endpoints.rates.endpoint(item.id).p95;
      case 'errors': {
        const { errors, requests } = totalsOf(item);
        return errors === null || requests === null ? null : errors / Math.max(1, requests);
      }
      case 'replicas':
        return replicasOf(item.versions).up;
    }
  }

  private _texts(item: EndpointItem): string[] {
    const { endpoints, trans } = this._options;
    const { perSecond, p95 } = endpoints.rates.endpoint(item.id);
    const { errors, requests } = totalsOf(item);
    return [
      trafficText(item, trans),
      rateText(perSecond, trans),
      millisecondsText(p95, trans),
      errorsText(errors, requests, trans),
      replicasText(item.versions, trans)
    ];
  }

  private _keyOf(item: EndpointItem): string {
    const { name, state, problem } = item;
    const can = [canRollBack(item), triedOf(item)];
    return JSON.stringify([name, state, problem, can, this._texts(item)]);
  }

  private _cells(item: EndpointItem): (Node | string)[] {
    const { commands, trans, show } = this._options;
    const { id, name, state, problem } = item;
    const open = h('button', { type: 'button', class: 'aiinfra-EndpointPage-link' }, name);
    open.dataset['focus'] = 'name';
    open.title = trans.__('Show %1', name);
    open.addEventListener('click', () => show({ endpoint: id }));
    const stands = badge(state, stateText(state, trans));
    stands.title = problem;
    return [
      open,
      stands,
      ...this._texts(item),
      h(
        'span',
        { class: 'aiinfra-EndpointPage-actions' },
        iconButton(undoIcon, trans.__('Roll %1 back', name), {
          name: 'rollback',
          onClick: () => void commands.execute(CommandIDs.rollbackEndpoint, { id }),
          isEnabled: canRollBack(item)
        }),
        menuButton(
          trans.__('More of %1', name),
          [
            { command: CommandIDs.openEndpoint, args: { id } },
            ...(triedOf(item) === null
              ? []
              : [{ command: CommandIDs.promoteEndpoint, args: { id } }]),
            { command: CommandIDs.scaleEndpoint, args: { id } },
            { command: CommandIDs.removeEndpoint, args: { id } }
          ],
          commands
        )
      )
    ];
  }

  private _options: IListOptions;
  private _view!: IView;
  private _table: VirtualTable<EndpointItem, Key>;
}

/** What an endpoint is found by. */
function wordsOf({ id, name, state, versions }: EndpointItem): string[] {
  return [
    id,
    name,
    state,
    ...versions.flatMap(each => [each.pool, each.fallback_pool ?? '', each.note])
  ];
}

/** All its versions together, since the router began to count; `null` where it says nothing. */
export function totalsOf({ versions }: EndpointItem): {
  errors: number | null;
  requests: number | null;
} {
  const told = versions.filter(({ requests, errors }) => requests !== null && errors !== null);
  if (told.length === 0) {
    return { errors: null, requests: null };
  }
  return {
    errors: told.reduce((sum, each) => sum + (each.errors ?? 0), 0),
    requests: told.reduce((sum, each) => sum + (each.requests ?? 0), 0)
  };
}
