/** The form that attaches a pool, in a dialog. */

import { Dialog } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import { caretDownEmptyIcon, ReactWidget } from '@jupyterlab/ui-components';
import { MessageLoop } from '@lumino/messaging';
import { Panel, Widget } from '@lumino/widgets';
import React, { useEffect, useRef } from 'react';

import type { PoolItem } from '../api/types';
import type { AttachDraft } from '../models/attach';
import { key, type FieldProblem, type IOptionField } from './optionfields';
import { useSignal } from './usesignal';

/**
 * Show the form; the pool that was attached by it, or `null` where it was closed instead.
 *
 * It stays open, and filled in, until the server has attached the pool, and shows why it did not.
 * Closed while the server is still asked, it resolves with what came of that, or rejects with the
 * `RequestError` that nobody has seen.
 */
export async function showAttachForm(
  draft: AttachDraft,
  trans: TranslationBundle
): Promise<PoolItem | null> {
  const dialog = new AttachDialog(draft, trans);
  await dialog.draw();
  await dialog.launch();
  return dialog.outcome;
}

class AttachDialog extends Dialog<unknown> {
  constructor(draft: AttachDraft, trans: TranslationBundle) {
    const body = new Panel();
    super({
      title: trans.__('Attach a pool'),
      body,
      focusNodeSelector: 'input',
      buttons: [
        Dialog.cancelButton({ label: trans.__('Cancel') }),
        Dialog.okButton({ label: trans.__('Attach') })
      ]
    });
    this._draft = draft;
    this._trans = trans;
    // Put in only now: a dialog wraps the fields that it is made with in elements of its own, and
    // those that React has drawn are not to be moved.
    this._fields = ReactWidget.create(<AttachFields draft={draft} trans={trans} />);
    body.addWidget(this._fields);
    this.addClass('aiinfra-AttachDialog');
    this.node.ariaLabel = trans.__('Attach a pool');
    draft.changed.connect(this._onDraft);
  }

  /** What came of the last submit; a rejection where that was after the dialog was closed. */
  outcome: Promise<PoolItem | null> = Promise.resolve(null);

  /** Draw the fields. Before the launch: as it opens, a dialog looks for where the focus goes. */
  async draw(): Promise<void> {
    MessageLoop.sendMessage(this._fields, Widget.Msg.UpdateRequest);
    await this._fields.renderPromise;
  }

  /** The accept button, and Enter, ask the server; only its yes closes the dialog. */
  override resolve(index?: number): void {
    if (index === CANCEL) {
      super.resolve(index);
    } else if (!this._draft.busy) {
      this.outcome = this._submit();
    }
  }

  override dispose(): void {
    this._draft.changed.disconnect(this._onDraft);
    super.dispose();
  }

  private async _submit(): Promise<PoolItem | null> {
    const pool = await this._draft.submit();
    if (pool !== null) {
      super.resolve(ATTACH);
    } else if (this.isDisposed && this._draft.error) {
      throw this._draft.error;
    }
    return pool;
  }

  private _onDraft = (): void => {
    const button = this.node.querySelector<HTMLButtonElement>('.jp-Dialog-footer .jp-mod-accept');
    if (button) {
      // Not disabled, or it would lose the focus, and the dialog its keys.
      button.setAttribute('aria-disabled', String(this._draft.busy));
      const label = button.querySelector('.jp-Dialog-buttonLabel');
      if (label) {
        label.textContent = this._draft.busy
          ? this._trans.__('Attaching…')
          : this._trans.__('Attach');
      }
    }
  };

  private _draft: AttachDraft;
  private _trans: TranslationBundle;
  private _fields: ReactWidget;
}

const CANCEL = 0;
const ATTACH = 1;

/** The fields of the draft as it is, and below them what is wrong. */
export function AttachFields({
  draft,
  trans
}: {
  draft: AttachDraft;
  trans: TranslationBundle;
}): React.JSX.Element {
  useSignal(draft.changed);
  const form = useRef<HTMLDivElement>(null);
  useEffect(() => {
    form.current?.querySelector<HTMLElement>('[aria-invalid="true"]')?.focus();
  }, [draft.attempts]);
  const { error } = draft;
  return (
    <div className="aiinfra-AttachForm" ref={form} aria-busy={draft.busy}>
      <Labelled
        id="name"
        label={trans.__('Name')}
        help={trans.__(
          'Up to 63 letters, digits and - _ . (what you write after %1)',
          '%%accelerate'
        )}
        problem={draft.nameMissing ? trans.__('Give the pool a name.') : ''}
      >
        <TextInput
          value={draft.name}
          required
          onText={text => draft.setName(text)}
          placeholder={trans.__('for example: here')}
        />
      </Labelled>
      <Labelled id="kind" label={trans.__('Kind')} help="" problem="">
        <Choice
          value={draft.kind}
          choices={draft.kinds.map(each => ({ value: each.kind, label: each.title }))}
          onText={kind => draft.setKind(kind)}
        />
      </Labelled>
      {draft.fields.map(field => (
        <Option key={`${draft.kind} ${field.name}`} field={field} draft={draft} trans={trans} />
      ))}
      <div className="aiinfra-AttachForm-outcome" role="status">
        {draft.busy && trans.__('Asking the pool what it has. This can take a while.')}
      </div>
      <div className="aiinfra-AttachForm-error" role="alert">
        {error && (
          <>
            <p className="aiinfra-AttachForm-message">{error.message}</p>
            {error.hint && <p className="aiinfra-hint">{error.hint}</p>}
          </>
        )}
      </div>
    </div>
  );
}

interface IControlProps {
  value: string;
  onText: (text: string) => void;
  id?: string;
  required?: boolean;
  placeholder?: string;
  invalid?: boolean;
  describedBy?: string;
}

function Option({
  field,
  draft,
  trans
}: {
  field: IOptionField;
  draft: AttachDraft;
  trans: TranslationBundle;
}): React.JSX.Element {
  const value = draft.texts[field.name] ?? field.initial;
  const problem = problemText(draft.problems[field.name], trans);
  const onText = (text: string): void => draft.setText(field.name, text);
  const label = field.required ? field.title : trans.__('%1 (optional)', field.title);
  const id = `option-${field.name}`;
  if (field.kind === 'flag') {
    return (
      <Flag
        id={id}
        label={field.title}
        help={field.description}
        checked={value === true}
        onFlag={ticked => draft.setText(field.name, ticked)}
      />
    );
  }
  const help = [field.description, formText(field, trans)].filter(Boolean).join(' ');
  const given = { value: String(value), onText, required: field.required };
  return (
    <Labelled id={id} label={label} help={help} problem={problem}>
      {field.kind === 'choice' ? (
        <Choice
          {...given}
          choices={[
            ...(field.required ? [] : [{ value: '', label: '' }]),
            ...field.choices.map(each => ({ value: key(each.value), label: each.label }))
          ]}
        />
      ) : field.kind === 'lines' || field.kind === 'pairs' || field.kind === 'json' ? (
        <TextArea {...given} />
      ) : (
        <TextInput {...given} numeric={field.kind !== 'text'} />
      )}
    </Labelled>
  );
}

/** A label, the control it belongs to, its help, and what is wrong with what stands there. */
function Labelled({
  id,
  label,
  help,
  problem,
  children
}: {
  id: string;
  label: string;
  help: string;
  problem: string;
  children: React.ReactElement<IControlProps>;
}): React.JSX.Element {
  const control = `aiinfra-attach-${id}`;
  const helped = [help && `${control}-help`, problem && `${control}-problem`].filter(Boolean);
  return (
    <div className="aiinfra-AttachForm-field">
      <label htmlFor={control}>{label}</label>
      {React.cloneElement(children, {
        id: control,
        invalid: problem !== '',
        describedBy: helped.join(' ')
      })}
      {help && (
        <span id={`${control}-help`} className="aiinfra-AttachForm-help">
          {help}
        </span>
      )}
      {problem && (
        <span id={`${control}-problem`} className="aiinfra-AttachForm-problem" role="alert">
          {problem}
        </span>
      )}
    </div>
  );
}

function Flag({
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
  const control = `aiinfra-attach-${id}`;
  return (
    <div className="aiinfra-AttachForm-field">
      <label>
        <input
          type="checkbox"
          checked={checked}
          aria-describedby={help ? `${control}-help` : undefined}
          onChange={event => onFlag(event.target.checked)}
        />
        {label}
      </label>
      {help && (
        <span id={`${control}-help`} className="aiinfra-AttachForm-help">
          {help}
        </span>
      )}
    </div>
  );
}

function TextInput({
  numeric = false,
  ...props
}: IControlProps & { numeric?: boolean }): React.JSX.Element {
  return (
    <input
      {...common(props)}
      // Not of type number: that keeps what it cannot read from us, and from the message on it.
      type="text"
      inputMode={numeric ? 'decimal' : undefined}
      className="jp-mod-styled"
      placeholder={props.placeholder}
      autoComplete="off"
      spellCheck={false}
      onChange={event => props.onText(event.target.value)}
    />
  );
}

function TextArea(props: IControlProps): React.JSX.Element {
  return (
    <textarea
      {...common(props)}
      className="jp-mod-styled"
      rows={3}
      spellCheck={false}
      onChange={event => props.onText(event.target.value)}
    />
  );
}

function Choice({
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

/** How a field that takes more than one word is to be written. */
function formText({ kind }: IOptionField, trans: TranslationBundle): string {
  switch (kind) {
    case 'lines':
      return trans.__('One on each line.');
    case 'pairs':
      return trans.__('NAME=VALUE, one on each line.');
    case 'json':
      return trans.__('As JSON.');
    default:
      return '';
  }
}

function problemText(problem: FieldProblem | undefined, trans: TranslationBundle): string {
  switch (problem) {
    case undefined:
      return '';
    case 'missing':
      return trans.__('This is needed.');
    case 'not an integer':
      return trans.__('This is no whole number.');
    case 'not a number':
      return trans.__('This is no number.');
    case 'not a pair':
      return trans.__('Each line needs a name, = and a value.');
    case 'not JSON':
      return trans.__('This is no JSON.');
  }
}
