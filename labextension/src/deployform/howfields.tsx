/** How many replicas a new endpoint has and who may call it; how another version takes over. */

import React from 'react';

import { given } from '../components/draftfield';
import { Choice, Flag, TextInput } from '../components/formfields';
import { Field, type IDeployFields } from './form';
import { HOW } from './line';
import { howHelp, howText } from './words';

export function NewFields({ draft, trans }: IDeployFields): React.JSX.Element {
  const isAsleep = draft.texts.least.trim() === '0';
  return (
    <>
      <div className="aiinfra-DeployForm-row">
        <Field {...{ draft, trans, name: 'least', label: trans.__('Replicas at least') }}>
          <TextInput {...given(draft, 'least')} numeric />
        </Field>
        <Field {...{ draft, trans, name: 'most', label: trans.__('At most') }}>
          <TextInput {...given(draft, 'most')} numeric />
        </Field>
      </div>
      {isAsleep && (
        <p className="aiinfra-Form-help">
          {trans.__('With 0 nothing runs while nobody calls: the next request waits for it.')}
        </p>
      )}
      <Field
        {...{ draft, trans, name: 'key', label: trans.__('Key for (optional)') }}
        help={trans.__(
          'Who calls it: with a key for them nobody may call without one. It is shown once.'
        )}
      >
        <TextInput {...given(draft, 'key')} placeholder={trans.__('such as anna or shop')} />
      </Field>
    </>
  );
}

export function ChangeFields({ draft, trans }: IDeployFields): React.JSX.Element {
  const { how, ungated } = draft.texts;
  return (
    <>
      <Field
        {...{ draft, trans, name: 'how', label: trans.__('Change') }}
        help={howHelp(how, trans)}
      >
        <Choice
          {...given(draft, 'how')}
          choices={HOW.map(value => ({ value, label: howText(value, trans) }))}
        />
      </Field>
      {how === 'canary' && (
        <div className="aiinfra-DeployForm-row">
          <Field {...{ draft, trans, name: 'percent', label: trans.__('Percent') }}>
            <TextInput {...given(draft, 'percent')} placeholder={trans.__('5,25,50')} />
          </Field>
          <Field {...{ draft, trans, name: 'step', label: trans.__('A step lasts') }}>
            <TextInput {...given(draft, 'step')} placeholder={trans.__('1m')} />
          </Field>
        </div>
      )}
      {how === 'header' && (
        <Field {...{ draft, trans, name: 'header', label: trans.__('Header') }}>
          <TextInput {...given(draft, 'header')} placeholder={trans.__('X-Version=new')} />
        </Field>
      )}
      {ungated === '' && (
        <div className="aiinfra-DeployForm-row">
          <Field {...{ draft, trans, name: 'errors', label: trans.__('Errors, %') }}>
            <TextInput {...given(draft, 'errors')} numeric />
          </Field>
          <Field {...{ draft, trans, name: 'p95', label: trans.__('p95, ms') }}>
            <TextInput {...given(draft, 'p95')} numeric />
          </Field>
          <Field {...{ draft, trans, name: 'agreement', label: trans.__('Same, %') }}>
            <TextInput {...given(draft, 'agreement')} numeric placeholder={trans.__('any')} />
          </Field>
        </div>
      )}
      <Flag
        id="aiinfra-deploy-ungated"
        label={trans.__('Without gates')}
        help={
          ungated === ''
            ? trans.__(
                'At most so many errors, 95 of 100 answers within so long, at least so many like the version before: else it is rolled back.'
              )
            : trans.__('It stays whatever it answers.')
        }
        checked={ungated !== ''}
        onFlag={ticked => draft.set('ungated', ticked ? 'yes' : '')}
      />
    </>
  );
}
