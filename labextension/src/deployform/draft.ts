/** What is to be deployed, as it is filled in. */

import type { EndpointItem, PoolItem } from '../api/types';
import { mainOf } from '../endpointpage/words';
import { Draft } from '../models/draft';
import { RequestError } from '../request';
import { faultsOf, type DeployFault, type DeployField } from './faults';
import type { IServable, ISource } from './kernel';
import { FORMS, namedSource, promoteLine, type IDeployTexts } from './line';

/** What the form has led to. */
export interface IDeployed {
  item: EndpointItem;
  /** The version that was made. */
  number: number;
  /** Of the first key; `null` where none was asked for. */
  secret: string | null;
  /** Why there is no key though one was asked for. */
  keyProblem: RequestError | null;
  /** Whether it was held against the calls that were recorded with it. */
  isReplayed: boolean;
  /** What the verb said. */
  said: readonly string[];
}

export interface IDeployDraftOptions {
  look: (signal: AbortSignal) => Promise<IServable>;
  /** Run the line; rejects with a `RequestError`. */
  run: (line: string, say: (text: string) => void, signal: AbortSignal) => Promise<void>;
  /** The endpoint of a name, as it is now. */
  find: (name: string) => Promise<EndpointItem | null>;
  addKey: (id: string, name: string) => Promise<string>;
  /** The notebook, as the kernel finds it. */
  notebook: string;
  /** Whether a cell of it is tagged `predict`. */
  isTagged: boolean;
  endpoints: readonly EndpointItem[];
  pools: readonly PoolItem[];
  /** The endpoint that is to have another version. */
  endpoint?: string | null;
}

export type Stage = 'filling' | 'waiting' | 'packaging' | 'replaying' | 'keying';

export class DeployDraft extends Draft<DeployField, DeployFault, IDeployed> {
  constructor(options: IDeployDraftOptions) {
    super(freshTexts(options));
    this._options = options;
    this.pools = options.pools;
    this.endpoints = options.endpoints;
    this.isTagged = options.isTagged;
  }

  readonly pools: readonly PoolItem[];
  readonly endpoints: readonly EndpointItem[];
  readonly isTagged: boolean;

  get notebook(): string {
    return this._options.notebook;
  }

  /** What the kernel has; `null` before it has said so. */
  get servable(): IServable | null {
    return this._servable;
  }

  /** Why the kernel does not say what it has. */
  get lookProblem(): RequestError | null {
    return this._lookProblem;
  }

  /** How far it is. */
  get stage(): Stage {
    return this._stage;
  }

  /** What the verb has said so far. */
  get said(): readonly string[] {
    return this._said.split('\n').filter(line => line.trim() !== '');
  }

  /** The endpoint that gets another version; `null`: one is made. */
  get old(): EndpointItem | null {
    const name = this.texts.name.trim();
    return this.endpoints.find(each => each.name === name) ?? null;
  }

  /** What is chosen of the kernel's names. */
  get source(): ISource | null {
    const { source } = this.texts;
    return this._servable?.sources.find(({ name }) => namedSource(name) === source) ?? null;
  }

  /** Where it is to run: another version where the one before does. */
  get pool(): string {
    const { old } = this;
    return this.texts.pool || (old === null ? '' : (mainOf(old)?.pool ?? ''));
  }

  /** The line as it would be written into a cell. */
  get line(): string {
    return promoteLine(this.texts, {
      isNew: this.old === null,
      isModule: this.source?.kind === 'module',
      notebook: this.notebook
    });
  }

  /** Ask the kernel what it has. */
  async look(): Promise<void> {
    try {
      this._servable = await this._options.look(this._over.signal);
      this._lookProblem = null;
      if (!this._isChosen) {
        this._propose();
      }
    } catch (error) {
      if (!(error instanceof RequestError)) {
        throw error;
      }
      this._lookProblem = error;
    }
    this.tell();
  }

  /** The form is closed: a kernel that is still waited for is asked nothing. */
  dispose(): void {
    this._over.abort();
  }

  /** Look whether it is whole, without running it; as `submit`, it says what is missing. */
  isWhole(): boolean {
    return Object.keys(this.check()).length === 0;
  }

  protected override onSet(field: DeployField): void {
    this._isChosen ||= field === 'source';
  }

  protected check(): Partial<Record<DeployField, DeployFault>> {
    const { texts, source, notebook, old, pool } = this;
    return faultsOf(texts, { source, notebook, isNew: old === null, pool });
  }

  protected async send(): Promise<IDeployed> {
    const { old } = this;
    const name = this.texts.name.trim();
    this._said = '';
    this._turn('waiting');
    try {
      // What follows is done by whoever looks, and seen on the page: the kernel is free for it.
      await this._options.run(`${this.line} --detach`, this._hear, this._over.signal);
      const item = await this._options.find(name);
      if (item === null) {
        throw new RequestError('unexpected', `there is no endpoint ${name}`);
      }
      const key = this.texts.key.trim();
      const made = old === null && key !== '' ? await this._makeKey(item.id, key) : NO_KEY;
      const number = Math.max(...item.versions.map(each => each.number));
      const isReplayed = this.texts.unreplayed === '';
      return { item, number, isReplayed, said: this.said, ...made };
    } finally {
      this._turn('filling');
    }
  }

  protected fieldOf({ message }: RequestError): DeployField | null {
    return FIELDS.find(([words]) => words.test(message))?.[1] ?? null;
  }

  private async _makeKey(id: string, name: string): Promise<typeof NO_KEY> {
    this._turn('keying');
    try {
      return { secret: await this._options.addKey(id, name), keyProblem: null };
    } catch (error) {
      if (!(error instanceof RequestError)) {
        throw error;
      }
      // It is deployed all the same, and that has to be said.
      return { secret: null, keyProblem: error };
    }
  }

  private _hear = (text: string): void => {
    this._said += text;
    this._turn(this._said.includes('packaged in') ? 'replaying' : 'packaging');
  };

  private _turn(stage: Stage): void {
    this._stage = stage;
    this.tell();
  }

  /** What the notebook says itself, else what was called in front of a recorder, else a module. */
  private _propose(): void {
    const found = this._servable?.sources ?? [];
    const [best] = [...found].sort((one, other) => rankOf(other) - rankOf(one));
    if (!this.isTagged) {
      this.put('source', best === undefined ? 'other' : namedSource(best.name));
    }
  }

  private _options: IDeployDraftOptions;
  private _servable: IServable | null = null;
  private _lookProblem: RequestError | null = null;
  private _stage: Stage = 'filling';
  private _said = '';
  private _isChosen = false;
  private _over = new AbortController();
}

const NO_KEY: { secret: string | null; keyProblem: RequestError | null } = {
  secret: null,
  keyProblem: null
};

/** The fields by what a refusal of the verb says. */
const FIELDS: readonly (readonly [RegExp, DeployField])[] = [
  [/--example|own example|what the module takes|is not known by its calls/, 'example'],
  [/^form |has no form|--form/, 'form'],
  [/is no name of an endpoint|endpoint's name/, 'name'],
  [/the place of|takes their place|--fallback-pool/, 'fallback'],
  [/\bGPUs?\b|^gpus /, 'gpus'],
  [/no pool|which pool|pool .* (serves|cannot)/, 'pool'],
  [/--canary/, 'percent'],
  [/--header/, 'header'],
  [/is no name of a header/, 'sticky'],
  [/the notebook has no|is nothing that can be served|no cell .*tag/, 'source']
];

function rankOf({ kind, calls, name }: ISource): number {
  return (calls > 0 ? 4 : 0) + (name === 'predict' ? 2 : 0) + (kind === 'module' ? 1 : 0);
}

function freshTexts({
  notebook,
  isTagged,
  endpoint = null,
  endpoints,
  pools
}: IDeployDraftOptions): IDeployTexts {
  return {
    source: isTagged ? 'tagged' : '',
    other: '',
    example: '',
    form: FORMS[0],
    name: endpoint ?? freeName(notebook, endpoints),
    // Another version runs where the one before does.
    pool: endpoint === null ? (pools[0]?.name ?? '') : '',
    fallback: '',
    gpus: '',
    least: '1',
    most: '1',
    key: '',
    how: 'rolling',
    percent: '5',
    step: '1m',
    header: 'X-Version=new',
    errors: '2',
    p95: '200',
    agreement: '',
    ungated: '',
    oneAtATime: '',
    unreplayed: '',
    origins: '',
    sticky: '',
    tolerance: '',
    once: '',
    sample: '',
    redact: '',
    note: ''
  };
}

/** A name made of the notebook's; another's is not taken, or it would get a version of this. */
function freeName(notebook: string, endpoints: readonly EndpointItem[]): string {
  const made = notebook
    .replace(/\.ipynb$/i, '')
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-')
    .replaceAll(/^-|-$/g, '')
    .slice(0, 40);
  const first = made || 'model';
  const taken = new Set(endpoints.map(({ name }) => name));
  let name = first;
  for (let number = 2; taken.has(name); number++) {
    name = `${first}-${number}`;
  }
  return name;
}
