/** A field of a form, tied to the draft that the form fills in. */

import React from 'react';

import type { RequestError } from '../request';
import { refusalText } from './formdialog';
import { Labelled, type IControlProps } from './formfields';

/** What a field needs of its draft; `F` are the names of the fields. */
export interface IFilled<F extends string> {
  readonly texts: Readonly<Record<F, string>>;
  readonly refusals: Readonly<Partial<Record<F, RequestError>>>;
  set(field: F, text: string): void;
}

/** What a control is given: what stands in the field, and where what is typed goes. */
export function given<F extends string>(
  draft: IFilled<F>,
  name: F
): Pick<IControlProps, 'value' | 'onText'> {
  return { value: draft.texts[name], onText: text => draft.set(name, text) };
}

/** A labelled control; what the server has against it goes before the fault found here. */
export function DraftField<F extends string>({
  draft,
  form,
  name,
  label,
  help,
  fault,
  children
}: {
  draft: IFilled<F>;
  /** Tells its ids from those of other forms. */
  form: string;
  name: F;
  label: string;
  help: string;
  fault: string;
  children: React.ReactElement<IControlProps>;
}): React.JSX.Element {
  const problem = refusalText(draft.refusals[name]) || fault;
  return (
    <Labelled id={`aiinfra-${form}-${name}`} {...{ label, help, problem }}>
      {children}
    </Labelled>
  );
}
