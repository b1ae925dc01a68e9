/** Makes the page of GPUs; loaded with all it needs when it is first opened. */

import type { MainAreaWidget } from '@jupyterlab/apputils';

import { mainPage } from '../components/mainpage';
import { panelIcon } from '../icons';
import { GpusPage, type IPageOptions } from './page';

export const PAGE_ID = 'aiinfra-gpus';

export function createGpusPage(options: IPageOptions): MainAreaWidget<GpusPage> {
  const content = new GpusPage(options);
  return mainPage(content, {
    id: PAGE_ID,
    icon: panelIcon,
    label: options.trans.__('GPUs'),
    caption: options.trans.__('What all GPUs do and did')
  });
}
