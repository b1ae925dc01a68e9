/** The parameters of a notebook, each with a control that fits its type. */

import type { TranslationBundle } from '@jupyterlab/translation';
import React from 'react';

import type { ValueSchema } from '../api/types';
import { OTHERS, PARAMETER } from '../models/scheduletexts';
import { isNullable, typesOf, type IValueField } from '../models/valuefields';
import { given } from './draftfield';
import { Choice, TextArea, TextInput, type IControlProps } from './formfields';
import { Field, LinesField, type IScheduleFields } from './schedulefield';

export function ParameterFields({ draft, trans }: IScheduleFields): React.JSX.Element {
  const { parameters } = draft;
  return (
    <fieldset className="aiinfra-ScheduleForm-group">
      <legend>{trans.__('Parameters')}</legend>
      {parameters === null && (
        <p className="aiinfra-Form-help" role="status">
          {draft.previewError === null
            ? trans.__('Reading the notebook…')
            : trans.__('Not known: the notebook could not be read.')}
        </p>
      )}
      {draft.isOpen && (
        <LinesField
          {...{ draft, trans, name: OTHERS, label: trans.__('Values, as JSON') }}
          rows={2}
          help={trans.__('Such as {"lr": 0.1}. What this notebook takes is known of Python only.')}
        />
      )}
      {parameters?.length === 0 && !draft.isOpen && (
        <p className="aiinfra-Form-help">
          {trans.__('This notebook takes none: it has no cell with the tag “parameters”.')}
        </p>
      )}
      {parameters?.map(field => (
        <Field
          key={field.name}
          {...{ draft, trans }}
          name={PARAMETER + field.name}
          label={field.required ? trans.__('%1 (required)', field.name) : field.name}
          help={helpText(field, trans)}
        >
          {control(field, given(draft, PARAMETER + field.name), trans)}
        </Field>
      ))}
    </fieldset>
  );
}

type Given = Pick<IControlProps, 'value' | 'onText'>;

function control(
  field: IValueField,
  props: Given,
  trans: TranslationBundle
): React.ReactElement<IControlProps> {
  const { kind, required, usual, choices } = field;
  const placeholder = usual === '' ? '' : trans.__('%1 (of the notebook)', usual);
  switch (kind) {
    case 'choice':
    case 'flag':
      return (
        <Choice
          {...props}
          required={required}
          choices={[
            { value: '', label: placeholder },
            ...(kind === 'flag' ? ['true', 'false'] : choices).map(value => ({
              value,
              label: plain(value)
            })),
            ...(isNullable(field.schema) ? [{ value: 'null', label: trans.__('nothing') }] : [])
          ]}
        />
      );
    case 'date':
    case 'moment':
      return <DateInput {...props} required={required} withTime={kind === 'moment'} />;
    case 'json':
      return <TextArea {...props} rows={2} required={required} placeholder={placeholder} />;
    default:
      return (
        <TextInput
          {...props}
          numeric={kind === 'number'}
          required={required}
          placeholder={placeholder}
        />
      );
  }
}

/** A day, or a day with a time, of no certain zone: it is the notebook's to say which. */
function DateInput({
  withTime,
  value,
  onText,
  ...props
}: IControlProps & { withTime: boolean }): React.JSX.Element {
  // What names a secret, or has a zone of its own, is no day that a browser can show.
  const isPlain = value === '' || /^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d)?)?$/.test(value);
  if (!isPlain) {
    return <TextInput {...{ value, onText }} {...props} />;
  }
  return (
    <input
      id={props.id}
      type={withTime ? 'datetime-local' : 'date'}
      className="jp-mod-styled"
      value={value}
      aria-required={props.required ?? false}
      aria-invalid={props.invalid ?? false}
      aria-describedby={props.describedBy || undefined}
      onChange={event => onText(event.target.value)}
    />
  );
}

/** A text as it is, without the quotes that tell it from a number. */
function plain(value: string): string {
  const found: unknown = JSON.parse(value);
  return typeof found === 'string' ? found : value;
}

function helpText(field: IValueField, trans: TranslationBundle): string {
  const { kind, schema, usual } = field;
  const said = schema.description ?? '';
  const expected = kind === 'choice' || kind === 'flag' ? '' : expectedText(field, trans);
  const shown =
    usual !== '' && (kind === 'date' || kind === 'moment')
      ? trans.__('empty: %1, of the notebook', usual)
      : '';
  return [expected, said === '' || isLimits(said, field) ? '' : said, shown]
    .filter(Boolean)
    .join(' · ');
}

/** Whether a comment only says the limits, which stand there in words already. */
function isLimits(comment: string, { name, schema }: IValueField): boolean {
  const isLimited = Object.keys(schema).some(
    key => key.endsWith('inimum') || key.endsWith('aximum')
  );
  const rest = comment.replaceAll(name, '').replace(/[\d\s.<>=eE+-]/g, '');
  return isLimited && /^(in)?(,)?$/.test(rest);
}

function expectedText({ kind, schema, isSecret }: IValueField, trans: TranslationBundle): string {
  if (isSecret) {
    return trans.__('the name of a secret: secret:NAME, looked up where the notebook runs');
  }
  const nothing = isNullable(schema) ? trans.__(', or null for none') : '';
  switch (kind) {
    case 'number':
      return numberText(schema, trans) + nothing;
    case 'json':
      return typesOf(schema)[0] === 'array'
        ? trans.__('a list as JSON: [1, 2]')
        : trans.__('a mapping as JSON: {"a": 1}');
    case 'any':
      return trans.__('a number, true, false, JSON or a text');
    default:
      return nothing === '' ? '' : trans.__('null for none');
  }
}

function numberText(schema: ValueSchema, trans: TranslationBundle): string {
  const limits = [
    schema.minimum !== undefined && trans.__('at least %1', schema.minimum),
    schema.exclusiveMinimum !== undefined && trans.__('more than %1', schema.exclusiveMinimum),
    schema.maximum !== undefined && trans.__('at most %1', schema.maximum),
    schema.exclusiveMaximum !== undefined && trans.__('less than %1', schema.exclusiveMaximum),
    schema.multipleOf !== undefined && trans.__('in steps of %1', schema.multipleOf)
  ].filter(each => each !== false);
  const isWhole = typesOf(schema)[0] === 'integer';
  return [isWhole ? trans.__('a whole number') : trans.__('a number'), ...limits].join(', ');
}
