/** What an endpoint is and how it stands, and what can be done with it. */

import type { TranslationBundle } from '@jupyterlab/translation';
import type { CommandRegistry } from '@lumino/commands';

import type { EndpointItem } from '../api/types';
import { momentText } from '../cost/jobline';
import { Redrawn } from '../costpage/redraw';
import { CommandIDs, type IEndpointsModel } from '../tokens';
import { h } from '../widgets/dom';
import { count } from '../widgets/format';
import { totalsOf } from './list';
import { badge, button, copyButton, facts } from './parts';
import {
  canRollBack,
  errorsText,
  millisecondsText,
  rateText,
  replicasText,
  stateText,
  thousandText,
  thousandTitle,
  trafficText,
  triedOf
} from './words';

export interface IHeadOptions {
  endpoints: IEndpointsModel;
  commands: CommandRegistry;
  trans: TranslationBundle;
  onBack: () => void;
}

export class Head {
  constructor(options: IHeadOptions) {
    this._options = options;
    this.node.append(this._title, this._problem, this._facts);
  }

  readonly node = h('section', { class: 'aiinfra-EndpointPage-head', hidden: '' });

  update(item: EndpointItem | null): void {
    const { trans } = this._options;
    this.node.hidden = item === null;
    if (item === null) {
      return;
    }
    const { name, state, url, problem } = item;
    this.node.setAttribute('aria-label', name);
    const can = [triedOf(item), canRollBack(item)];
    // The buttons stand still while numbers below them change.
    this._titleDrawn.draw(JSON.stringify([item.id, name, state, url, can]), () =>
      this._makeTitle(item)
    );
    if (this._problem.textContent !== problem) {
      this._problem.textContent = problem;
    }
    this._problem.hidden = problem === '';
    const pairs = this._pairs(item);
    const cost = h('span', { title: thousandTitle(item, trans) }, thousandText(item, trans));
    const key = JSON.stringify([pairs, cost.textContent, cost.title]);
    this._factsDrawn.draw(key, () => [facts([...pairs, [trans.__('Cost of 1,000'), cost]])]);
  }

  private _makeTitle(item: EndpointItem): HTMLElement[] {
    const { trans, commands, onBack } = this._options;
    const { id, name, state, url } = item;
    const run = (command: string) => (): void => void commands.execute(command, { id });
    const tried = triedOf(item);
    const { rollbackEndpoint, promoteEndpoint, scaleEndpoint, removeEndpoint } = CommandIDs;
    const buttons = h(
      'span',
      { class: 'aiinfra-EndpointPage-buttons' },
      ...(tried === null
        ? []
        : [
            button(trans.__('Promote version %1', tried), {
              name: 'promote',
              kind: 'main',
              title: trans.__('Give it all requests now; no gate is asked'),
              onClick: run(promoteEndpoint)
            })
          ]),
      button(trans.__('Roll back'), {
        name: 'rollback',
        kind: 'bad',
        isEnabled: canRollBack(item),
        title:
          tried === null
            ? trans.__('Serve the version before once more')
            : trans.__('Take all requests from version %1', tried),
        onClick: run(rollbackEndpoint)
      }),
      button(trans.__('New version…'), {
        name: 'deploy',
        title: trans.__('Give it what a notebook that is open has'),
        onClick: () => void commands.execute(CommandIDs.deployNotebook, { endpoint: name })
      }),
      button(trans.__('Scale…'), { name: 'scale', onClick: run(scaleEndpoint) }),
      button(trans.__('Remove'), { name: 'remove', onClick: run(removeEndpoint) })
    );
    const address = h('code', { class: 'aiinfra-EndpointPage-url' }, url ?? '');
    const place =
      url === null
        ? [h('span', { class: 'aiinfra-EndpointPage-quiet' }, trans.__('no address yet'))]
        : [address, copyButton(() => url, trans.__('Copy the address'), trans)];
    return [
      button(trans.__('‹ All endpoints'), { name: 'back', onClick: onBack }),
      h('h2', {}, name),
      badge(state, stateText(state, trans)),
      ...place,
      buttons
    ];
  }

  private _pairs(item: EndpointItem): [string, string][] {
    const { endpoints, trans } = this._options;
    const { held, refused, last_request: last, scaling, versions } = item;
    const { perSecond, p95 } = endpoints.rates.endpoint(item.id);
    const { errors, requests } = totalsOf(item);
    const number = (value: number | null): string =>
      value === null ? trans.__('n/a') : count(value);
    const { least, most } = scaling;
    return [
      [trans.__('Served'), trafficText(item, trans)],
      [trans.__('Requests/s'), rateText(perSecond, trans)],
      [trans.__('p95'), millisecondsText(p95, trans)],
      [trans.__('Requests'), number(requests)],
      [trans.__('Errors'), errorsText(errors, requests, trans)],
      [
        trans.__('Replicas'),
        least === most
          ? trans.__('%1 up', replicasText(versions, trans))
          : trans.__('%1 up, from %2 to %3', replicasText(versions, trans), least, most)
      ],
      [trans.__('Waiting'), number(held)],
      [trans.__('Refused'), number(refused)],
      [trans.__('Last request'), last === null ? trans.__('n/a') : momentText(last)]
    ];
  }

  private _options: IHeadOptions;
  private _title = h('div', { class: 'aiinfra-EndpointPage-title' });
  private _problem = h('p', { class: 'aiinfra-EndpointPage-problem', role: 'alert', hidden: '' });
  private _facts = h('div');
  private _titleDrawn = new Redrawn(this._title);
  private _factsDrawn = new Redrawn(this._facts);
}
