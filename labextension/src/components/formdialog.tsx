/** A form in a dialog that stays open, and filled in, until the server has taken what it says. */

import { Dialog } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import { ReactWidget } from '@jupyterlab/ui-components';
import { PromiseDelegate } from '@lumino/coreutils';
import { MessageLoop } from '@lumino/messaging';
import type { ISignal } from '@lumino/signaling';
import { Panel, Widget } from '@lumino/widgets';
import React, { useEffect, useRef } from 'react';

import type { RequestError } from '../request';
import { useSignal } from './usesignal';

/** What a form fills in. */
export interface IFormDraft<T> {
  readonly busy: boolean;
  /** Grows with each submit that leaves something to be mended. */
  readonly attempts: number;
  /** What is wrong, and is about no field. */
  readonly error: RequestError | null;
  readonly changed: ISignal<unknown, void>;
  submit(): Promise<T | null>;
}

export interface IFormOptions<T> {
  draft: IFormDraft<T>;
  title: string;
  /** What the button says that sends it, and while that is under way. */
  accept: string;
  sending: string;
  fields: React.JSX.Element;
  /** Of the dialog, where it looks unlike others. */
  className?: string;
  /** Closes it unsent, where something in the fields does. */
  closing?: AbortSignal;
  trans: TranslationBundle;
}

/** Show the form; what the server answered, or `null` where it was closed instead. */
export async function showForm<T>(options: IFormOptions<T>): Promise<T | null> {
  const dialog = new FormDialog(options);
  await dialog.draw();
  await dialog.launch();
  return dialog.answer;
}

class FormDialog<T> extends Dialog<unknown> {
  constructor(options: IFormOptions<T>) {
    const body = new Panel();
    const { draft, title, accept, fields, trans } = options;
    super({
      title,
      body,
      focusNodeSelector: 'input, select',
      buttons: [
        Dialog.cancelButton({ label: trans.__('Cancel') }),
        Dialog.okButton({ label: accept })
      ]
    });
    this._options = options;
    // Put in only now: a dialog wraps the fields that it is made with in elements of its own, and
    // those that React has drawn are not to be moved.
    this._fields = ReactWidget.create(
      <FormBody draft={draft} onDrawn={() => this._drawn.resolve()}>
        {fields}
      </FormBody>
    );
    body.addWidget(this._fields);
    this.addClass('aiinfra-FormDialog');
    if (options.className) {
      this.addClass(options.className);
    }
    this.node.ariaLabel = title;
    draft.changed.connect(this._onDraft);
    options.closing?.addEventListener('abort', () => this.reject(), { once: true });
  }

  /** What the server answered, once it has taken it. */
  answer: T | null = null;

  /** Draw the fields. Before the launch: as it opens, a dialog looks for where the focus goes. */
  async draw(): Promise<void> {
    MessageLoop.sendMessage(this._fields, Widget.Msg.UpdateRequest);
    await this._drawn.promise;
  }

  /** The accept button, and Enter, ask the server; only its yes closes the dialog. */
  override resolve(index?: number): void {
    if (index === CANCEL) {
      this.reject();
    } else {
      void this._finish();
    }
  }

  /** Enter presses a button of the fields, and opens what can be opened, instead of sending. */
  override handleEvent(event: Event): void {
    const isEnter = event instanceof KeyboardEvent && event.key === 'Enter';
    const { target } = event;
    if (!(isEnter && target instanceof Element && target.closest(OWN_KEYS))) {
      super.handleEvent(event);
    }
  }

  override dispose(): void {
    this._options.draft.changed.disconnect(this._onDraft);
    super.dispose();
  }

  private async _finish(): Promise<void> {
    const answer = await this._options.draft.submit();
    if (answer !== null) {
      this.answer = answer;
      super.resolve(ACCEPT);
    }
  }

  private _onDraft = (): void => {
    const { draft, accept, sending } = this._options;
    const button = this.node.querySelector<HTMLButtonElement>('.jp-Dialog-footer .jp-mod-accept');
    const label = button?.querySelector('.jp-Dialog-buttonLabel');
    const text = draft.busy ? sending : accept;
    if (label && label.textContent !== text) {
      label.textContent = text;
      button?.setAttribute('aria-label', text);
      button?.setAttribute('title', text);
    }
    // Not disabled, or it would lose the focus, and the dialog its keys.
    button?.setAttribute('aria-disabled', String(draft.busy));
  };

  private _options: IFormOptions<T>;
  private _fields: ReactWidget;
  /** The widget's own word for it is no more than that the browser had a moment to spare. */
  private _drawn = new PromiseDelegate<void>();
}

const OWN_KEYS = '.aiinfra-Form :is(summary, button)';
const CANCEL = 0;
const ACCEPT = 1;

/** The fields, and below them what is wrong and is about none of them. */
function FormBody({
  draft,
  onDrawn,
  children
}: {
  draft: IFormDraft<unknown>;
  onDrawn: () => void;
  children: React.ReactNode;
}): React.JSX.Element {
  useSignal(draft.changed);
  const form = useRef<HTMLDivElement>(null);
  useEffect(onDrawn, []);
  useEffect(() => {
    form.current?.querySelector<HTMLElement>('[aria-invalid="true"]')?.focus();
  }, [draft.attempts]);
  const { busy, error } = draft;
  return (
    <div className="aiinfra-Form" ref={form} aria-busy={busy} data-held={busy}>
      {children}
      <div className="aiinfra-Form-error" role="alert">
        {error && (
          <>
            <p className="aiinfra-Form-message">{error.message}</p>
            {error.hint && <p className="aiinfra-hint">{error.hint}</p>}
          </>
        )}
      </div>
    </div>
  );
}

/** What a refusal of the server says at a field; empty where there is none. */
export function refusalText(error: RequestError | undefined): string {
  return error === undefined ? '' : [error.message, error.hint].filter(Boolean).join('; ');
}
