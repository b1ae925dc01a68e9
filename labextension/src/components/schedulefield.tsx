/** A field of the form of a schedule, and what is wrong with it in words. */

import type { TranslationBundle } from '@jupyterlab/translation';
import React from 'react';

import type { ScheduleDraft, ScheduleFault } from '../models/scheduledraft';
import { DraftField, given } from './draftfield';
import { Choice, Flag, TextArea, TextInput, type IControlProps } from './formfields';

export interface IScheduleFields {
  draft: ScheduleDraft;
  trans: TranslationBundle;
}

interface INamed extends IScheduleFields {
  name: string;
  label: string;
  help?: string;
}

/** A labelled control of one text of the draft. */
export function Field({
  draft,
  trans,
  name,
  label,
  help = '',
  children
}: INamed & { children: React.ReactElement<IControlProps> }): React.JSX.Element {
  const fault = faultText(draft.problems[name], trans);
  return (
    <DraftField form="schedule" {...{ draft, name, label, help, fault }}>
      {children}
    </DraftField>
  );
}

export function TextField({
  placeholder,
  numeric,
  required,
  choices,
  ...named
}: INamed & {
  placeholder?: string;
  numeric?: boolean;
  required?: boolean;
  choices?: readonly { value: string; label: string }[];
}): React.JSX.Element {
  const more = { placeholder, numeric, required, choices };
  const set = Object.fromEntries(Object.entries(more).filter(([, value]) => value !== undefined));
  return (
    <Field {...named}>
      <TextInput {...given(named.draft, named.name)} {...set} />
    </Field>
  );
}

export function LinesField({ rows, ...named }: INamed & { rows?: number }): React.JSX.Element {
  return (
    <Field {...named}>
      <TextArea {...given(named.draft, named.name)} {...(rows !== undefined && { rows })} />
    </Field>
  );
}

export function ChoiceField({
  choices,
  ...named
}: INamed & { choices: readonly { value: string; label: string }[] }): React.JSX.Element {
  return (
    <Field {...named}>
      <Choice {...given(named.draft, named.name)} choices={choices} />
    </Field>
  );
}

export function FlagField({ draft, name, label, help = '' }: INamed): React.JSX.Element {
  return (
    <Flag
      id={`aiinfra-schedule-${name}`}
      {...{ label, help }}
      checked={draft.has(name)}
      onFlag={ticked => draft.set(name, ticked ? 'yes' : '')}
    />
  );
}

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
