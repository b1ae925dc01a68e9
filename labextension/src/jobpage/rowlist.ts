/** The rows of a log that are in the page: a run of them, in order. */

import { h } from '../widgets/dom';
import { RowView } from './rowview';

export class RowList {
  readonly node = h('div', { class: 'aiinfra-VirtualLog-list' });

  get rows(): readonly RowView[] {
    return this._rows;
  }

  /** The row of this number, if it is in the page. */
  at(index: number): RowView | undefined {
    return this._rows[index - this._first];
  }

  /** Have exactly these rows in the page; what stays is not touched, so that a selection stays. */
  fill(first: number, end: number): void {
    const spare: RowView[] = [];
    while (this._rows.length > 0 && this._first < first) {
      spare.push(...this._rows.splice(0, 1));
      this._first += 1;
    }
    while (this._rows.length > 0 && this._first + this._rows.length > end) {
      spare.push(...this._rows.splice(-1));
    }
    if (this._rows.length === 0) {
      this._first = first;
    }
    while (this._rows.length > 0 && this._first > first) {
      const row = spare.pop() ?? new RowView();
      this.node.prepend(row.node);
      this._rows.unshift(row);
      this._first -= 1;
    }
    if (this._rows.length === 0) {
      // None of them stays: they are drawn again where they are.
      spare.sort((one, other) => order(one.node, other.node));
    }
    while (this._first + this._rows.length < end) {
      const row = spare.shift() ?? new RowView();
      if (row.node.parentNode !== this.node || this._rows.length > 0) {
        this._place(row);
      }
      this._rows.push(row);
    }
    spare.forEach(({ node }) => node.remove());
  }

  /** Put a row after those that are there, unless it stands there already. */
  private _place({ node }: RowView): void {
    const last = this._rows[this._rows.length - 1]?.node;
    const next = last ? last.nextSibling : this.node.firstChild;
    if (next !== node) {
      this.node.insertBefore(node, next);
    }
  }

  /** The number of the first row in the page. */
  private _first = 0;
  private _rows: RowView[] = [];
}

function order(one: Node, other: Node): number {
  return one.compareDocumentPosition(other) & Node.DOCUMENT_POSITION_FOLLOWING ? -1 : 1;
}
