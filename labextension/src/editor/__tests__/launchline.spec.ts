import { describe, expect, it } from 'vitest';

import {
  asDryRun,
  beginsLaunch,
  choosePool,
  launchLine,
  launchSource,
  poolWord,
  splitWords,
  type IEdit
} from '../launchline';
import { WORDS } from './samples';

function apply(source: string, edit: IEdit | null): string {
  return edit === null ? source : source.slice(0, edit.start) + edit.value + source.slice(edit.end);
}

describe('a launch cell', () => {
  it.each([
    ['%%accelerate', ''],
    ['%%accelerate here --procs 2\nx = 1', ' here --procs 2'],
    ['\n\n  %%accelerate here\nx', ' here'],
    ['%%accelerate\there', '\there']
  ])('is known by its first line: %j', (source, text) => {
    const line = launchLine(source);
    expect(line?.text).toBe(text);
    expect(source.slice(line?.magicStart, line?.start)).toBe('%%accelerate');
    expect(source.startsWith(text, line?.start)).toBe(true);
  });

  it.each(['', 'x = 1', '%accelerate here', '%%accelerated', 'x\n%%accelerate here', '%%time'])(
    'is not %j',
    source => {
      expect(launchLine(source)).toBeNull();
      expect(beginsLaunch(source)).toBe(false);
      expect(asDryRun(source)).toBeNull();
      expect(choosePool(source, 'here', WORDS)).toBeNull();
    }
  );

  it('is a dry run of itself with one more option, before a bare --', () => {
    expect(asDryRun('\n%%accelerate here -- --x\ny')).toBe(
      '\n%%accelerate --dry-run here -- --x\ny'
    );
  });

  it('is made of a job', () => {
    expect(launchSource('here --procs 2', 'x = 1\n')).toBe('%%accelerate here --procs 2\nx = 1\n');
    expect(launchSource('', 'x = 1')).toBe('%%accelerate\nx = 1');
  });
});

describe('words', () => {
  it.each([
    ['', []],
    ['  a  b ', ['a', 'b']],
    [`a 'b c' "d \\" e" f\\ g`, ['a', 'b c', 'd " e', 'f g']],
    [`--name='two words'x`, ['--name=two wordsx']],
    [`'' "it's"`, ['', "it's"]],
    [`a 'open end`, ['a', 'open end']]
  ])('are the shell’s: %j', (line, words) => {
    const found = splitWords(line);
    expect(found.map(word => word.text)).toEqual(words);
    for (const word of found) {
      expect(line.slice(word.start, word.end)).not.toMatch(/^\s|^$/);
    }
  });

  it.each([
    [' here --procs 2', 'here'],
    [' --procs 2 here', 'here'],
    [' --cpu here', 'here'],
    [' --procs=2 here', 'here'],
    [' --use_fsdp here', 'here'],
    [' --main_process_port 29500 here', 'here'],
    [' --mlflow --cpu here', 'here'],
    [' --unheard-of x here', 'here'],
    [' --procs 2', null],
    [' -- here', null],
    ['', null]
  ])('one of them names the pool: %j', (text, pool) => {
    expect(poolWord(text, WORDS)?.text ?? null).toBe(pool);
  });
});

describe('choosing a pool', () => {
  it.each([
    ['%%accelerate here --procs 2\nx', '%%accelerate there --procs 2\nx'],
    ["%%accelerate --procs 2 'he re'", '%%accelerate --procs 2 there'],
    ['%%accelerate --procs 2', '%%accelerate there --procs 2'],
    ['%%accelerate\nx', '%%accelerate there\nx'],
    ['\n %%accelerate   here  -- --y\nhere', '\n %%accelerate   there  -- --y\nhere']
  ])('changes nothing else: %j', (source, changed) => {
    expect(apply(source, choosePool(source, 'there', WORDS))).toBe(changed);
  });

  it('quotes a name that is more than one word', () => {
    const quoted = apply('%%accelerate a', choosePool('%%accelerate a', "o'n e", WORDS));
    const [word] = splitWords(launchLine(quoted)?.text ?? '');
    expect(word?.text).toBe("o'n e");
  });
});
