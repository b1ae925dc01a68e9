/** The form that sets or changes a budget, in a dialog. */

import type { TranslationBundle } from '@jupyterlab/translation';
import React from 'react';

import type { BudgetItem } from '../api/types';
import {
  ACTIONS,
  PERIODS,
  SCOPES,
  type BudgetAction,
  type BudgetDraft,
  type BudgetFault,
  type BudgetField,
  type BudgetPeriod,
  type BudgetScope
} from '../models/budgetdraft';
import { given } from './draftfield';
import { showForm } from './formdialog';
import { Choice, TextInput } from './formfields';
import { namedFields } from './namedfields';
import { useSignal } from './usesignal';

/** Show the form; the budget that was set by it, or `null` where it was closed instead. */
export function showBudgetForm(
  draft: BudgetDraft,
  trans: TranslationBundle
): Promise<BudgetItem | null> {
  const isNew = draft.old === null;
  return showForm({
    draft,
    title: isNew ? trans.__('Set a budget') : trans.__('Change the budget'),
    accept: isNew ? trans.__('Set') : trans.__('Change'),
    sending: trans.__('Setting…'),
    fields: <BudgetFields draft={draft} trans={trans} />,
    trans
  });
}

interface IFieldsProps {
  draft: BudgetDraft;
  trans: TranslationBundle;
}

function BudgetFields({ draft, trans }: IFieldsProps): React.JSX.Element {
  useSignal(draft.changed);
  const { old, action, hasGrace } = draft;
  return (
    <>
      {old === null ? (
        <Counted draft={draft} trans={trans} />
      ) : (
        <p className="aiinfra-Form-what">{old.name}</p>
      )}
      <Field
        {...{ draft, trans, name: 'amount', label: trans.__('Amount') }}
        help={amountHelp(draft, trans)}
      >
        <TextInput
          {...given(draft, 'amount')}
          required
          placeholder={trans.__('for example: 200')}
        />
      </Field>
      {old === null && draft.scope !== 'job' && (
        <Field {...{ draft, trans, name: 'period', label: trans.__('In') }}>
          <Choice
            {...given(draft, 'period')}
            choices={PERIODS.map(value => ({ value, label: periodText(value, trans) }))}
          />
        </Field>
      )}
      <Field
        {...{ draft, trans, name: 'action', label: trans.__('Once it is spent') }}
        help={actionHelp(action, trans)}
      >
        <Choice
          {...given(draft, 'action')}
          choices={ACTIONS.map(value => ({ value, label: actionText(value, trans) }))}
        />
      </Field>
      <Field
        {...{ draft, trans, name: 'warn', label: trans.__('Warn at, in %') }}
        help={trans.__('Of the amount.')}
      >
        <TextInput {...given(draft, 'warn')} numeric required />
      </Field>
      {action === 'ask' && (
        <Field
          {...{ draft, trans, name: 'answer', label: trans.__('Time to answer, in minutes') }}
          help={trans.__('Without an answer in time its jobs are stopped.')}
        >
          <TextInput {...given(draft, 'answer')} numeric required />
        </Field>
      )}
      {hasGrace && (
        <Field
          {...{
            draft,
            trans,
            name: 'grace',
            label: trans.__('Time to save, in minutes (optional)')
          }}
          help={trans.__('Empty: 2 minutes, or more where a job asks for more.')}
        >
          <TextInput {...given(draft, 'grace')} numeric />
        </Field>
      )}
      {old?.snoozed && (
        <p className="aiinfra-Form-help">{trans.__('It is snoozed. A change wakes it up.')}</p>
      )}
    </>
  );
}

/** Whose cost counts. */
function Counted({ draft, trans }: IFieldsProps): React.JSX.Element {
  const { scope, subjects } = draft;
  return (
    <>
      <Field {...{ draft, trans, name: 'scope', label: trans.__('Counts') }}>
        <Choice
          {...given(draft, 'scope')}
          choices={SCOPES.map(value => ({ value, label: scopeText(value, trans) }))}
        />
      </Field>
      {scope !== 'all' && (
        <Field
          {...{ draft, trans, name: 'subject', label: subjectText(scope, trans) }}
          help={subjectHelp(scope, trans)}
        >
          {scope === 'pool' && subjects.length > 0 ? (
            <Choice
              {...given(draft, 'subject')}
              required
              choices={[
                ...(draft.texts.subject === '' ? [{ value: '', label: '' }] : []),
                ...subjects
              ]}
            />
          ) : (
            <TextInput {...given(draft, 'subject')} required choices={subjects} />
          )}
        </Field>
      )}
    </>
  );
}

const { Field } = namedFields<BudgetField, BudgetFault>('budget', faultText);

function amountHelp({ currency }: BudgetDraft, trans: TranslationBundle): string {
  return currency === null
    ? trans.__('Such as 200, 200 eur or €200; dollars where no currency is said.')
    : trans.__('Such as 200; in %1, as the prices are.', currency);
}

export function scopeText(scope: BudgetScope, trans: TranslationBundle): string {
  switch (scope) {
    case 'all':
      return trans.__('Everything');
    case 'user':
      return trans.__('A user');
    case 'pool':
      return trans.__('A pool');
    case 'notebook':
      return trans.__('A notebook');
    case 'project':
      return trans.__('A project');
    case 'team':
      return trans.__('A team');
    case 'cost-centre':
      return trans.__('A cost centre');
    case 'job':
      return trans.__('A job');
  }
}

function subjectText(scope: Exclude<BudgetScope, 'all'>, trans: TranslationBundle): string {
  switch (scope) {
    case 'user':
      return trans.__('User');
    case 'pool':
      return trans.__('Pool');
    case 'notebook':
      return trans.__('Path of the notebook');
    case 'project':
      return trans.__('Project');
    case 'team':
      return trans.__('Team');
    case 'cost-centre':
      return trans.__('Cost centre');
    case 'job':
      return trans.__('Id of the job');
  }
}

function subjectHelp(scope: BudgetScope, trans: TranslationBundle): string {
  switch (scope) {
    case 'project':
    case 'team':
    case 'cost-centre':
      return trans.__('As jobs are tagged: by %1, the notebook or the settings.', '--tag');
    default:
      return '';
  }
}

export function periodText(period: BudgetPeriod, trans: TranslationBundle): string {
  switch (period) {
    case 'day':
      return trans.__('a day');
    case 'month':
      return trans.__('a month');
    case 'total':
      return trans.__('all, from the beginning');
  }
}

/** What a budget does, as one chooses it. */
export function actionText(action: BudgetAction, trans: TranslationBundle): string {
  switch (action) {
    case 'warn':
      return trans.__('warn');
    case 'refuse':
      return trans.__('refuse new jobs');
    case 'ask':
      return trans.__('ask');
    case 'stop':
      return trans.__('stop jobs');
  }
}

/** What that means for jobs that run, and for new ones. */
export function actionHelp(action: BudgetAction, trans: TranslationBundle): string {
  switch (action) {
    case 'warn':
      return trans.__('All jobs go on, and say so.');
    case 'refuse':
      return trans.__('Jobs that run go on; no more may begin.');
    case 'ask':
      return trans.__('You are asked whether jobs that run, and new ones, may go on.');
    case 'stop':
      return trans.__('Jobs that run are stopped, with time to save; no more may begin.');
  }
}

function faultText(
  fault: BudgetFault | undefined,
  trans: TranslationBundle,
  name: BudgetField
): string {
  switch (fault) {
    case undefined:
      return '';
    case 'missing':
      return name === 'amount'
        ? trans.__('Say how much it is.')
        : trans.__('Say which one it counts.');
    case 'not an amount':
      return trans.__('This is no amount of money.');
    case 'not a share':
      return trans.__('A part of the amount: more than 0, and 100 at most.');
    case 'not a time':
      return trans.__('This is no number of minutes.');
  }
}
