/** The form that attaches a pool, in a dialog. */

import { Dialog } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import { ReactWidget } from '@jupyterlab/ui-components';
import { MessageLoop } from '@lumino/messaging';
import { Panel, Widget } from '@lumino/widgets';
import React, { useEffect, useRef, useState } from 'react';

import type { HostKey, PoolItem } from '../api/types';
import type { AttachDraft } from '../models/attach';
import type { RequestError } from '../request';
import { copyText } from '../widgets/dom';
import { Choice, Flag, Labelled, TextArea, TextInput } from './formfields';
import { key, type FieldProblem, type IOptionField } from './optionfields';
import { useSignal } from './usesignal';

/**
 * Show the form; the pool that was attached by it, or `null` where it was closed instead.
 *
 * It stays open, and filled in, until the server has attached the pool, and shows why it did not.
 * While the server is asked, and while the key of a host is asked about, what would close it stops
 * that instead, and the form is there to be changed.
 */
export async function showAttachForm(
  draft: AttachDraft,
  trans: TranslationBundle
): Promise<PoolItem | null> {
  const dialog = new AttachDialog(draft, trans);
  await dialog.draw();
  await dialog.launch();
  return dialog.pool;
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
    this.addClass('aiinfra-FormDialog');
    this.node.ariaLabel = trans.__('Attach a pool');
    draft.changed.connect(this._onDraft);
  }

  /** The pool, once it is attached. */
  pool: PoolItem | null = null;

  /** Draw the fields. Before the launch: as it opens, a dialog looks for where the focus goes. */
  async draw(): Promise<void> {
    MessageLoop.sendMessage(this._fields, Widget.Msg.UpdateRequest);
    await this._fields.renderPromise;
  }

  /** The accept button, and Enter, ask the server; only its yes closes the dialog. */
  override resolve(index?: number): void {
    if (index === CANCEL) {
      this.reject();
    } else if (this._draft.question) {
      void this._finish(this._draft.trust());
    } else {
      void this._finish(this._draft.submit());
    }
  }

  /** The cancel button, Escape, and the cross. */
  override reject(): void {
    if (this._draft.busy) {
      this._draft.stop();
    } else if (this._draft.question) {
      this._draft.distrust();
    } else {
      super.reject();
    }
  }

  override dispose(): void {
    this._draft.changed.disconnect(this._onDraft);
    super.dispose();
  }

  private async _finish(asked: Promise<PoolItem | null>): Promise<void> {
    const pool = await asked;
    if (pool !== null) {
      this.pool = pool;
      super.resolve(ATTACH);
    }
  }

  private _onDraft = (): void => {
    const { busy, question } = this._draft;
    const trans = this._trans;
    const [cancel, accept] = busy
      ? [trans.__('Stop'), trans.__('Attaching…')]
      : question
        ? [trans.__('Do not trust'), trans.__('Trust this host')]
        : [trans.__('Cancel'), trans.__('Attach')];
    // Not disabled, or it would lose the focus, and the dialog its keys.
    this._label('jp-mod-accept', accept)?.setAttribute('aria-disabled', String(busy));
    const other = this._label('jp-mod-reject', cancel);
    if (question && question !== this._asked) {
      // Who goes on typing Enter has not read the question: that must not be a yes.
      other?.focus();
    } else if (this._asked && !question && !busy) {
      this.node.querySelector<HTMLElement>('.aiinfra-AttachForm input')?.focus();
    }
    this._asked = question;
  };

  private _label(kind: string, text: string): HTMLButtonElement | null {
    const button = this.node.querySelector<HTMLButtonElement>(`.jp-Dialog-footer .${kind}`);
    const label = button?.querySelector('.jp-Dialog-buttonLabel');
    if (label) {
      label.textContent = text;
    }
    button?.setAttribute('aria-label', text);
    button?.setAttribute('title', text);
    return button;
  }

  private _asked: HostKey | null = null;
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
  const { error, question, untrusted } = draft;
  const isHeld = draft.busy || question !== null;
  return (
    <div
      className="aiinfra-Form aiinfra-AttachForm"
      ref={form}
      aria-busy={draft.busy}
      data-held={isHeld}
    >
      <Labelled
        id="aiinfra-attach-name"
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
      <Labelled id="aiinfra-attach-kind" label={trans.__('Kind')} help="" problem="">
        <Choice
          value={draft.kind}
          choices={draft.kinds.map(each => ({ value: each.kind, label: each.title }))}
          onText={kind => draft.setKind(kind)}
        />
      </Labelled>
      {draft.fields.map(field => (
        <Option key={`${draft.kind} ${field.name}`} field={field} draft={draft} trans={trans} />
      ))}
      <div className="aiinfra-Form-outcome" role="status">
        {draft.busy && <Asking since={draft.busySince} trans={trans} />}
        {draft.stopped && trans.__('Stopped. Nothing was attached.')}
        {untrusted !== null &&
          trans.__('Nothing was sent to %1, and nothing was attached.', untrusted)}
      </div>
      <div className="aiinfra-Form-error" role="alert">
        {question && <Question asked={question} trans={trans} />}
        {error && <Refusal error={error} trans={trans} />}
      </div>
    </div>
  );
}

/** That the server is at it, and for how long; the seconds are not read out again and again. */
function Asking({ since, trans }: { since: number; trans: TranslationBundle }): React.JSX.Element {
  const [now, setNow] = useState(since);
  useEffect(() => {
    const timer = setInterval(() => setNow(performance.now()), 1000);
    return () => clearInterval(timer);
  }, []);
  const seconds = Math.floor((now - since) / 1000);
  return (
    <>
      <progress className="aiinfra-AttachForm-progress" aria-label={trans.__('Attaching')} />
      {trans.__('Asking the pool what it has. This can take a while.')}
      <span aria-hidden="true">{seconds > 0 && ` ${trans.__('%1 s', seconds)}`}</span>
    </>
  );
}

/** A host whose key nobody has accepted; the buttons of the dialog are the answers. */
function Question({
  asked,
  trans
}: {
  asked: HostKey;
  trans: TranslationBundle;
}): React.JSX.Element {
  const shown = useRef<HTMLElement>(null);
  useEffect(() => {
    shown.current?.scrollIntoView?.({ block: 'nearest' });
  }, [asked]);
  return (
    <section ref={shown} className="aiinfra-AttachForm-question">
      <h2>{trans.__('Trust this host?')}</h2>
      <p>
        {trans.__(
          'Nobody has connected to %1 from here before, so it may be another machine than you mean. Compare the fingerprint with what its administrator says.',
          asked.host
        )}
      </p>
      <dl>
        <dt>{trans.__('Host')}</dt>
        <dd>{asked.host}</dd>
        <dt>{trans.__('Key')}</dt>
        <dd>{asked.key_type}</dd>
        <dt>{trans.__('Fingerprint')}</dt>
        <dd>
          <code>{asked.fingerprint}</code>
        </dd>
      </dl>
    </section>
  );
}

function Refusal({
  error,
  trans
}: {
  error: RequestError;
  trans: TranslationBundle;
}): React.JSX.Element {
  const hint = error.command
    ? trans.__('Run this once in a terminal, and attach again: the connection is then shared.')
    : error.hint;
  return (
    <>
      <p className="aiinfra-Form-message">{error.message}</p>
      {hint && <p className="aiinfra-hint">{hint}</p>}
      {error.command && <Command text={error.command} trans={trans} />}
    </>
  );
}

/** A command for a terminal, with a button that copies it. */
function Command({ text, trans }: { text: string; trans: TranslationBundle }): React.JSX.Element {
  const [said, setSaid] = useState<string | null>(null);
  const copy = (): void => {
    void copyText(text).then(done =>
      setSaid(done ? trans.__('Copied') : trans.__('The browser did not allow to copy'))
    );
  };
  return (
    <div className="aiinfra-AttachForm-command">
      <code>{text}</code>
      <button type="button" className="jp-mod-styled" onClick={copy}>
        {said ?? trans.__('Copy')}
      </button>
    </div>
  );
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
  const refusal = draft.refusals[field.name];
  const problem = refusal
    ? [refusal.message, refusal.hint].filter(Boolean).join('; ')
    : problemText(draft.problems[field.name], trans);
  const onText = (text: string): void => draft.setText(field.name, text);
  const label = labelText(field, trans);
  const id = `aiinfra-attach-option-${field.name}`;
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

/** What a field is called, and whether it can be left empty. */
function labelText({ title, required, instead }: IOptionField, trans: TranslationBundle): string {
  if (instead.length > 0) {
    return trans.__('%1 (or %2)', title, instead.join(', '));
  }
  return required ? title : trans.__('%1 (optional)', title);
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
