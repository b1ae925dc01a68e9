/** A schedule that is being made, or changed, with a preview of when it would run. */

import type {
  ParameterForm,
  PoolItem,
  PreviewItem,
  ScheduleItem,
  ScheduleRequest,
  SlotItem,
  Values
} from '../api/types';
import { RequestError } from '../request';
import { Draft } from './draft';
import {
  hasPart,
  optionsOf,
  partFaults,
  policyOf,
  triggersOf,
  WHEN_FIELDS,
  type ScheduleFault
} from './scheduleparts';
import { freshTexts, OTHERS, PARAMETER, textsOf } from './scheduletexts';
import { readValue, textOf, valueFields, type IValueField } from './valuefields';

export type { ScheduleFault } from './scheduleparts';

/** So long nobody types before it is asked what the server makes of it. */
const PAUSE_MILLISECONDS = 300;

export interface IScheduleDraftOptions {
  /** Makes or changes it; rejects with a `RequestError`. */
  send: (request: ScheduleRequest) => Promise<ScheduleItem>;
  /** Says when it would run, and what the notebook takes; rejects with a `RequestError`. */
  preview: (request: ScheduleRequest, signal: AbortSignal) => Promise<PreviewItem>;
  /** The path of the notebook, below the server's root; of one that is changed it stays. */
  path?: string | null;
  old?: ScheduleItem | null;
  pools?: readonly PoolItem[];
  /** All schedules: a name is taken once, and one may follow another. */
  schedules?: readonly ScheduleItem[];
  kernels?: readonly { value: string; label: string }[];
}

export class ScheduleDraft extends Draft<string, ScheduleFault, ScheduleItem> {
  constructor(options: IScheduleDraftOptions) {
    const { old = null, path = null, pools = [], schedules = [], kernels = [] } = options;
    super(old === null ? freshTexts(path, pools, schedules) : textsOf(old));
    this._options = options;
    this.old = old;
    this.pools = pools;
    this.kernels = kernels;
    this.others = schedules.filter(({ id }) => id !== old?.id);
    this._first = { ...this.texts };
    this._takeForm(old?.version.form ?? {}, old?.version.parameters ?? {});
  }

  readonly old: ScheduleItem | null;
  readonly pools: readonly PoolItem[];
  readonly kernels: readonly { value: string; label: string }[];
  /** Those that it may follow. */
  readonly others: readonly ScheduleItem[];

  get notebook(): string {
    return this.old?.version.notebook ?? this._options.path ?? '';
  }

  /** The parameters of the notebook; `null` before they are known. */
  get parameters(): readonly IValueField[] | null {
    return this._isFormKnown ? this._fields : null;
  }

  /** Whether the notebook may be given others than those that are known. */
  get isOpen(): boolean {
    return this._form.additionalProperties === true;
  }

  /** When it would run next; `null` where that is not known. */
  get slots(): readonly SlotItem[] | null {
    return this._slots;
  }

  get isPreviewing(): boolean {
    return this._asking !== null;
  }

  /** Why there is no preview, where that is about none of the fields. */
  get previewError(): RequestError | null {
    return this._previewError;
  }

  /** What the server has against fields: as it stands, and when it was last sent. */
  override get refusals(): Readonly<Partial<Record<string, RequestError>>> {
    return { ...this._live, ...super.refusals };
  }

  text(field: string): string {
    return this.texts[field] ?? '';
  }

  /** Whether a field is ticked. */
  has(field: string): boolean {
    return this.text(field) !== '';
  }

  /** Ask what the server makes of what stands there, now. */
  async preview(): Promise<void> {
    clearTimeout(this._timer);
    this._asking?.abort();
    const request = this._request(true);
    if (request === null) {
      this._asking = this._slots = null;
      this.tell();
      return;
    }
    const asking = new AbortController();
    this._asking = asking;
    this.tell();
    try {
      const found = await this._options.preview(request, asking.signal);
      if (this._asking === asking) {
        this._takePreview(found);
      }
    } catch (error) {
      if (!(error instanceof RequestError)) {
        throw error;
      }
      if (this._asking === asking) {
        this._takeRefusal(error);
      }
    }
  }

  /** Ask nothing more. */
  dispose(): void {
    clearTimeout(this._timer);
    this._asking?.abort();
    this._asking = null;
  }

  protected override onSet(field: string): void {
    this._live = {};
    if (field === 'runNow' || field === 'name' || field === 'note') {
      return; // no moment depends on it
    }
    clearTimeout(this._timer);
    this._timer = setTimeout(() => void this.preview(), PAUSE_MILLISECONDS);
  }

  protected check(): Partial<Record<string, ScheduleFault>> {
    const found = partFaults(this.texts, this._isWhenAsWas);
    for (const field of this._fields) {
      const text = this.text(PARAMETER + field.name);
      if (readValue(field, text) === null) {
        found[PARAMETER + field.name] = field.kind === 'number' ? 'not a number' : 'not JSON';
      } else if (field.required && text.trim() === '') {
        found[PARAMETER + field.name] = 'missing';
      }
    }
    if (this.isOpen && mappingOf(this.text(OTHERS)) === null) {
      found[OTHERS] = 'not JSON';
    }
    if (this.text('name').trim() === '') {
      found['name'] = 'missing';
    }
    if (this.text('pool') === '') {
      found['pool'] = 'missing';
    }
    return found;
  }

  protected send(): Promise<ScheduleItem> {
    const request = this._request(false);
    if (request === null) {
      throw new Error('a schedule was sent that is not filled in');
    }
    return this._options.send(request);
  }

  protected fieldOf({ option, message, status }: RequestError): string | null {
    if (option === null) {
      return status === 404 ? 'pool' : / name |there is a schedule/.test(message) ? 'name' : null;
    }
    const isParameter = this._fields.some(({ name }) => name === option);
    if (isParameter && message.startsWith(`parameter ${option} `)) {
      return PARAMETER + option;
    }
    if (option === 'notify') {
      return NOTIFY.find(field => isNamedIn(message, this.text(field))) ?? null;
    }
    return FIELDS[option] ?? (isParameter ? PARAMETER + option : null);
  }

  /** What is asked for; of a preview what cannot be read is left out, and `null` has no moments. */
  private _request(isPreview: boolean): ScheduleRequest | null {
    const { old } = this;
    const isKept = this._isWhenAsWas || this.text('when') === 'mixed';
    const asked = isKept ? null : triggersOf(this.texts);
    const isUnread = partFaults(this.texts, this._isWhenAsWas);
    if (isPreview && (this.text('pool') === '' || hasPart(isUnread))) {
      return null;
    }
    const name = this.text('name').trim();
    return {
      ...(old === null && { notebook: this._options.path ?? '' }),
      ...(!isPreview && name !== old?.name && { name }),
      pool: this.text('pool'),
      timezone: this.text('zone').trim(),
      triggers: asked,
      policy: policyOf(this.texts, this._first, old?.version.policy),
      parameters: this._values(),
      options: optionsOf(this.texts, old?.version.options),
      ...(this.text('note').trim() !== '' && { note: this.text('note').trim() })
    };
  }

  /** Untouched, it keeps what the form does not show: where an interval begins, more triggers. */
  private get _isWhenAsWas(): boolean {
    const isSame = WHEN_FIELDS.every(field => this.texts[field] === this._first[field]);
    return this.old !== null && isSame;
  }

  private _values(): Values {
    const found: Values = {};
    for (const field of this._fields) {
      const read = readValue(field, this.text(PARAMETER + field.name));
      if (read?.value !== undefined) {
        found[field.name] = read.value;
      }
    }
    if (this.isOpen) {
      return { ...mappingOf(this.text(OTHERS)), ...found };
    }
    return found;
  }

  private _takePreview({ slots, form }: PreviewItem): void {
    this._asking = this._previewError = null;
    this._live = {};
    this._slots = slots;
    this._isFormKnown = true;
    this._takeForm(form, {});
    this.tell();
  }

  private _takeRefusal(error: RequestError): void {
    this._asking = null;
    const field = this.fieldOf(error);
    this._previewError = field === null ? error : null;
    this._live = field === null ? {} : { [field]: error };
    // What is wrong with a value has nothing to do with when it would run.
    if (!field?.startsWith(PARAMETER)) {
      this._slots = null;
    }
    this.tell();
  }

  private _takeForm(form: ParameterForm, values: Values): void {
    this._form = form;
    this._fields = valueFields(form);
    if (this.isOpen && this.texts[OTHERS] === undefined) {
      this.put(OTHERS, Object.keys(values).length > 0 ? JSON.stringify(values) : '');
    }
    for (const field of this._fields) {
      if (this.texts[PARAMETER + field.name] === undefined) {
        this.put(PARAMETER + field.name, textOf(field, values[field.name]));
      }
    }
  }

  private _options: IScheduleDraftOptions;
  /** What stood in the fields at first. */
  private _first: Readonly<Record<string, string>>;
  private _form: ParameterForm = {};
  private _fields: readonly IValueField[] = [];
  private _isFormKnown = false;
  private _slots: readonly SlotItem[] | null = null;
  private _live: Partial<Record<string, RequestError>> = {};
  private _previewError: RequestError | null = null;
  private _asking: AbortController | null = null;
  private _timer: ReturnType<typeof setTimeout> | undefined;
}

/** The fields by what the server calls them. */
const FIELDS: Readonly<Record<string, string>> = {
  name: 'name',
  pool: 'pool',
  cron: 'cron',
  every: 'every',
  at: 'at',
  after: 'after',
  when_changed: 'path',
  file: 'path',
  timezone: 'zone',
  window: 'window',
  overlap: 'overlap',
  retries: 'retries',
  backoff: 'backoff',
  jitter: 'jitter',
  until: 'until',
  except: 'except',
  outputs: 'outputs',
  output: 'outputs',
  forms: 'outputs',
  kernel: 'kernel',
  environment: 'environment',
  env: 'environment',
  files: 'files',
  gpus: 'gpus',
  fired_by: 'firedBy',
  secret: 'firedBy'
};

/** A mapping as JSON, of what is not known one by one; `null` where it is none. */
function mappingOf(text: string): Values | null {
  const read = text.trim() === '' ? { value: {} } : readValue(MAPPING, text);
  return read === null || Array.isArray(read.value) ? null : (read.value as Values);
}

const [MAPPING] = valueFields({ properties: { all: { type: 'object' } } }) as [IValueField];

const NOTIFY = ['notifyFailure', 'notifySuccess', 'notifyMissed'];

/** Whether a message quotes one of the words of a field. */
function isNamedIn(message: string, text: string): boolean {
  return text.split(/[\s,]+/).some(word => word !== '' && message.includes(`'${word}'`));
}
