/**
 * The line of a magic as text: where its words stand, and what to change to say something else.
 *
 * Nothing is judged here: what is wrong with a line is the server's to say.
 */

import type { LineWords, OptionItem } from '../api/types';

export const LAUNCH_MAGIC = '%%accelerate';

export interface IWord {
  readonly text: string;
  readonly start: number;
  readonly end: number;
}

/** The first line of a launch cell: its words are `text`, which begins at `start` of the source. */
export interface ILaunchLine {
  readonly magicStart: number;
  readonly start: number;
  readonly text: string;
}

/** To be done to a text: put `value` in place of what is from `start` up to `end`. */
export interface IEdit {
  readonly start: number;
  readonly end: number;
  readonly value: string;
}

/** As IPython reads a cell: empty lines and blanks may stand before the magic. */
const LAUNCH = /^(\s*)%%accelerate(?![^\s])([^\n]*)/;
const LAUNCH_HEAD = /^\s*%%accelerate(?![^\s])/;

/** The launch line of a cell, or `null` for any other cell. */
export function launchLine(source: string): ILaunchLine | null {
  const found = LAUNCH.exec(source);
  if (found === null) {
    return null;
  }
  const magicStart = (found[1] ?? '').length;
  return { magicStart, start: magicStart + LAUNCH_MAGIC.length, text: found[2] ?? '' };
}

/** Whether a line is the first of a launch cell. */
export function beginsLaunch(line: string): boolean {
  return LAUNCH_HEAD.test(line);
}

/** The words of a line as a shell splits them; a quote that is left open ends with the line. */
export function splitWords(line: string): IWord[] {
  const words: IWord[] = [];
  let at = 0;
  while (at < line.length) {
    if (/\s/.test(line.charAt(at))) {
      at += 1;
      continue;
    }
    const word = readWord(line, at);
    words.push(word);
    at = word.end;
  }
  return words;
}

function readWord(line: string, start: number): IWord {
  let text = '';
  let quote = '';
  let at = start;
  for (; at < line.length; at += 1) {
    const char = line.charAt(at);
    if (quote === '' && /\s/.test(char)) {
      break;
    }
    const next = line.charAt(at + 1);
    if (char === quote) {
      quote = '';
    } else if (quote === '' && (char === '"' || char === "'")) {
      quote = char;
    } else if (char === '\\' && (quote === '' || (quote === '"' && /["\\]/.test(next)))) {
      text += next;
      at += 1;
    } else {
      text += char;
    }
  }
  return { text, start, end: Math.min(at, line.length) };
}

/** The option that `word` gives, by any spelling that the parser knows. */
export function findOption(
  options: readonly OptionItem[] | undefined,
  word: string
): OptionItem | undefined {
  const [flag = ''] = word.split('=', 1);
  const name = flag.replace(/_/g, '-');
  const meant = name === '--main-process-port' ? '--port' : name;
  return options?.find(option => option.name === meant);
}

/** Whether an option has a value as its next word: always, perhaps (`[URI]`), or never. */
export function takesValue(option: OptionItem): boolean {
  return option.metavar !== '';
}

/** The word of a launch line that names the pool, as the parser finds it. */
export function poolWord(text: string, known: LineWords | null): IWord | null {
  const words = splitWords(text);
  for (let index = 0; index < words.length; index += 1) {
    const word = words[index] as IWord;
    if (word.text === '--') {
      return null;
    }
    if (!word.text.startsWith('-')) {
      return word;
    }
    const following = words[index + 1];
    if (word.text.includes('=') || following === undefined) {
      continue;
    }
    const option = findOption(known?.options['accelerate'], word.text);
    // Of an option that nobody knows, what follows may be the value.
    const taken = option === undefined ? !following.text.startsWith('-') : takesValue(option);
    if (taken && !following.text.startsWith('--')) {
      index += 1;
    }
  }
  return null;
}

/** What makes a launch cell run on `pool`; everything else in its line stays as it is. */
export function choosePool(source: string, pool: string, known: LineWords | null): IEdit | null {
  const line = launchLine(source);
  if (line === null) {
    return null;
  }
  const word = poolWord(line.text, known);
  const value = quoted(pool);
  if (word === null) {
    return { start: line.start, end: line.start, value: ` ${value}` };
  }
  return { start: line.start + word.start, end: line.start + word.end, value };
}

function quoted(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replace(/'/g, `'"'"'`)}'`;
}

/** A launch cell's source that only says what would be done. `null` for another cell. */
export function asDryRun(source: string): string | null {
  const line = launchLine(source);
  if (line === null) {
    return null;
  }
  // Before all else in the line: what follows a bare `--` is not ours.
  return `${source.slice(0, line.start)} --dry-run${source.slice(line.start)}`;
}

/** The cell of a job: what it was launched with, and its code. */
export function launchSource(line: string, code: string): string {
  return `${LAUNCH_MAGIC} ${line.trim()}`.trimEnd() + `\n${code}`;
}
