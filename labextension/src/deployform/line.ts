/** The line that a form of what is to be deployed stands for. Pure. */

export const HOW = ['rolling', 'canary', 'blue-green', 'header', 'shadow'] as const;
export type How = (typeof HOW)[number];

/** As what a torch module is packaged; the first is as it is. */
export const FORMS = ['source', 'bf16', 'export', 'onnx', 'int8'] as const;
export type Form = (typeof FORMS)[number];

/** Stands for that no pool takes the place of what is lost: no pool is called so. */
export const NO_FALLBACK = '/';

/** What stands in the form; empty where the verb is to decide. */
export interface IDeployTexts {
  /** `name NAME`, `tagged`, or `other` for what stands in `other`. */
  source: string;
  other: string;
  example: string;
  /** One of `FORMS`; counts only for a module. */
  form: string;
  name: string;
  pool: string;
  /** The pool that takes the place of what is lost; empty: none, or as before. */
  fallback: string;
  gpus: string;
  least: string;
  most: string;
  /** Of the first key; nobody may call without one from then on. */
  key: string;
  /** One of `HOW`. */
  how: string;
  percent: string;
  step: string;
  header: string;
  errors: string;
  p95: string;
  agreement: string;
  ungated: string;
  oneAtATime: string;
  unreplayed: string;
  origins: string;
  /** Of a new endpoint: by which header a caller keeps to a version. */
  sticky: string;
  tolerance: string;
  /** What is lost is not asked again. */
  once: string;
  sample: string;
  redact: string;
  note: string;
}

/** What of the form counts only for an endpoint that is new, or only for one that is there. */
export interface ILineOptions {
  isNew: boolean;
  /** Whether what is served is a torch module. */
  isModule: boolean;
  /** The notebook, as the kernel finds it. */
  notebook: string;
}

const NAMED = 'name ';

export function namedSource(name: string): string {
  return NAMED + name;
}

/** The word that the verb takes for what is to be served. */
export function sourceWord({ source, other }: IDeployTexts, notebook: string): string {
  return source === 'tagged'
    ? notebook
    : source.startsWith(NAMED)
      ? source.slice(NAMED.length)
      : other.trim();
}

/** `%promote endpoint …`, as one writes it into a cell. */
export function promoteLine(
  texts: IDeployTexts,
  { isNew, isModule, notebook }: ILineOptions
): string {
  const words = [sourceWord(texts, notebook), '--name', texts.name.trim()];
  const add = (option: string, text: string): void => {
    if (text.trim() !== '') {
      words.push(option, text.trim());
    }
  };
  add('--pool', texts.pool);
  if (texts.fallback === NO_FALLBACK) {
    words.push('--no-spot');
  } else {
    add('--fallback-pool', texts.fallback);
  }
  add('--gpus', texts.gpus);
  if (texts.source !== 'other') {
    add('--example', texts.example);
  }
  if (isModule && texts.form !== FORMS[0]) {
    add('--form', texts.form);
  }
  if (texts.oneAtATime !== '' && texts.source !== 'other') {
    words.push('--one-at-a-time');
  }
  if (isNew) {
    addScale(texts, add);
    addRouting(texts, words, add);
  } else {
    addChange(texts, words, add);
  }
  if (texts.unreplayed !== '') {
    words.push('--no-replay');
  }
  add('--note', texts.note);
  return ['%promote endpoint', ...words.map(quoted)].join(' ');
}

function addScale(
  { least, most }: IDeployTexts,
  add: (option: string, text: string) => void
): void {
  if (least.trim() === most.trim() || most.trim() === '') {
    // It may sleep only where it may have none: the verb takes no such number of replicas.
    add(least.trim() === '0' ? '--min' : '--replicas', least);
  } else {
    add('--min', least);
    add('--max', most);
  }
}

/** What the router does for a new endpoint; what is usual is left out. */
function addRouting(
  texts: IDeployTexts,
  words: string[],
  add: (option: string, text: string) => void
): void {
  for (const origin of wordsOf(texts.origins)) {
    add('--cors', origin);
  }
  add('--sticky', texts.sticky);
  add('--tolerance', shareOf(texts.tolerance));
  if (texts.once !== '') {
    words.push('--not-idempotent');
  }
  add('--sample', shareOf(texts.sample));
  for (const left of wordsOf(texts.redact)) {
    add('--redact', left);
  }
}

function addChange(
  texts: IDeployTexts,
  words: string[],
  add: (option: string, text: string) => void
): void {
  const { how } = texts;
  if (how === 'blue-green' || how === 'shadow') {
    words.push(`--${how}`);
  } else if (how === 'canary') {
    add('--canary', texts.percent.replaceAll(/\s/g, ''));
    add('--step', texts.step);
  } else if (how === 'header') {
    add('--header', texts.header);
  }
  if (texts.ungated !== '') {
    words.push('--no-gates');
  } else {
    add('--max-errors', shareOf(texts.errors));
    add('--max-p95', texts.p95);
    add('--min-agreement', shareOf(texts.agreement));
  }
}

/** `2` percent is `0.02`; what is no number is for the verb to refuse. */
function shareOf(percent: string): string {
  const value = numberOf(percent);
  return value === null ? percent : String(Math.round(value * 1e6) / 1e8);
}

/** A number as a person writes it; `null` where it is none. */
export function numberOf(text: string): number | null {
  const bare = text.trim().replace(/\s*%$/, '').replace(',', '.');
  const value = Number(bare);
  return bare === '' || !Number.isFinite(value) ? null : value;
}

export function wordsOf(text: string): string[] {
  return text.split(/[\s,]+/).filter(word => word !== '');
}

/**
 * A word as the line is read: by IPython, which takes `{x}` and `$x` for the value of a name, and
 * then as a shell would split it.
 */
function quoted(word: string): string {
  const kept = word.replaceAll(/[{}]/g, '$&$&').replaceAll(/\$(?=[\w.])/g, '$$$$');
  if (/^[\w@%+=:,./-]+$/.test(kept)) {
    return kept;
  }
  return /["\\]/.test(kept) ? `'${kept.replaceAll("'", `'"'"'`)}'` : `"${kept}"`;
}
