/** What the router does for an endpoint, whatever the version. */

import type { TranslationBundle } from '@jupyterlab/translation';

import type { EndpointItem } from '../api/types';
import type { IEndpointsModel } from '../tokens';
import { h } from '../widgets/dom';
import { OptionsForm, type IOption } from './optionsform';
import { quiet } from './parts';

const DAY_SECONDS = 86_400;
const MIB = 2 ** 20;

export interface ISettingsOptions {
  endpoints: Pick<IEndpointsModel, 'configure'>;
  trans: TranslationBundle;
}

export class SettingsView {
  constructor({ endpoints, trans }: ISettingsOptions) {
    const parts: [string, readonly IOption[]][] = [
      [trans.__('Limits'), limits(trans)],
      [trans.__('Routing'), routing(trans)]
    ];
    this._forms = parts.map(([label, options]) => {
      const form = new OptionsForm({ endpoints, trans, label, send: trans.__('Save'), options });
      this.node.append(
        h('section', { class: 'aiinfra-EndpointPage-part' }, h('h3', {}, label), form.node)
      );
      return form;
    });
    this.node.append(
      quiet(
        trans.__('They hold for all versions, from the next request on; nothing is started anew.')
      )
    );
  }

  readonly node = h('div');

  update(item: EndpointItem): void {
    this._forms.forEach(form => form.update(item));
  }

  private _forms: OptionsForm[];
}

function limits(trans: TranslationBundle): IOption[] {
  return [
    {
      kind: 'number',
      name: 'timeout_seconds',
      label: trans.__('Seconds to an answer'),
      help: trans.__('Then 504.'),
      least: 0.001,
      most: DAY_SECONDS
    },
    {
      kind: 'number',
      name: 'hold_seconds',
      label: trans.__('Seconds to wait for a replica'),
      help: trans.__('Where none answers yet; then 503.'),
      least: 0,
      most: DAY_SECONDS
    },
    {
      kind: 'number',
      name: 'max_held',
      label: trans.__('Requests that may wait'),
      help: trans.__('For a replica, at once.'),
      least: 0,
      most: 1e6,
      isWhole: true
    },
    {
      kind: 'number',
      name: 'max_body_bytes',
      label: trans.__('MiB of a request'),
      help: trans.__('Larger ones get 413.'),
      times: 1 / MIB,
      isWhole: true,
      least: 1,
      most: 2 ** 40
    },
    {
      kind: 'number',
      name: 'keep_seconds',
      label: trans.__('Seconds the version before is kept'),
      help: trans.__('For a quick way back.'),
      least: 0,
      most: 365 * DAY_SECONDS
    }
  ];
}

function routing(trans: TranslationBundle): IOption[] {
  return [
    {
      kind: 'text',
      name: 'sticky',
      label: trans.__('A caller keeps to a version by'),
      help: trans.__('The header whose value decides on it.'),
      pattern: '[A-Za-z0-9\\-]+'
    },
    {
      kind: 'number',
      name: 'tolerance',
      label: trans.__('Same answers differ by, %'),
      help: trans.__('Numbers of two versions that are this near are the same.'),
      times: 100,
      least: 0,
      most: 1
    },
    {
      kind: 'lines',
      name: 'cors',
      label: trans.__('Pages that may call it'),
      help: trans.__('An origin a line, or * for all.'),
      placeholder: trans.__('https://shop.example')
    },
    {
      kind: 'flag',
      name: 'idempotent',
      label: trans.__('Ask again elsewhere'),
      help: trans.__('What is lost with its replica; not for models that do something each time.')
    }
  ];
}
