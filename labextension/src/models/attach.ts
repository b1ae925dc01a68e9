/** A pool that is being attached: what has been filled in, and what came of it. */

import { Signal, type ISignal } from '@lumino/signaling';

import type { AttachRequest, HostKey, PoolItem, PoolKind } from '../api/types';
import {
  optionFields,
  readFields,
  type FieldProblem,
  type FieldTexts,
  type IOptionField
} from '../components/optionfields';
import { RequestError } from '../request';
import type { IAiInfraApi } from '../tokens';

/** The draft of an attach request. */
export class AttachDraft {
  /** `kinds` are what may be attached; at least one. */
  constructor(api: IAiInfraApi, kinds: readonly PoolKind[]) {
    this._api = api;
    this.kinds = kinds;
    this._kind = kinds[0]!.kind;
  }

  readonly kinds: readonly PoolKind[];

  get changed(): ISignal<AttachDraft, void> {
    return this._changed;
  }

  get name(): string {
    return this._name;
  }

  get kind(): string {
    return this._kind;
  }

  /** The options of the chosen kind. */
  get fields(): readonly IOptionField[] {
    let known = this._fields.get(this._kind);
    if (known === undefined) {
      known = optionFields(this.kinds.find(each => each.kind === this._kind)?.schema ?? {});
      this._fields.set(this._kind, known);
    }
    return known;
  }

  get texts(): FieldTexts {
    return this._texts.get(this._kind) ?? {};
  }

  /** How often it was tried to submit, and how often that was answered. */
  get attempts(): number {
    return this._attempts;
  }

  /** Whether the server is being asked. Nothing can be changed meanwhile. */
  get busy(): boolean {
    return this._busy;
  }

  /** When the server was asked, in milliseconds that only grow; counts while it is busy. */
  get busySince(): number {
    return this._busySince;
  }

  /**
   * Why the last submit failed, where it is not about one of the fields; `null` when it did not, or
   * something was changed since.
   */
  get error(): RequestError | null {
    return this._error;
  }

  /** What the server has against an option, by its name. */
  get refusals(): Readonly<Record<string, RequestError>> {
    return this._refusals;
  }

  /** The key of a host that is asked about now; `null` where none is. */
  get question(): HostKey | null {
    return this._question;
  }

  /** The host whose key was not accepted at the last submit; `null` where there was none. */
  get untrusted(): string | null {
    return this._untrusted;
  }

  /** Whether the last submit was stopped before the server had answered. */
  get stopped(): boolean {
    return this._stopped;
  }

  /** Whether the name was missing at the last submit. */
  get nameMissing(): boolean {
    return this._nameMissing;
  }

  /** What was wrong with the fields at the last submit, by name. */
  get problems(): Readonly<Record<string, FieldProblem>> {
    return this._problems;
  }

  setName(name: string): void {
    this._edit(() => {
      this._name = name;
      this._nameMissing = false;
    });
  }

  /** What was filled in for another kind is kept, and is there again when that is chosen. */
  setKind(kind: string): void {
    this._edit(() => {
      this._kind = kind;
      this._problems = {};
      this._refusals = {};
    });
  }

  setText(field: string, text: string | boolean): void {
    this._edit(() => {
      this._texts.set(this._kind, { ...this.texts, [field]: text });
      this._problems = without(this._problems, field);
      this._refusals = without(this._refusals, field);
    });
  }

  /**
   * Ask the server to attach the pool; the pool when it did, else `null` and the reason in
   * `error`, `nameMissing` or `problems`. A call while one is under way asks nothing.
   */
  async submit(): Promise<PoolItem | null> {
    if (this._busy || this._question) {
      return null;
    }
    this._attempts += 1;
    this._refusals = {};
    const { values, problems } = readFields(this.fields, this.texts);
    const name = this._name.trim();
    this._problems = problems;
    this._nameMissing = name === '';
    if (this._nameMissing || Object.keys(problems).length > 0) {
      this._changed.emit();
      return null;
    }
    // An object of anything is, to the generator of the types, one of nothing.
    const options = values as NonNullable<AttachRequest['options']>;
    return this._ask({ name, kind: this._kind, options, accept: [] });
  }

  /**
   * Accept the key that is asked about, and go on; what comes of it is what `submit` would tell.
   * Just this key: should the host show another one then, that is asked about anew.
   */
  async trust(): Promise<PoolItem | null> {
    const { _question: key, _asked: asked } = this;
    if (key === null || asked === null) {
      return null;
    }
    this._question = null;
    return this._ask({ ...asked, accept: [...asked.accept, key] });
  }

  /** Do not accept the key that is asked about: nothing is attached. */
  distrust(): void {
    if (this._question) {
      this._untrusted = this._question.host;
      this._question = null;
      this._changed.emit();
    }
  }

  /** Stop asking the server, if that is under way: nothing is attached. */
  stop(): void {
    this._abort?.abort();
  }

  private async _ask(asked: AttachRequest): Promise<PoolItem | null> {
    const abort = (this._abort = new AbortController());
    this._asked = asked;
    this._busy = true;
    this._busySince = performance.now();
    this._error = this._untrusted = null;
    this._stopped = false;
    this._changed.emit();
    try {
      return await this._api.attachPool(asked, abort.signal);
    } catch (error) {
      if (!(error instanceof RequestError)) {
        throw error;
      }
      this._take(error, abort.signal.aborted);
      return null;
    } finally {
      this._busy = false;
      this._abort = null;
      this._changed.emit();
    }
  }

  private _take(error: RequestError, stopped: boolean): void {
    if (stopped) {
      this._stopped = true;
    } else if (error.hostKey) {
      this._question = error.hostKey;
    } else if (error.option !== null && this.fields.some(each => each.name === error.option)) {
      this._refusals = { [error.option]: error };
      this._attempts += 1;
    } else {
      this._error = error;
    }
  }

  private _edit(change: () => void): void {
    if (!this._busy && !this._question) {
      change();
      this._error = this._untrusted = null;
      this._stopped = false;
      this._changed.emit();
    }
  }

  private _changed = new Signal<AttachDraft, void>(this);
  private _api: IAiInfraApi;
  private _name = '';
  private _kind: string;
  private _attempts = 0;
  private _busy = false;
  private _busySince = 0;
  private _abort: AbortController | null = null;
  private _asked: AttachRequest | null = null;
  private _question: HostKey | null = null;
  private _untrusted: string | null = null;
  private _stopped = false;
  private _refusals: Readonly<Record<string, RequestError>> = {};
  private _error: RequestError | null = null;
  private _nameMissing = false;
  private _problems: Readonly<Record<string, FieldProblem>> = {};
  private _fields = new Map<string, readonly IOptionField[]>();
  private _texts = new Map<string, FieldTexts>();
}

function without<T>(values: Readonly<Record<string, T>>, name: string): Record<string, T> {
  return Object.fromEntries(Object.entries(values).filter(([each]) => each !== name));
}
