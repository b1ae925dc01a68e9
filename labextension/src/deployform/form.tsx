/** The form that deploys what a notebook has, or gives an endpoint another version, in a dialog. */

import type { TranslationBundle } from '@jupyterlab/translation';
import React from 'react';

import { DraftField, given } from '../components/draftfield';
import { showForm } from '../components/formdialog';
import { Choice, Flag, TextInput, type IControlProps } from '../components/formfields';
import { useSignal } from '../components/usesignal';
import { copyText } from '../widgets/dom';
import type { DeployDraft, DeployField, IDeployed } from './draft';
import { NewFields, ChangeFields } from './howfields';
import { namedSource } from './line';
import { faultText, stageText } from './words';

export interface IDeployFields {
  draft: DeployDraft;
  trans: TranslationBundle;
}

/** Show the form; what it led to, `'insert'` where its line is wanted in a cell, or `null`. */
export async function showDeployForm(
  draft: DeployDraft,
  title: string,
  trans: TranslationBundle
): Promise<IDeployed | 'insert' | null> {
  const closing = new AbortController();
  void draft.look();
  try {
    const done = await showForm({
      draft,
      title,
      accept: trans.__('Deploy'),
      sending: trans.__('Deploying…'),
      fields: <Fields {...{ draft, trans }} onInsert={() => closing.abort()} />,
      className: 'aiinfra-DeployDialog',
      closing: closing.signal,
      trans
    });
    return done ?? (closing.signal.aborted ? 'insert' : null);
  } finally {
    draft.dispose();
  }
}

function Fields({
  draft,
  trans,
  onInsert
}: IDeployFields & { onInsert: () => void }): React.JSX.Element {
  useSignal(draft.changed);
  const { old } = draft;
  return (
    <div className="aiinfra-DeployForm">
      <p className="aiinfra-Form-what">
        {draft.notebook}
        <span className="aiinfra-Form-help">
          {trans.__('Taken from the kernel as it is now; no cell is run again.')}
        </span>
      </p>
      <div className="aiinfra-DeployForm-columns">
        <fieldset className="aiinfra-DeployForm-group">
          <legend>{trans.__('What')}</legend>
          <SourceFields {...{ draft, trans }} />
        </fieldset>
        <fieldset className="aiinfra-DeployForm-group">
          <legend>{trans.__('Where')}</legend>
          <WhereFields {...{ draft, trans }} />
        </fieldset>
        <fieldset className="aiinfra-DeployForm-group">
          <legend>
            {old === null ? trans.__('How many, and for whom') : trans.__('How it takes over')}
          </legend>
          {old === null ? (
            <NewFields {...{ draft, trans }} />
          ) : (
            <ChangeFields {...{ draft, trans }} />
          )}
        </fieldset>
      </div>
      <MoreFields {...{ draft, trans }} />
      <Line {...{ draft, trans, onInsert }} />
      <p className="aiinfra-DeployForm-stage" role="status">
        {stageText(draft, trans)}
      </p>
    </div>
  );
}

function SourceFields({ draft, trans }: IDeployFields): React.JSX.Element {
  const { servable, lookProblem, source, texts } = draft;
  const isOther = texts.source === 'other';
  const sources = servable?.sources ?? [];
  const needsExample = source?.kind === 'module' && source.calls === 0;
  return (
    <>
      <Field
        {...{ draft, trans, name: 'source', label: trans.__('Model') }}
        help={sourceHelp({ draft, trans })}
      >
        <Choice
          {...given(draft, 'source')}
          choices={[
            ...(texts.source === ''
              ? [{ value: '', label: servable ? trans.__('choose') : trans.__('looking…') }]
              : []),
            ...(draft.isTagged
              ? [{ value: 'tagged', label: trans.__('the cell tagged “predict”') }]
              : []),
            ...sources.map(({ name, kind, text }) => ({
              value: namedSource(name),
              label: kind === 'module' ? trans.__('%1 (module %2)', name, text) : name + text
            })),
            { value: 'other', label: trans.__('a model of MLflow, or a folder…') }
          ]}
        />
      </Field>
      {lookProblem !== null && (
        <p className="aiinfra-Form-problem" role="alert">
          {[lookProblem.message, lookProblem.hint].filter(Boolean).join(' ')}
        </p>
      )}
      {isOther ? (
        <Field
          {...{ draft, trans, name: 'other', label: trans.__('URI or folder') }}
          help={trans.__('models:/NAME@ALIAS, runs:/ID/PATH, or a folder with endpoint.json.')}
        >
          <TextInput
            {...given(draft, 'other')}
            required
            placeholder={trans.__('models:/digits@champion')}
          />
        </Field>
      ) : (
        <Field
          {...{
            draft,
            trans,
            name: 'example',
            label: needsExample ? trans.__('Example') : trans.__('Example (optional)')
          }}
          help={trans.__('The argument of one call: JSON, or a name of the notebook.')}
        >
          <TextInput
            {...given(draft, 'example')}
            required={needsExample}
            placeholder="[[0, 0.5]]"
            choices={(servable?.examples ?? []).map(({ name, text }) => ({
              value: name,
              label: text
            }))}
          />
        </Field>
      )}
    </>
  );
}

function sourceHelp({ draft, trans }: IDeployFields): string {
  const { servable, source, texts } = draft;
  if (source !== null && source.calls > 0) {
    return trans._n(
      '%1 recorded call has to be answered as it was.',
      '%1 recorded calls have to be answered as they were.',
      source.calls
    );
  }
  if (texts.source === 'tagged') {
    return trans.__('The function that this cell defines, as the kernel has it.');
  }
  return servable?.sources.length === 0
    ? trans.__('The kernel has no function and no module of this notebook: run its cells first.')
    : '';
}

function WhereFields({ draft, trans }: IDeployFields): React.JSX.Element {
  const { old, pools, endpoints } = draft;
  const newest = Math.max(0, ...(old?.versions.map(({ number }) => number) ?? []));
  return (
    <>
      <Field
        {...{ draft, trans, name: 'name', label: trans.__('Endpoint') }}
        help={
          old === null
            ? trans.__('A new one. Its name stands in its URL.')
            : trans.__('There is one: it gets version %1.', newest + 1)
        }
      >
        <TextInput
          {...given(draft, 'name')}
          required
          choices={endpoints.map(({ name, state }) => ({ value: name, label: state }))}
        />
      </Field>
      <Field
        {...{ draft, trans, name: 'pool', label: trans.__('Pool') }}
        help={
          pools.length === 0 ? trans.__('No pool is attached: attach one in the panel first.') : ''
        }
      >
        <Choice
          {...given(draft, 'pool')}
          choices={[
            ...(old !== null || pools.length === 0
              ? [{ value: '', label: old === null ? '–' : trans.__('as before') }]
              : []),
            ...pools.map(({ name, kind, status }) => ({
              value: name,
              label:
                status === 'unreachable'
                  ? trans.__('%1 (%2, unreachable)', name, kind)
                  : `${name} (${kind})`
            }))
          ]}
        />
      </Field>
    </>
  );
}

function MoreFields({ draft, trans }: IDeployFields): React.JSX.Element {
  const flag = (name: DeployField, label: string, help: string): React.JSX.Element => (
    <Flag
      id={`aiinfra-deploy-${name}`}
      {...{ label, help }}
      checked={draft.texts[name] !== ''}
      onFlag={ticked => draft.set(name, ticked ? 'yes' : '')}
    />
  );
  return (
    <details className="aiinfra-DeployForm-more">
      <summary>{trans.__('More')}</summary>
      <div className="aiinfra-DeployForm-columns">
        {draft.old === null && (
          <Field
            {...{ draft, trans, name: 'origins', label: trans.__('Pages that may call it') }}
            help={trans.__('Origins, such as https://shop.example: their browsers may ask.')}
          >
            <TextInput {...given(draft, 'origins')} />
          </Field>
        )}
        <Field
          {...{ draft, trans, name: 'note', label: trans.__('Note') }}
          help={trans.__('What this version is about.')}
        >
          <TextInput {...given(draft, 'note')} />
        </Field>
        {flag(
          'oneAtATime',
          trans.__('One example at a time'),
          trans.__('The function takes one, not a batch of them.')
        )}
        {flag(
          'unreplayed',
          trans.__('Deploy it whatever it answers'),
          trans.__('Without holding it against the calls that were recorded.')
        )}
      </div>
    </details>
  );
}

/** What is run, and the same for a cell. */
function Line({
  draft,
  trans,
  onInsert
}: IDeployFields & { onInsert: () => void }): React.JSX.Element {
  return (
    <div className="aiinfra-DeployForm-line">
      <code aria-label={trans.__('The line that is run')}>{draft.line}</code>
      <span>
        <button
          type="button"
          className="jp-mod-styled"
          onClick={() => void copyText(draft.line)}
          title={trans.__('Copy the line')}
        >
          {trans.__('Copy')}
        </button>
        <button
          type="button"
          className="jp-mod-styled"
          disabled={draft.busy || !draft.isWhole()}
          title={trans.__('Put the line into a cell of the notebook, and run nothing')}
          onClick={onInsert}
        >
          {trans.__('Insert as cell')}
        </button>
      </span>
    </div>
  );
}

/** A labelled control of one text of the draft. */
export function Field({
  draft,
  trans,
  name,
  label,
  help = '',
  children
}: IDeployFields & {
  name: DeployField;
  label: string;
  help?: string;
  children: React.ReactElement<IControlProps>;
}): React.JSX.Element {
  const fault = faultText(draft.problems[name], trans);
  return (
    <DraftField form="deploy" {...{ draft, name, label, help, fault }}>
      {children}
    </DraftField>
  );
}
