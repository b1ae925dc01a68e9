/** Makes the page of cost; loaded with all it needs when it is first opened. */

import type { MainAreaWidget } from '@jupyterlab/apputils';

import { mainPage } from '../components/mainpage';
import { costIcon } from '../icons';
import { CostPage, type IPageOptions } from './page';

export const PAGE_ID = 'aiinfra-cost';

export function createCostPage(options: IPageOptions): MainAreaWidget<CostPage> {
  const content = new CostPage(options);
  return mainPage(content, {
    id: PAGE_ID,
    icon: costIcon,
    label: options.trans.__('Cost'),
    caption: options.trans.__('What GPUs cost, and did')
  });
}
