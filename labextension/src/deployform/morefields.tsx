/** What else may be said of what is deployed. */

import React from 'react';

import { FlagField, TextField, type IDeployFields } from './fields';

/** Shut until one wants it: what is usual is right for most. */
export function MoreFields({ draft, trans }: IDeployFields): React.JSX.Element {
  return (
    <details className="aiinfra-DeployForm-more">
      <summary>{trans.__('More')}</summary>
      <div className="aiinfra-DeployForm-columns">
        {draft.old === null && <RoutingFields {...{ draft, trans }} />}
        <TextField
          {...{ draft, trans, name: 'note', label: trans.__('Note') }}
          help={trans.__('What this version is about.')}
        />
        <FlagField
          {...{ draft, trans, name: 'oneAtATime', label: trans.__('One example at a time') }}
          help={trans.__('The function takes one, not a batch of them.')}
        />
        <FlagField
          {...{
            draft,
            trans,
            name: 'unreplayed',
            label: trans.__('Deploy it whatever it answers')
          }}
          help={trans.__('Without holding it against the calls that were recorded.')}
        />
      </div>
    </details>
  );
}

/** Of an endpoint that is there, these are on its page, under “Settings”. */
function RoutingFields({ draft, trans }: IDeployFields): React.JSX.Element {
  return (
    <>
      <TextField
        {...{ draft, trans, name: 'sample', label: trans.__('Requests kept, %') }}
        help={trans.__('With their answers, without what looks like a secret.')}
        numeric
        placeholder="0"
      />
      <TextField
        {...{ draft, trans, name: 'redact', label: trans.__('Left out of them') }}
        help={trans.__('Names, or JSON pointers, with commas between.')}
        placeholder={trans.__('email, /inputs/0/name')}
      />
      <TextField
        {...{ draft, trans, name: 'origins', label: trans.__('Pages that may call it') }}
        help={trans.__('Origins, such as https://shop.example: their browsers may ask.')}
      />
      <TextField
        {...{ draft, trans, name: 'sticky', label: trans.__('A caller keeps to a version by') }}
        help={trans.__('The header whose value decides on it.')}
        placeholder={trans.__('X-Session-Id')}
      />
      <TextField
        {...{ draft, trans, name: 'tolerance', label: trans.__('Same answers differ by, %') }}
        help={trans.__('Numbers of two versions that are this near are the same.')}
        numeric
        placeholder="0.1"
      />
      <FlagField
        {...{ draft, trans, name: 'once', label: trans.__('Ask a replica only once') }}
        help={trans.__('For models that do something each time: what is lost is not repeated.')}
      />
    </>
  );
}
