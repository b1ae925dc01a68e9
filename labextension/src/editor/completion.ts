/** What may stand at the cursor in a line of our magics. */

import { Text } from '@jupyterlab/coreutils';
import type { CompletionHandler } from '@jupyterlab/completer';
import type { TranslationBundle } from '@jupyterlab/translation';

import type { JobItem, LineWords, OptionItem, PoolItem } from '../api/types';
import type { IAiInfraApi, IAiInfraModels } from '../tokens';
import { findOption, splitWords, takesValue, type IWord } from './launchline';

type Item = CompletionHandler.ICompletionItem;

/** Where the cursor stands: the words before the one being written, and what there is of that. */
export interface ILineContext {
  /** `accelerate`, `pool`, `jobs` or `load_ext`; `null` while the magic itself is being written. */
  readonly magic: string | null;
  readonly before: readonly string[];
  readonly current: string;
  /** Where `current` begins in the source. */
  readonly start: number;
}

const PACKAGE = 'jupyter_aiinfra';
const MAGIC = /^(\s*)(%{0,2}\w*)$/;
const LINE = /^\s*%{1,2}(accelerate|pool|jobs|load_ext)(\s+)(.*)$/;

/** The context at `offset` of a source, or `null` where no line of ours is being written. */
export function contextAt(source: string, offset: number): ILineContext | null {
  const lineStart = source.lastIndexOf('\n', offset - 1) + 1;
  const line = source.slice(lineStart, offset);
  const magic = MAGIC.exec(line);
  if (magic !== null) {
    const current = magic[2] ?? '';
    return current.startsWith('%')
      ? { magic: null, before: [], current, start: offset - current.length }
      : null;
  }
  const found = LINE.exec(line);
  if (found === null) {
    return null;
  }
  const rest = found[3] ?? '';
  const words = splitWords(rest);
  // After a blank a new word begins, unless the blank stands in quotes.
  const last =
    words.length > 0 && words[words.length - 1]?.end === rest.length ? words.pop() : null;
  const word: IWord = last ?? { text: '', start: rest.length, end: rest.length };
  return {
    magic: found[1] ?? null,
    before: words.map(each => each.text),
    current: rest.slice(word.start),
    start: offset - (rest.length - word.start)
  };
}

/** What names there are to offer. */
export interface INames {
  pools(): Promise<readonly PoolItem[]>;
  jobs(): Promise<readonly JobItem[]>;
}

/** The items that begin like what has been written, each once. */
export async function offers(
  context: ILineContext,
  known: LineWords,
  names: INames,
  trans: TranslationBundle
): Promise<{ start: number; items: Item[] }> {
  if (context.magic === null) {
    return begin(context.start, context.current, magics(trans));
  }
  if (context.magic === 'load_ext') {
    return begin(context.start, context.current, [{ label: PACKAGE, type: 'module' }]);
  }
  const { magic, before, current, start } = context;
  const verbs = known.verbs[magic];
  const [verb] = before;
  if (verbs !== undefined && verb === undefined) {
    const options = optionItems(known.options[magic] ?? [], current);
    return begin(start, current, [...verbs.map(label => ({ label, type: 'verb' })), ...options]);
  }
  const options = known.options[verbs === undefined ? magic : `${magic} ${verb ?? ''}`] ?? [];
  const words = verbs === undefined ? before : before.slice(1);
  const equals = current.indexOf('=');
  if (current.startsWith('--') && equals > 0) {
    const option = findOption(options, current);
    const value = current.slice(equals + 1);
    const values = option ? await valueItems(option, names, trans) : [];
    return begin(start + equals + 1, value, values);
  }
  return begin(start, current, await wordItems(words, current, options, names, trans));
}

async function wordItems(
  words: readonly string[],
  current: string,
  options: readonly OptionItem[],
  names: INames,
  trans: TranslationBundle
): Promise<Item[]> {
  if (words.includes('--')) {
    return [];
  }
  const { owner, placed } = place(words, options);
  if (owner !== null && !owner.metavar.startsWith('[')) {
    return valueItems(owner, names, trans);
  }
  const position = options.filter(option => !option.name.startsWith('-'))[placed];
  const named = position ? await valueItems(position, names, trans) : [];
  return [...named, ...optionItems(options, current)];
}

/** Whose value the next word is, and how many words that stand by themselves came before it. */
function place(
  words: readonly string[],
  options: readonly OptionItem[]
): { owner: OptionItem | null; placed: number } {
  let owner: OptionItem | null = null;
  let placed = 0;
  for (const word of words) {
    if (word.startsWith('-')) {
      const option = findOption(options, word);
      owner = option && takesValue(option) && !word.includes('=') ? option : null;
    } else {
      placed += owner === null ? 1 : 0;
      owner = null;
    }
  }
  return { owner, placed };
}

function optionItems(options: readonly OptionItem[], current: string): Item[] {
  // Accelerate's own spelling for whoever has begun with it.
  const underscored = /^--\w*_/.test(current);
  return options
    .filter(option => option.name.startsWith('-'))
    .map(option => ({
      label: underscored ? `--${option.name.slice(2).replace(/-/g, '_')}` : option.name,
      type: 'option',
      documentation: [`${option.name} ${option.metavar}`.trim(), option.help]
        .filter(Boolean)
        .join('\n\n')
    }));
}

async function valueItems(
  option: OptionItem,
  names: INames,
  trans: TranslationBundle
): Promise<Item[]> {
  switch (option.values) {
    case 'pools':
      return (await names.pools()).map(pool => ({
        label: pool.name,
        type: 'pool',
        documentation: poolText(pool, trans)
      }));
    case 'jobs':
      return (await names.jobs()).map(job => ({
        label: job.id,
        type: 'job',
        documentation: `${job.name}: ${job.state}, ${trans.__('pool %1', job.pool)}`
      }));
    default:
      // Names of variables are the kernel's to offer.
      return option.choices.map(label => ({ label, type: 'value', documentation: option.help }));
  }
}

/** A pool in a few words: kind, GPUs where they are known, and whether it answers. */
export function poolText(pool: PoolItem, trans: TranslationBundle): string {
  const states = {
    live: trans.__('live'),
    degraded: trans.__('degraded'),
    unreachable: trans.__('unreachable'),
    unknown: ''
  };
  return [pool.kind, gpuText(pool, trans), states[pool.status]].filter(Boolean).join(', ');
}

function gpuText(pool: PoolItem, trans: TranslationBundle): string {
  const gpus = pool.nodes?.reduce((sum, node) => sum + node.gpus.length, 0);
  if (gpus === undefined) {
    return '';
  }
  return gpus === 0 ? trans.__('no GPU') : trans._n('%1 GPU', '%1 GPUs', gpus);
}

function magics(trans: TranslationBundle): Item[] {
  const found: [string, string][] = [
    ['%%accelerate', trans.__('Train on a pool: the cell is what every rank runs')],
    ['%pool', trans.__('Attach GPU pools and see what is there')],
    ['%jobs', trans.__('See, follow, stop and repeat jobs')]
  ];
  return found.map(([label, documentation]) => ({ label, documentation, type: 'magic' }));
}

function begin(start: number, written: string, items: Item[]): { start: number; items: Item[] } {
  const fitting = new Map(
    items.filter(item => item.label.startsWith(written)).map(item => [item.label, item])
  );
  return { start, items: [...fitting.values()] };
}

/** Answers completion requests; remembers the words, which do not change while a server runs. */
export class LineCompleter {
  constructor(
    private readonly _api: IAiInfraApi,
    private readonly _models: IAiInfraModels,
    private readonly _trans: TranslationBundle
  ) {}

  async complete(
    request: CompletionHandler.IRequest
  ): Promise<CompletionHandler.ICompletionItemsReply> {
    const offset = Text.charIndexToJsIndex(request.offset, request.text);
    const context = contextAt(request.text, offset);
    if (context === null) {
      return { start: request.offset, end: request.offset, items: [] };
    }
    const names: INames = {
      pools: async () => this._models.pools.pools ?? this._api.pools(),
      jobs: async () => (await this._api.jobs({ limit: 50 })).jobs
    };
    const { start, items } = await offers(context, await this._words(), names, this._trans);
    return { start: Text.jsIndexToCharIndex(start, request.text), end: request.offset, items };
  }

  private async _words(): Promise<LineWords> {
    this._known ??= this._api.lineWords();
    try {
      return await this._known;
    } catch (error) {
      this._known = null;
      throw error;
    }
  }

  private _known: Promise<LineWords> | null = null;
}
