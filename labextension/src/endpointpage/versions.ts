/** The versions of an endpoint, each with its own numbers, and which of them to serve. */

import type { TranslationBundle } from '@jupyterlab/translation';
import type { CommandRegistry } from '@lumino/commands';

import type { EndpointItem, EndpointVersion } from '../api/types';
import { momentText } from '../cost/jobline';
import { shareText } from '../cost/text';
import { Redrawn } from '../costpage/redraw';
import { CommandIDs, type IEndpointsModel } from '../tokens';
import { h } from '../widgets/dom';
import { count, sizeText } from '../widgets/format';
import { badge, button, swatch, table, type IHead } from './parts';
import {
  errorsText,
  mainOf,
  millisecondsText,
  percentText,
  percentsOf,
  poolText,
  rateText,
  replicasText,
  thousandText,
  versionStateText
} from './words';

export interface IVersionsOptions {
  endpoints: IEndpointsModel;
  commands: CommandRegistry;
  trans: TranslationBundle;
}

export class Versions {
  constructor(options: IVersionsOptions) {
    this._options = options;
  }

  readonly node = h('section', { class: 'aiinfra-EndpointPage-part' });

  update(item: EndpointItem): void {
    const { trans } = this._options;
    const versions = [...item.versions].sort((one, other) => other.number - one.number);
    const rows = versions.map(version => this._texts(item, version));
    const isFixed = item.rollout !== null;
    const states = versions.map(({ state, reason, note }) => [state, reason, note]);
    const main = mainOf(item)?.number;
    const scrolled = this.node.querySelector('.aiinfra-EndpointPage-scroll')?.scrollLeft ?? 0;
    this._redrawn.draw(JSON.stringify([item.id, rows, states, isFixed, main]), () => [
      h('h3', {}, trans.__('Versions')),
      table(
        trans.__('Versions'),
        this._heads(),
        versions.map((version, place) => [
          this._name(version),
          this._state(version),
          ...(rows[place] ?? []),
          this._action(item, version)
        ])
      )
    ]);
    // Numbers change all the time: who looks at the right of it stays there.
    const region = this.node.querySelector('.aiinfra-EndpointPage-scroll');
    if (region !== null && region.scrollLeft !== scrolled) {
      region.scrollLeft = scrolled;
    }
  }

  private _heads(): IHead[] {
    const { trans } = this._options;
    const number = (text: string, title = ''): IHead => ({ text, title, isNumber: true });
    return [
      { text: trans.__('Version') },
      { text: trans.__('State') },
      number(trans.__('Traffic')),
      number(trans.__('Requests/s')),
      number(trans.__('p50')),
      number(trans.__('p95')),
      number(trans.__('p99')),
      number(trans.__('Requests'), trans.__('Since the router began to count')),
      number(trans.__('Errors'), trans.__('5xx, too late, or lost; since the router began')),
      number(trans.__('Busy'), trans.__('Refused with 429 since the router began')),
      number(trans.__('Agreement'), trans.__('Answers like those of the other version')),
      number(
        trans.__('Cost of 1,000'),
        trans.__('Of the last day: what its replicas cost, by the requests that they answered')
      ),
      number(trans.__('Replicas')),
      { text: trans.__('Pool') },
      { text: trans.__('Made') },
      { text: trans.__('What can be done'), isUnseen: true }
    ];
  }

  private _texts(item: EndpointItem, version: EndpointVersion): string[] {
    const { endpoints, trans } = this._options;
    const { number, requests, errors, rejected, same, different } = version;
    const percent = percentsOf(item).get(number);
    const now = endpoints.rates.version(item.id, number);
    const compared = (same ?? 0) + (different ?? 0);
    const isShadow = item.shadow === number;
    return [
      percent === undefined ? (isShadow ? trans.__('shadow') : '–') : percentText(percent),
      rateText(now.perSecond, trans),
      millisecondsText(now.p50, trans),
      millisecondsText(now.p95, trans),
      millisecondsText(now.p99, trans),
      requests === null ? trans.__('n/a') : count(requests),
      errorsText(errors, requests, trans),
      rejected === null ? trans.__('n/a') : count(rejected),
      shareText(compared === 0 ? null : (same ?? 0) / compared, trans),
      thousandText(version, trans),
      replicasText([version], trans),
      poolText(version, trans),
      momentText(version.created_at)
    ];
  }

  private _name(version: EndpointVersion): HTMLElement {
    const { trans } = this._options;
    const { number, note, digest, size_bytes: size, created_by: by } = version;
    const name = h('span', {}, swatch(number), String(number));
    const maker = trans.__('made by %1', by ?? trans.__('unknown'));
    name.title = [note, maker, digest, sizeText(size)].filter(Boolean).join('\n');
    if (note !== '') {
      name.append(' ', h('span', { class: 'aiinfra-EndpointPage-quiet' }, note));
    }
    return name;
  }

  private _state({ state, reason }: EndpointVersion): HTMLElement {
    const node = h('span', {}, badge(state, versionStateText(state, this._options.trans)));
    if (reason !== null && reason !== '') {
      node.append(h('span', { class: 'aiinfra-EndpointPage-why' }, reason));
    }
    return node;
  }

  private _action(item: EndpointItem, { number, state }: EndpointVersion): HTMLElement | string {
    const { commands, trans } = this._options;
    if (number === mainOf(item)?.number || state === 'starting') {
      return '';
    }
    return button(trans.__('Serve'), {
      name: `serve ${number}`,
      label: trans.__('Serve version %1', number),
      title: trans.__(
        'Give version %1 all requests; it is started first where it does not run',
        number
      ),
      isEnabled: item.rollout === null,
      onClick: () => void commands.execute(CommandIDs.rollbackEndpoint, { id: item.id, to: number })
    });
  }

  private _options: IVersionsOptions;
  private _redrawn = new Redrawn(this.node);
}
