/** The fields of the form of a schedule, and what is wrong with one in words. */

import type { TranslationBundle } from '@jupyterlab/translation';

import type { ScheduleDraft, ScheduleFault } from '../models/scheduledraft';
import { namedFields } from './namedfields';

export interface IScheduleFields {
  draft: ScheduleDraft;
  trans: TranslationBundle;
}

export const { Field, TextField, LinesField, ChoiceField, FlagField } = namedFields<
  string,
  ScheduleFault
>('schedule', faultText);

function faultText(fault: ScheduleFault | undefined, trans: TranslationBundle): string {
  switch (fault) {
    case undefined:
      return '';
    case 'missing':
      return trans.__('This has to be given.');
    case 'not a number':
      return trans.__('This is no number.');
    case 'not a length':
      return trans.__('This is no length of time: such as 30s, 15m, 1h30m or 1d.');
    case 'not a moment':
      return trans.__('This is no day and time.');
    case 'not a zone':
      return trans.__('No such time zone: such as Europe/Berlin or UTC.');
    case 'not JSON':
      return trans.__('This cannot be read: a list such as [1, 2], or a mapping such as {"a": 1}.');
  }
}
