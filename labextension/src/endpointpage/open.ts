/** All that is there of endpoints; loaded when the first of its commands is executed. */

import type { MainAreaWidget } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { CommandRegistry } from '@lumino/commands';

import { mainPage } from '../components/mainpage';
import { EndpointVerbs } from '../endpointverbs';
import { endpointIcon } from '../icons';
import { EndpointsModel } from '../models/endpoints';
import type { IAiInfraApi, IEndpointsModel } from '../tokens';
import { EndpointPage } from './page';
import { viewOf } from './view';

export const PAGE_ID = 'aiinfra-endpoints';

export interface IEndpointsOptions {
  api: IAiInfraApi;
  commands: CommandRegistry;
  trans: TranslationBundle;
}

/** The one model of this window, what its commands do, and its page. */
export class Endpoints {
  constructor(options: IEndpointsOptions) {
    this._options = options;
    this.model = new EndpointsModel(options);
    this.verbs = new EndpointVerbs({ ...options, endpoints: this.model });
  }

  readonly model: IEndpointsModel;
  readonly verbs: EndpointVerbs;

  createPage(): MainAreaWidget<EndpointPage> {
    const { trans } = this._options;
    const content = new EndpointPage({ ...this._options, endpoints: this.model });
    return mainPage(content, {
      id: PAGE_ID,
      icon: endpointIcon,
      label: trans.__('Endpoints'),
      caption: trans.__('Models that are served, and how they do')
    });
  }

  /** Show what a command was given; nothing: as it was left. */
  show({ content }: MainAreaWidget<EndpointPage>, given: Readonly<Record<string, unknown>>): void {
    if (Object.keys(given).length > 0) {
      content.model.show(viewOf(given, content.model.view));
    }
  }

  private _options: IEndpointsOptions;
}
