/** Makes the page of cost; loaded with all it needs when it is first opened. */

import { MainAreaWidget } from '@jupyterlab/apputils';

import { costIcon } from '../icons';
import { CostPage, type IPageOptions } from './page';

export const PAGE_ID = 'aiinfra-cost';

export function createCostPage(options: IPageOptions): MainAreaWidget<CostPage> {
  const content = new CostPage(options);
  content.title.icon = costIcon;
  content.title.label = options.trans.__('Cost');
  content.title.caption = options.trans.__('What GPUs cost, and did');
  content.title.closable = true;
  const widget = new MainAreaWidget({ content });
  widget.id = PAGE_ID;
  widget.toolbar.hide();
  return widget;
}
