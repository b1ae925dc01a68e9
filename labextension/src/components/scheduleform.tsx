/** The form that schedules a notebook, or changes a schedule, in a dialog. */

import type { TranslationBundle } from '@jupyterlab/translation';
import React from 'react';

import type { ScheduleItem } from '../api/types';
import type { ScheduleDraft } from '../models/scheduledraft';
import { showForm } from './formdialog';
import { ChoiceField, FlagField, TextField, type IScheduleFields } from './schedulefield';
import { MoreFields } from './schedulemore';
import { ParameterFields } from './scheduleparameters';
import { WhenFields } from './schedulewhen';
import { useSignal } from './usesignal';

/** Show the form; the schedule as it is by it, or `null` where it was closed instead. */
export async function showScheduleForm(
  draft: ScheduleDraft,
  trans: TranslationBundle
): Promise<ScheduleItem | null> {
  const isNew = draft.old === null;
  void draft.preview();
  try {
    return await showForm({
      draft,
      title: isNew ? trans.__('Schedule a notebook') : trans.__('Change the schedule'),
      accept: isNew ? trans.__('Schedule') : trans.__('Save as version %1', nextVersion(draft)),
      sending: trans.__('Freezing the notebook…'),
      fields: <ScheduleFields draft={draft} trans={trans} />,
      className: 'aiinfra-ScheduleDialog',
      trans
    });
  } finally {
    draft.dispose();
  }
}

function nextVersion({ old }: ScheduleDraft): number {
  return (old?.version.number ?? 0) + 1;
}

function ScheduleFields({ draft, trans }: IScheduleFields): React.JSX.Element {
  useSignal(draft.changed);
  return (
    <div className="aiinfra-ScheduleForm">
      <p className="aiinfra-Form-what">
        {draft.notebook}
        <span className="aiinfra-Form-help">
          {trans.__('Frozen as it is saved now, with the modules that it imports.')}
        </span>
      </p>
      <div className="aiinfra-ScheduleForm-columns">
        <div className="aiinfra-ScheduleForm-column">
          <What {...{ draft, trans }} />
          <ParameterFields {...{ draft, trans }} />
        </div>
        <div className="aiinfra-ScheduleForm-column">
          <WhenFields {...{ draft, trans }} />
          <FlagField {...{ draft, trans, name: 'runNow', label: trans.__('Run it now, too') }} />
        </div>
      </div>
      <MoreFields {...{ draft, trans }} />
      {draft.old !== null && (
        <TextField
          {...{ draft, trans, name: 'note', label: trans.__('What has changed (optional)') }}
        />
      )}
    </div>
  );
}

function What({ draft, trans }: IScheduleFields): React.JSX.Element {
  const { pools } = draft;
  const here = draft.text('pool');
  const known = pools.some(({ name }) => name === here);
  return (
    <div className="aiinfra-ScheduleForm-group">
      <TextField
        {...{ draft, trans, name: 'name', label: trans.__('Name') }}
        required
        help={trans.__('Letters, digits and - _ .')}
      />
      <ChoiceField
        {...{ draft, trans, name: 'pool', label: trans.__('Pool') }}
        help={
          pools.length === 0 ? trans.__('No pool is attached: attach one in the panel first.') : ''
        }
        choices={[
          ...(known ? [] : [{ value: here, label: here }]),
          ...pools.map(({ name, kind, status }) => ({
            value: name,
            label:
              status === 'unreachable'
                ? trans.__('%1 (%2, unreachable)', name, kind)
                : `${name} (${kind})`
          }))
        ]}
      />
    </div>
  );
}
