/** The form that deploys what a notebook has, or gives an endpoint another version, in a dialog. */

import type { TranslationBundle } from '@jupyterlab/translation';
import React from 'react';

import { showForm } from '../components/formdialog';
import { useSignal } from '../components/usesignal';
import { copyText } from '../widgets/dom';
import type { DeployDraft, IDeployed } from './draft';
import type { IDeployFields } from './fields';
import { ChangeFields, NewFields } from './howfields';
import { MoreFields } from './morefields';
import { SourceFields, WhereFields } from './whatfields';
import { stageText } from './words';

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
