/** A pool that is being attached: what has been filled in, and what came of it. */

import { Signal, type ISignal } from '@lumino/signaling';

import type { AttachRequest, PoolItem, PoolKind } from '../api/types';
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

  /** How often it was tried to submit. */
  get attempts(): number {
    return this._attempts;
  }

  /** Whether the server is being asked. Nothing can be changed meanwhile. */
  get busy(): boolean {
    return this._busy;
  }

  /** Why the last submit failed; `null` when it did not, or something was changed since. */
  get error(): RequestError | null {
    return this._error;
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
    });
  }

  setText(field: string, text: string | boolean): void {
    this._edit(() => {
      this._texts.set(this._kind, { ...this.texts, [field]: text });
      this._problems = without(this._problems, field);
    });
  }

  /**
   * Ask the server to attach the pool; the pool when it did, else `null` and the reason in
   * `error`, `nameMissing` or `problems`. A call while one is under way asks nothing.
   */
  async submit(): Promise<PoolItem | null> {
    if (this._busy) {
      return null;
    }
    this._attempts += 1;
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
    this._busy = true;
    this._error = null;
    this._changed.emit();
    try {
      return await this._api.attachPool({ name, kind: this._kind, options });
    } catch (error) {
      if (!(error instanceof RequestError)) {
        throw error;
      }
      this._error = error;
      return null;
    } finally {
      this._busy = false;
      this._changed.emit();
    }
  }

  private _edit(change: () => void): void {
    if (!this._busy) {
      change();
      this._error = null;
      this._changed.emit();
    }
  }

  private _changed = new Signal<AttachDraft, void>(this);
  private _api: IAiInfraApi;
  private _name = '';
  private _kind: string;
  private _attempts = 0;
  private _busy = false;
  private _error: RequestError | null = null;
  private _nameMissing = false;
  private _problems: Readonly<Record<string, FieldProblem>> = {};
  private _fields = new Map<string, readonly IOptionField[]>();
  private _texts = new Map<string, FieldTexts>();
}

function without<T>(values: Readonly<Record<string, T>>, name: string): Record<string, T> {
  return Object.fromEntries(Object.entries(values).filter(([each]) => each !== name));
}
