/** Something that is filled in and sent: what stands in its fields, and what came of it. */

import { Signal, type ISignal } from '@lumino/signaling';

import { RequestError } from '../request';

/** `F` are the names of the fields, `P` what may be wrong with one, `T` what the server answers. */
export abstract class Draft<F extends string, P extends string, T> {
  constructor(texts: Readonly<Record<F, string>>) {
    this._texts = { ...texts };
  }

  get changed(): ISignal<Draft<F, P, T>, void> {
    return this._changed;
  }

  /** What stands in the fields. */
  get texts(): Readonly<Record<F, string>> {
    return this._texts;
  }

  /** Whether the server is being asked. Nothing can be changed meanwhile. */
  get busy(): boolean {
    return this._busy;
  }

  /** How often it was tried to submit, and how often that was answered by a refusal. */
  get attempts(): number {
    return this._attempts;
  }

  /** What was wrong with the fields at the last submit, and was not changed since. */
  get problems(): Readonly<Partial<Record<F, P>>> {
    return this._problems;
  }

  /** What the server has against a field. */
  get refusals(): Readonly<Partial<Record<F, RequestError>>> {
    return this._refusals;
  }

  /** Why the last submit failed, where it is not about one of the fields. */
  get error(): RequestError | null {
    return this._error;
  }

  set(field: F, text: string): void {
    if (this._busy) {
      return;
    }
    this._texts[field] = text;
    delete this._problems[field];
    delete this._refusals[field];
    this._error = null;
    this.onSet(field);
    this._changed.emit();
  }

  /**
   * Ask the server; what it answered, or `null` where something is wrong, which is then in
   * `problems`, `refusals` or `error`. A call while one is under way asks nothing.
   */
  async submit(): Promise<T | null> {
    if (this._busy) {
      return null;
    }
    this._attempts += 1;
    this._problems = this.check();
    this._refusals = {};
    this._error = null;
    this._busy = Object.keys(this._problems).length === 0;
    this._changed.emit();
    if (!this._busy) {
      return null;
    }
    try {
      return await this.send();
    } catch (error) {
      if (!(error instanceof RequestError)) {
        throw error;
      }
      this._take(error);
      return null;
    } finally {
      this._busy = false;
      this._changed.emit();
    }
  }

  /** What is wrong, as far as can be told without the server. */
  protected abstract check(): Partial<Record<F, P>>;
  protected abstract send(): Promise<T>;
  /** The field that a refusal is about; `null` where it is about none. */
  protected abstract fieldOf(error: RequestError): F | null;

  /** A field was changed: others may follow it. */
  protected onSet(_field: F): void {}

  protected put(field: F, text: string): void {
    this._texts[field] = text;
  }

  protected tell(): void {
    this._changed.emit();
  }

  private _take(error: RequestError): void {
    const field = this.fieldOf(error);
    if (field === null) {
      this._error = error;
    } else {
      this._refusals = { [field]: error } as Partial<Record<F, RequestError>>;
      this._attempts += 1;
    }
  }

  private _texts: Record<F, string>;
  private _busy = false;
  private _attempts = 0;
  private _problems: Partial<Record<F, P>> = {};
  private _refusals: Partial<Record<F, RequestError>> = {};
  private _error: RequestError | null = null;
  private _changed = new Signal<Draft<F, P, T>, void>(this);
}
