/** One row of a log in the page; used again and again for other rows. */

import type { LogRow } from '../api/types';
import { h } from '../widgets/dom';
import { plainLine } from '../widgets/log';
import { lineNode } from '../widgets/logpane';

/** Marks in one row at most: what is looked for may be a single letter. */
const MOST_MARKS = 200;

/** What is looked for in a log, and in which row it was found last. */
export interface IHighlight {
  pattern: RegExp;
  row: number | null;
}

export class RowView {
  readonly node = h('div', { class: 'aiinfra-row' });

  /** Draw a row, or that it is on its way. Nothing is done where nothing is new. */
  draw(index: number, row: LogRow | undefined, highlight: IHighlight | null): void {
    const current = highlight !== null && highlight.row === index;
    const pattern = highlight?.pattern ?? null;
    if (
      this._drawn &&
      this._row === row &&
      this._pattern === pattern &&
      this._current === current
    ) {
      return;
    }
    this._drawn = true;
    this._row = row;
    this._pattern = pattern;
    this._current = current;
    this.node.className = className(row, current);
    this.node.dataset['line'] = row ? String(row.line) : '';
    const line = lineNode(row ? [row.text, row.repeat, row.left_out] : ['']);
    if (row && pattern) {
      mark(line, pattern);
    }
    this.node.replaceChildren(line);
  }

  private _drawn = false;
  private _row: LogRow | undefined;
  private _pattern: RegExp | null = null;
  private _current = false;
}

/** A row for the clipboard. */
export function plainRow({ text, repeat, left_out }: LogRow): string {
  return plainLine([text, repeat, left_out]);
}

/** What finds `text` as it stands there. Flags `giu` find letters of the other case, too. */
export function patternOf(text: string, matchCase: boolean): RegExp {
  const literal = text.replace(/[\\^$.*+?()[\]{}|/-]/g, character => `\\${character}`);
  return new RegExp(literal, matchCase ? 'gu' : 'giu');
}

/** How many columns a row takes at most: a letter of an East Asian script takes two. */
export function columnsOf({ text }: LogRow): number {
  let columns = text.length + 24;
  for (const character of text) {
    if (character === '\t') {
      columns += 7;
    } else if (character >= '\u1100') {
      columns += 1;
    }
  }
  return columns;
}

function className(row: LogRow | undefined, current: boolean): string {
  const state = row ? '' : ' aiinfra-mod-loading';
  return `aiinfra-row${state}${current ? ' aiinfra-mod-current' : ''}`;
}

/** Mark what is looked for; it may run across pieces of different colours. */
function mark(line: HTMLElement, pattern: RegExp): void {
  const pieces = textNodes(line);
  const text = pieces.map(({ data }) => data).join('');
  const found = [...text.matchAll(pattern)].slice(0, MOST_MARKS);
  let start = 0;
  let at = 0;
  for (const piece of pieces) {
    const end = start + piece.data.length;
    const ranges: [number, number][] = [];
    for (let match = found[at]; match && match.index < end; match = found[at]) {
      const stop = match.index + match[0].length;
      ranges.push([Math.max(start, match.index) - start, Math.min(end, stop) - start]);
      if (stop > end) {
        break;
      }
      at += 1;
    }
    wrap(piece, ranges);
    start = end;
  }
}

/** The text of the line itself, without what is said about it. */
function textNodes(line: HTMLElement): Text[] {
  const nodes: Text[] = [];
  for (const child of line.childNodes) {
    const inner = child instanceof Text ? child : child.firstChild;
    const note =
      child instanceof HTMLElement &&
      (child.classList.contains('aiinfra-note') || child.classList.contains('aiinfra-repeat'));
    if (inner instanceof Text && !note) {
      nodes.push(inner);
    }
  }
  return nodes;
}

function wrap(piece: Text, ranges: [number, number][]): void {
  const { data } = piece;
  const nodes: (Node | string)[] = [];
  let at = 0;
  for (const [from, to] of ranges) {
    if (to > from) {
      nodes.push(data.slice(at, from), h('mark', {}, data.slice(from, to)));
      at = to;
    }
  }
  if (nodes.length > 0) {
    piece.replaceWith(...nodes, data.slice(at));
  }
}
