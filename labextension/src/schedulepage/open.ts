/** Makes the page of schedules; loaded with all it needs when it is first opened. */

import type { MainAreaWidget } from '@jupyterlab/apputils';

import { mainPage } from '../components/mainpage';
import { scheduleIcon } from '../icons';
import { SchedulePage, type ISchedulePageOptions } from './page';

export const PAGE_ID = 'aiinfra-schedules';

export function createSchedulePage(options: ISchedulePageOptions): MainAreaWidget<SchedulePage> {
  const content = new SchedulePage(options);
  return mainPage(content, {
    id: PAGE_ID,
    icon: scheduleIcon,
    label: options.trans.__('Schedules'),
    caption: options.trans.__('Notebooks that run by themselves, and their runs')
  });
}
