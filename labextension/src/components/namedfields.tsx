/** The fields of one form, by the names that its draft has for them. */

import type { TranslationBundle } from '@jupyterlab/translation';
import React from 'react';

import { DraftField, given, type IFilled } from './draftfield';
import { Choice, Flag, TextArea, TextInput, type IControlProps } from './formfields';

/** `F` are the names of the fields, `P` what may be wrong with one. */
export interface IFilledForm<F extends string, P extends string> {
  draft: IFilled<F> & { readonly problems: Readonly<Partial<Record<F, P>>> };
  trans: TranslationBundle;
}

export interface INamed<F extends string, P extends string> extends IFilledForm<F, P> {
  name: F;
  label: string;
  help?: string;
}

export interface IChoices {
  choices: readonly { value: string; label: string }[];
}

export type Drawn<T> = (props: T) => React.JSX.Element;

/** Controls that are tied to a draft by a name, and say what is wrong with what stands there. */
export interface INamedFields<F extends string, P extends string> {
  Field: Drawn<INamed<F, P> & { children: React.ReactElement<IControlProps> }>;
  TextField: Drawn<
    INamed<F, P> &
      Partial<IChoices> &
      Pick<IControlProps, 'placeholder' | 'required'> & {
        numeric?: boolean;
      }
  >;
  LinesField: Drawn<INamed<F, P> & { rows?: number }>;
  ChoiceField: Drawn<INamed<F, P> & IChoices>;
  FlagField: Drawn<INamed<F, P>>;
}

/**
 * Make the fields of a form. `form` tells its ids from those of other forms; `faultText` says a
 * fault in words, and nothing where there is none.
 */
export function namedFields<F extends string, P extends string>(
  form: string,
  faultText: (fault: P | undefined, trans: TranslationBundle, name: F) => string
): INamedFields<F, P> {
  const Field: INamedFields<F, P>['Field'] = ({ trans, help = '', children, ...named }) => (
    <DraftField
      {...{ form, help, ...named }}
      fault={faultText(named.draft.problems[named.name], trans, named.name)}
    >
      {children}
    </DraftField>
  );
  const TextField: INamedFields<F, P>['TextField'] = ({
    placeholder,
    numeric,
    required,
    choices,
    ...named
  }) => {
    const more = { placeholder, numeric, required, choices };
    const set = Object.fromEntries(Object.entries(more).filter(([, value]) => value !== undefined));
    return (
      <Field {...named}>
        <TextInput {...given(named.draft, named.name)} {...set} />
      </Field>
    );
  };
  const LinesField: INamedFields<F, P>['LinesField'] = ({ rows, ...named }) => (
    <Field {...named}>
      <TextArea {...given(named.draft, named.name)} {...(rows !== undefined && { rows })} />
    </Field>
  );
  const ChoiceField: INamedFields<F, P>['ChoiceField'] = ({ choices, ...named }) => (
    <Field {...named}>
      <Choice {...given(named.draft, named.name)} choices={choices} />
    </Field>
  );
  const FlagField: INamedFields<F, P>['FlagField'] = ({ draft, name, label, help = '' }) => (
    <Flag
      id={`aiinfra-${form}-${name}`}
      {...{ label, help }}
      // A field that nobody has filled in may not be there at all.
      checked={(draft.texts[name] ?? '') !== ''}
      onFlag={ticked => draft.set(name, ticked ? 'yes' : '')}
    />
  );
  return { Field, TextField, LinesField, ChoiceField, FlagField };
}
