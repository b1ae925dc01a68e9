/** Makes the page of schedules; loaded with all it needs when it is first opened. */

import { MainAreaWidget } from '@jupyterlab/apputils';

import { scheduleIcon } from '../icons';
import { SchedulePage, type ISchedulePageOptions } from './page';

export const PAGE_ID = 'aiinfra-schedules';

export function createSchedulePage(options: ISchedulePageOptions): MainAreaWidget<SchedulePage> {
  const content = new SchedulePage(options);
  content.title.icon = scheduleIcon;
  content.title.label = options.trans.__('Schedules');
  content.title.caption = options.trans.__('Notebooks that run by themselves, and their runs');
  content.title.closable = true;
  const widget = new MainAreaWidget({ content });
  widget.id = PAGE_ID;
  widget.toolbar.hide();
  return widget;
}
