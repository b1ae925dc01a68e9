/** Makes the page of GPUs; loaded with all it needs when it is first opened. */

import { MainAreaWidget } from '@jupyterlab/apputils';

import { panelIcon } from '../icons';
import { GpusPage, type IPageOptions } from './page';

export const PAGE_ID = 'aiinfra-gpus';

export function createGpusPage(options: IPageOptions): MainAreaWidget<GpusPage> {
  const content = new GpusPage(options);
  content.title.icon = panelIcon;
  content.title.label = options.trans.__('GPUs');
  content.title.caption = options.trans.__('What all GPUs do and did');
  content.title.closable = true;
  const widget = new MainAreaWidget({ content });
  widget.id = PAGE_ID;
  widget.toolbar.hide();
  return widget;
}
