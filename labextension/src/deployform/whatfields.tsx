/** What is deployed, and where it runs. */

import React from 'react';

import type { EndpointItem } from '../api/types';
import { mainOf } from '../endpointpage/words';
import { ChoiceField, TextField, type IDeployFields } from './fields';
import { FORMS, NO_FALLBACK, namedSource } from './line';
import { formHelp, formText } from './words';

export function SourceFields({ draft, trans }: IDeployFields): React.JSX.Element {
  const { servable, lookProblem, source, texts } = draft;
  const sources = servable?.sources ?? [];
  return (
    <>
      <ChoiceField
        {...{ draft, trans, name: 'source', label: trans.__('Model') }}
        help={sourceHelp({ draft, trans })}
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
      {lookProblem !== null && (
        <p className="aiinfra-Form-problem" role="alert">
          {[lookProblem.message, lookProblem.hint].filter(Boolean).join(' ')}
        </p>
      )}
      {texts.source === 'other' ? (
        <TextField
          {...{ draft, trans, name: 'other', label: trans.__('URI or folder') }}
          help={trans.__('models:/NAME@ALIAS, runs:/ID/PATH, or a folder with endpoint.json.')}
          required
          placeholder={trans.__('models:/digits@champion')}
        />
      ) : (
        <ExampleField {...{ draft, trans }} />
      )}
      {source?.kind === 'module' && (
        <ChoiceField
          {...{ draft, trans, name: 'form', label: trans.__('Form') }}
          help={formHelp(texts.form, trans)}
          choices={FORMS.map(value => ({ value, label: formText(value, trans) }))}
        />
      )}
    </>
  );
}

function ExampleField({ draft, trans }: IDeployFields): React.JSX.Element {
  const { source, servable } = draft;
  const isNeeded = source?.kind === 'module' && source.calls === 0;
  return (
    <TextField
      {...{ draft, trans, name: 'example' }}
      label={isNeeded ? trans.__('Example') : trans.__('Example (optional)')}
      help={trans.__('The argument of one call: JSON, or a name of the notebook.')}
      required={isNeeded}
      placeholder="[[0, 0.5]]"
      choices={(servable?.examples ?? []).map(({ name, text }) => ({ value: name, label: text }))}
    />
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

export function WhereFields({ draft, trans }: IDeployFields): React.JSX.Element {
  const { old, pools, endpoints } = draft;
  const newest = Math.max(0, ...(old?.versions.map(({ number }) => number) ?? []));
  const offered = pools.map(({ name, kind, status }) => ({
    value: name,
    label:
      status === 'unreachable' ? trans.__('%1 (%2, unreachable)', name, kind) : `${name} (${kind})`
  }));
  return (
    <>
      <TextField
        {...{ draft, trans, name: 'name', label: trans.__('Endpoint') }}
        help={
          old === null
            ? trans.__('A new one. Its name stands in its URL.')
            : trans.__('There is one: it gets version %1.', newest + 1)
        }
        required
        choices={endpoints.map(({ name, state }) => ({ value: name, label: state }))}
      />
      <ChoiceField
        {...{ draft, trans, name: 'pool', label: trans.__('Pool') }}
        help={
          pools.length === 0 ? trans.__('No pool is attached: attach one in the panel first.') : ''
        }
        choices={[
          ...(old !== null || pools.length === 0
            ? [{ value: '', label: old === null ? '–' : trans.__('as before') }]
            : []),
          ...offered
        ]}
      />
      <FallbackField {...{ draft, trans, offered }} />
      <TextField
        {...{ draft, trans, name: 'gpus', label: trans.__('GPUs of each replica') }}
        numeric
        placeholder={
          old === null ? '0' : trans.__('as before: %1', String(mainOf(old)?.gpus ?? '–'))
        }
      />
    </>
  );
}

/** Where there is but one pool, nothing can take its place. */
function FallbackField({
  draft,
  trans,
  offered
}: IDeployFields & {
  offered: readonly { value: string; label: string }[];
}): React.JSX.Element | null {
  const { old, pool, texts } = draft;
  const before = fallbackOf(old);
  const others = offered.filter(({ value }) => value !== pool || value === texts.fallback);
  if (others.length === 0 && before === null) {
    return null;
  }
  const none = trans.__('nothing');
  const first = before === null ? none : trans.__('as before: %1', before);
  return (
    <ChoiceField
      {...{ draft, trans, name: 'fallback', label: trans.__('Takes the place of what is lost') }}
      help={trans.__('For spot machines, which may be taken back at any time.')}
      choices={[
        { value: '', label: first },
        ...(before === null ? [] : [{ value: NO_FALLBACK, label: none }]),
        ...others
      ]}
    />
  );
}

function fallbackOf(old: EndpointItem | null): string | null {
  return old === null ? null : (mainOf(old)?.fallback_pool ?? null);
}
