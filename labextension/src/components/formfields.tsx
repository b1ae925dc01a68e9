/** The fields that forms in dialogs are made of. They only draw, and say what was typed. */

import { caretDownEmptyIcon } from '@jupyterlab/ui-components';
import React from 'react';

/** What a label gives to the control that it belongs to, beside what the control has. */
export interface IControlProps {
  value: string;
  onText: (text: string) => void;
  id?: string;
  required?: boolean;
  placeholder?: string;
  invalid?: boolean;
  describedBy?: string;
}

/** A label, the control it belongs to, its help, and what is wrong with what stands there. */
export function Labelled({
  id,
  label,
  help,
  problem,
  children
}: {
  /** Of the control; those of help and problem are made of it. */
  id: string;
  label: string;
  help: string;
  problem: string;
  children: React.ReactElement<IControlProps>;
}): React.JSX.Element {
  const helped = [help && `${id}-help`, problem && `${id}-problem`].filter(Boolean);
  return (
    <div className="aiinfra-Form-field">
      <label htmlFor={id}>{label}</label>
      {React.cloneElement(children, {
        id,
        invalid: problem !== '',
        describedBy: helped.join(' ')
      })}
      {help && (
        <span id={`${id}-help`} className="aiinfra-Form-help">
          {help}
        </span>
      )}
      {problem && (
        <span id={`${id}-problem`} className="aiinfra-Form-problem" role="alert">
          {problem}
        </span>
      )}
    </div>
  );
}

/** A box to tick. */
export function Flag({
  id,
  label,
  help,
  checked,
  onFlag
}: {
  id: string;
  label: string;
  help: string;
  checked: boolean;
  onFlag: (ticked: boolean) => void;
}): React.JSX.Element {
  return (
    <div className="aiinfra-Form-field">
      <label>
        <input
          type="checkbox"
          checked={checked}
          aria-describedby={help ? `${id}-help` : undefined}
          onChange={event => onFlag(event.target.checked)}
        />
        {label}
      </label>
      {help && (
        <span id={`${id}-help`} className="aiinfra-Form-help">
          {help}
        </span>
      )}
    </div>
  );
}

/** A line of text; `choices` are offered while one types, and anything else may be typed. */
export function TextInput({
  numeric = false,
  choices = [],
  ...props
}: IControlProps & {
  numeric?: boolean;
  choices?: readonly { value: string; label: string }[];
}): React.JSX.Element {
  const list = choices.length > 0 && props.id ? `${props.id}-choices` : undefined;
  return (
    <>
      <input
        {...common(props)}
        // Not of type number: that keeps what it cannot read from us, and from the message on it.
        type="text"
        inputMode={numeric ? 'decimal' : undefined}
        className="jp-mod-styled"
        placeholder={props.placeholder}
        autoComplete="off"
        spellCheck={false}
        list={list}
        onChange={event => props.onText(event.target.value)}
      />
      {list && (
        <datalist id={list}>
          {choices.map(({ value, label }) => (
            <option key={value} value={value} label={label} />
          ))}
        </datalist>
      )}
    </>
  );
}

/** A day and an hour; empty where none is chosen. */
export function MomentInput(props: IControlProps & { latest?: string }): React.JSX.Element {
  return (
    <input
      {...common(props)}
      type="datetime-local"
      className="jp-mod-styled"
      max={props.latest}
      onChange={event => props.onText(event.target.value)}
    />
  );
}

export function TextArea({
  rows = 3,
  ...props
}: IControlProps & { rows?: number }): React.JSX.Element {
  return (
    <textarea
      {...common(props)}
      className="jp-mod-styled"
      rows={rows}
      placeholder={props.placeholder}
      spellCheck={false}
      onChange={event => props.onText(event.target.value)}
    />
  );
}

/** One of a few. */
export function Choice({
  choices,
  ...props
}: IControlProps & {
  choices: readonly { value: string; label: string }[];
}): React.JSX.Element {
  return (
    <div className="jp-select-wrapper">
      <select
        {...common(props)}
        className="jp-mod-styled"
        onChange={event => props.onText(event.target.value)}
      >
        {choices.map(each => (
          <option key={each.value} value={each.value}>
            {each.label}
          </option>
        ))}
      </select>
      <caretDownEmptyIcon.react tag="span" stylesheet="select" right="8px" top="5px" width="18px" />
    </div>
  );
}

function common(props: IControlProps): React.HTMLAttributes<HTMLElement> & {
  id: string | undefined;
  value: string;
} {
  return {
    id: props.id,
    value: props.value,
    'aria-required': props.required ?? false,
    'aria-invalid': props.invalid ?? false,
    'aria-describedby': props.describedBy || undefined
  };
}
