/** How many replicas a new endpoint has and who may call it; how another version takes over. */

import React from 'react';

import { ChoiceField, FlagField, TextField, type IDeployFields } from './fields';
import { HOW } from './line';
import { howHelp, howText } from './words';

export function NewFields({ draft, trans }: IDeployFields): React.JSX.Element {
  const isAsleep = draft.texts.least.trim() === '0';
  return (
    <>
      <div className="aiinfra-DeployForm-row">
        <TextField
          {...{ draft, trans, name: 'least', label: trans.__('Replicas at least') }}
          numeric
        />
        <TextField {...{ draft, trans, name: 'most', label: trans.__('At most') }} numeric />
      </div>
      {isAsleep && (
        <p className="aiinfra-Form-help">
          {trans.__('With 0 nothing runs while nobody calls: the next request waits for it.')}
        </p>
      )}
      <TextField
        {...{ draft, trans, name: 'key', label: trans.__('Key for (optional)') }}
        help={trans.__(
          'Who calls it: with a key for them nobody may call without one. It is shown once.'
        )}
        placeholder={trans.__('such as anna or shop')}
      />
    </>
  );
}

export function ChangeFields({ draft, trans }: IDeployFields): React.JSX.Element {
  const { how, ungated } = draft.texts;
  return (
    <>
      <ChoiceField
        {...{ draft, trans, name: 'how', label: trans.__('Change') }}
        help={howHelp(how, trans)}
        choices={HOW.map(value => ({ value, label: howText(value, trans) }))}
      />
      {how === 'canary' && (
        <div className="aiinfra-DeployForm-row">
          <TextField
            {...{ draft, trans, name: 'percent', label: trans.__('Percent') }}
            placeholder={trans.__('5,25,50')}
          />
          <TextField
            {...{ draft, trans, name: 'step', label: trans.__('A step lasts') }}
            placeholder={trans.__('1m')}
          />
        </div>
      )}
      {how === 'header' && (
        <TextField
          {...{ draft, trans, name: 'header', label: trans.__('Header') }}
          placeholder={trans.__('X-Version=new')}
        />
      )}
      {ungated === '' && (
        <div className="aiinfra-DeployForm-row">
          <TextField {...{ draft, trans, name: 'errors', label: trans.__('Errors, %') }} numeric />
          <TextField {...{ draft, trans, name: 'p95', label: trans.__('p95, ms') }} numeric />
          <TextField
            {...{ draft, trans, name: 'agreement', label: trans.__('Same, %') }}
            numeric
            placeholder={trans.__('any')}
          />
        </div>
      )}
      <FlagField
        {...{ draft, trans, name: 'ungated', label: trans.__('Without gates') }}
        help={
          ungated === ''
            ? trans.__(
                'At most so many errors, 95 of 100 answers within so long, at least so many like the version before: else it is rolled back.'
              )
            : trans.__('It stays whatever it answers.')
        }
      />
    </>
  );
}
