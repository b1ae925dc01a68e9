/** What else may be said of a schedule: what is missed, results, limits, and who is told. */

import React from 'react';

import { FORMS } from '../models/scheduletexts';
import { given } from './draftfield';
import { MomentInput } from './formfields';
import {
  ChoiceField,
  Field,
  FlagField,
  LinesField,
  TextField,
  type IScheduleFields
} from './schedulefield';

/** Shut until one wants them: what is usual is right for most. */
export function MoreFields({ draft, trans }: IScheduleFields): React.JSX.Element {
  const groups: [string, string, React.JSX.Element, readonly string[]][] = [
    [
      'missed',
      trans.__('Missed, late and failed runs'),
      <Missed key="m" {...{ draft, trans }} />,
      MISSED
    ],
    ['days', trans.__('Days left out, and the end'), <Days key="d" {...{ draft, trans }} />, DAYS],
    ['results', trans.__('Results'), <Results key="r" {...{ draft, trans }} />, RESULTS],
    [
      'kernel',
      trans.__('Kernel, files and limits'),
      <Kernel key="k" {...{ draft, trans }} />,
      KERNEL
    ],
    ['notify', trans.__('Tell somebody'), <Notify key="n" {...{ draft, trans }} />, NOTIFY]
  ];
  return (
    <div className="aiinfra-ScheduleForm-more">
      {groups.map(([id, title, fields, names]) => (
        <More key={id} title={title} isWrong={isWrong(draft, names)}>
          {fields}
        </More>
      ))}
    </div>
  );
}

const MISSED = [
  'catchUp',
  'window',
  'overlap',
  'parallel',
  'retries',
  'backoff',
  'jitter',
  'firedBy'
];
const DAYS = ['until', 'except'];
const RESULTS = ['outputs', 'keepCount'];
const KERNEL = ['kernel', 'environment', 'files', 'gpus', 'cellTime', 'runTime'];
const NOTIFY = ['notifyFailure', 'notifySuccess', 'notifyMissed'];

function isWrong(
  { problems, refusals }: IScheduleFields['draft'],
  names: readonly string[]
): boolean {
  return names.some(name => problems[name] !== undefined || refusals[name] !== undefined);
}

/** A group that opens; one with something wrong in it is open. */
function More({
  title,
  isWrong: wrong,
  children
}: {
  title: string;
  isWrong: boolean;
  children: React.ReactNode;
}): React.JSX.Element {
  const [isOpen, setOpen] = React.useState(false);
  return (
    <details open={isOpen || wrong} onToggle={event => setOpen(event.currentTarget.open)}>
      <summary>{title}</summary>
      <div className="aiinfra-ScheduleForm-fields">{children}</div>
    </details>
  );
}

function Missed({ draft, trans }: IScheduleFields): React.JSX.Element {
  const length = trans.__('Such as 90s, 15m or 2d.');
  return (
    <>
      <ChoiceField
        {...{
          draft,
          trans,
          name: 'catchUp',
          label: trans.__('What was missed while no server was up')
        }}
        choices={[
          { value: 'none', label: trans.__('is left out') },
          { value: 'last', label: trans.__('is run once, for the last of it') },
          { value: 'all', label: trans.__('is run, one after the other') }
        ]}
      />
      {draft.text('catchUp') !== 'none' && (
        <TextField
          {...{ draft, trans, name: 'window', label: trans.__('Unless it is older than') }}
          help={trans.__('Empty: however old. %1', length)}
        />
      )}
      <ChoiceField
        {...{ draft, trans, name: 'overlap', label: trans.__('When the run before is not over') }}
        choices={[
          { value: 'skip', label: trans.__('the new one is skipped') },
          { value: 'queue', label: trans.__('the new one waits') },
          { value: 'cancel-previous', label: trans.__('that one is cancelled') },
          { value: 'parallel', label: trans.__('several run at once') }
        ]}
      />
      {draft.text('overlap') === 'parallel' && (
        <TextField
          {...{ draft, trans, name: 'parallel', label: trans.__('At most at once') }}
          numeric
        />
      )}
      <TextField
        {...{ draft, trans, name: 'retries', label: trans.__('Tries again after a failure') }}
        numeric
      />
      {draft.text('retries').trim() !== '0' && (
        <TextField
          {...{ draft, trans, name: 'backoff', label: trans.__('First pause before that') }}
          help={trans.__('Then each time twice as long.')}
        />
      )}
      <ChoiceField
        {...{ draft, trans, name: 'firedBy', label: trans.__('Begun by') }}
        help={
          draft.text('firedBy') === 'pool'
            ? trans.__(
                'Also while no server is up. It knows no retries, delay, GPUs, environment or secrets.'
              )
            : ''
        }
        choices={[
          { value: 'server', label: trans.__('a Jupyter server, or jupyter aiinfra serve') },
          { value: 'pool', label: trans.__('cron on the node of the pool') }
        ]}
      />
      <TextField
        {...{ draft, trans, name: 'jitter', label: trans.__('Begin up to so much later') }}
        help={trans.__('So that not all begin in the same second. %1', length)}
      />
    </>
  );
}

function Days({ draft, trans }: IScheduleFields): React.JSX.Element {
  return (
    <>
      <Field
        {...{ draft, trans, name: 'until', label: trans.__('Not after') }}
        help={trans.__('In the time zone above. Empty: it has no end.')}
      >
        <MomentInput {...given(draft, 'until')} />
      </Field>
      <LinesField
        {...{ draft, trans, name: 'except', label: trans.__('Days left out') }}
        rows={2}
        help={trans.__('A day or a stretch a line: 2026-12-24 or 2026-12-24/2027-01-06.')}
      />
    </>
  );
}

function Results({ draft, trans }: IScheduleFields): React.JSX.Element {
  const words: Readonly<Record<string, string>> = {
    ipynb: trans.__('notebook'),
    html: trans.__('HTML page'),
    pdf: trans.__('PDF'),
    py: trans.__('script')
  };
  return (
    <>
      <LinesField
        {...{
          draft,
          trans,
          name: 'outputs',
          label: trans.__('Folders that results are stored in')
        }}
        rows={2}
        help={trans.__(
          'URLs, one a line: file://, s3://, gs://, az:// or sftp://. Empty: kept here.'
        )}
      />
      <div className="aiinfra-ScheduleForm-forms" role="group" aria-label={trans.__('Stored as')}>
        <span>{trans.__('Stored as')}</span>
        {FORMS.map(form => (
          <FlagField
            key={form}
            {...{ draft, trans, name: `form:${form}`, label: words[form] ?? form }}
          />
        ))}
      </div>
      <TextField
        {...{ draft, trans, name: 'keepCount', label: trans.__('Keep so many of the newest') }}
        help={trans.__('Empty: all. Results of failed runs stay in any case.')}
        numeric
      />
    </>
  );
}

function Kernel({ draft, trans }: IScheduleFields): React.JSX.Element {
  const length = trans.__('Empty: without a limit. Such as 90s, 15m or 2h.');
  return (
    <>
      <TextField
        {...{ draft, trans, name: 'kernel', label: trans.__('Kernel') }}
        help={trans.__('Empty: the one that the notebook names.')}
        choices={draft.kernels}
      />
      <TextField
        {...{ draft, trans, name: 'environment', label: trans.__('Python environment') }}
        help={trans.__(
          'Such as requirements.txt; it is built on the pool. Empty: that of the pool.'
        )}
      />
      <LinesField
        {...{ draft, trans, name: 'files', label: trans.__('Files that it reads') }}
        rows={2}
        help={trans.__(
          'Files and folders beside the notebook, one a line; they are frozen with it.'
        )}
      />
      <TextField
        {...{ draft, trans, name: 'gpus', label: trans.__('GPUs') }}
        help={trans.__('Empty: none.')}
        numeric
      />
      <TextField
        {...{ draft, trans, name: 'cellTime', label: trans.__('A cell may take') }}
        help={length}
      />
      <TextField
        {...{ draft, trans, name: 'runTime', label: trans.__('A run may take') }}
        help={length}
      />
    </>
  );
}

function Notify({ draft, trans }: IScheduleFields): React.JSX.Element {
  return (
    <>
      <p className="aiinfra-Form-help">
        {trans.__('Names of targets of the settings, with commas between them.')}
      </p>
      <TextField
        {...{ draft, trans, name: 'notifyFailure', label: trans.__('When a run fails') }}
      />
      <TextField
        {...{ draft, trans, name: 'notifySuccess', label: trans.__('When a run succeeds') }}
      />
      <TextField
        {...{ draft, trans, name: 'notifyMissed', label: trans.__('When a time is missed') }}
      />
    </>
  );
}
