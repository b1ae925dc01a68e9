/// <reference types="vite/client" />

import ts from 'typescript';
import { describe, expect, it } from 'vitest';

/** What is read by whoever extracts our texts for translators: the text's place in the call. */
const TEXTS: Record<string, readonly number[]> = { __: [0], _n: [0, 1], _p: [1], _np: [1, 2] };
/** How many arguments precede those that fill a text's %1, %2 and so on. */
const FIXED: Record<string, number> = { __: 1, _n: 3, _p: 2, _np: 4 };

const SOURCES = import.meta.glob<string>(['../**/*.{ts,tsx}', '!../**/__tests__/**'], {
  query: '?raw',
  import: 'default',
  eager: true
});

function calls(
  path: string,
  source: string
): { name: string; where: string; args: readonly ts.Expression[] }[] {
  const file = ts.createSourceFile(path, source, ts.ScriptTarget.Latest, true);
  const found: ReturnType<typeof calls> = [];
  const visit = (node: ts.Node): void => {
    if (ts.isCallExpression(node) && ts.isPropertyAccessExpression(node.expression)) {
      const { line } = file.getLineAndCharacterOfPosition(node.getStart());
      const name = node.expression.name.text;
      found.push({ name, where: `${path}:${line + 1}`, args: node.arguments });
    }
    ts.forEachChild(node, visit);
  };
  visit(file);
  return found;
}

/** What is wrong with a call that translates; nothing to say of any other. */
function fault({ name, args }: ReturnType<typeof calls>[number]): string {
  const places = Object.hasOwn(TEXTS, name) ? TEXTS[name]! : [];
  for (const place of places) {
    const text = args[place];
    if (text === undefined || !ts.isStringLiteralLike(text)) {
      return 'its text is no literal, and cannot be extracted';
    }
    if (text.text.includes('%%')) {
      return 'its %% comes out as one %: fill it in, by %1';
    }
    const highest = Math.max(0, ...[...text.text.matchAll(/%(\d)/g)].map(([, at]) => Number(at)));
    // Of a plural, the number itself comes first.
    const filled = args.length - FIXED[name]! + (name.endsWith('n') || name === '_np' ? 1 : 0);
    if (highest > filled) {
      return `nothing fills its %${highest}`;
    }
  }
  return '';
}

describe('the texts of the front end', () => {
  const all = Object.entries(SOURCES).flatMap(([path, source]) => calls(path, source));

  it('are found by this test', () => {
    expect(all.filter(call => call.name === '__').length).toBeGreaterThan(50);
  });

  it.each([
    ['trans.__(text)', 'its text is no literal, and cannot be extracted'],
    ['trans.__(`a ${b}`)', 'its text is no literal, and cannot be extracted'],
    ["trans.__('a ' + b)", 'its text is no literal, and cannot be extracted'],
    ["trans.__('a %%magic')", 'its %% comes out as one %: fill it in, by %1'],
    ["trans.__('%1 of %2', a)", 'nothing fills its %2'],
    ["trans._n('one', '%1 of %2', n)", 'nothing fills its %2'],
    ["trans._n('one', '%1 of %2', n, all)", ''],
    ["trans._p('context', '%1', a)", '']
  ])('are judged: %s', (source, expected) => {
    expect(calls('x.ts', source).map(fault)).toEqual([expected]);
  });

  it('can be extracted, and are filled in', () => {
    const faults = all.map(call => [call.where, fault(call)]).filter(([, text]) => text !== '');

    expect(faults).toEqual([]);
  });

  it('are all of our own domain', () => {
    const loads = Object.entries(SOURCES).flatMap(([path, source]) =>
      [...source.matchAll(/\b(?:nullT|t)ranslator\)?\.load\(([^)]*)\)/g)].map(found => [
        path,
        found[1]
      ])
    );

    expect(loads.length).toBeGreaterThan(0);
    expect(loads.filter(([, domain]) => domain !== "'jupyter_aiinfra'")).toEqual([]);
  });
});
