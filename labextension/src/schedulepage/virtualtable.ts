/** A table of any length: only the rows in sight are in the page. */

import { Redrawn } from '../costpage/redraw';
import { h } from '../widgets/dom';

/** Rows that are kept on both sides of what is in sight. */
const SPARE = 6;
/** So many rows are drawn where nothing is laid out. */
const LEAST = 24;

export interface IColumn<C extends string> {
  key: C;
  label: string;
  /** A width of a CSS grid. */
  width: string;
  /** Whether nothing is sorted by it; its head is then only for who cannot see it. */
  isFixed?: boolean;
  kind?: 'number';
}

export interface ITableOptions<T, C extends string> {
  label: string;
  columns: readonly IColumn<C>[];
  rowPixels: number;
  idOf: (item: T) => string;
  /** What it says to who cannot see it, and what a row is known by. */
  nameOf: (item: T) => string;
  /** All that a row is drawn of: it is drawn anew when this is another. */
  keyOf: (item: T) => string;
  cells: (item: T) => readonly (Node | string)[];
  onSort: (column: C) => void;
  onOpen: (item: T) => void;
  onDelete: (item: T) => void;
  /** The last rows are in sight. */
  onEnd?: () => void;
}

export interface IRows<T, C extends string> {
  items: readonly T[];
  sort: C;
  down: boolean;
}

interface IRow<T> {
  node: HTMLElement;
  redrawn: Redrawn;
  item: T;
}

/** Arrow keys, Home and End go from row to row, Enter opens one, Delete removes it. */
export class VirtualTable<T, C extends string> {
  constructor(options: ITableOptions<T, C>) {
    this._options = options;
    const { label, columns } = options;
    const widths = columns.map(({ width }) => width).join(' ');
    this.node.style.setProperty('--aiinfra-columns', widths);
    this._table.setAttribute('aria-label', label);
    this._table.setAttribute('aria-colcount', String(columns.length));
    this._table.append(
      h('div', { role: 'rowgroup', class: 'aiinfra-Table-top' }, this._head),
      this._sizer
    );
    this.node.append(this._table);
    this.node.addEventListener('scroll', () => this.redraw(), { passive: true });
    this.node.addEventListener('keydown', this._onKey);
    this.node.addEventListener('focusin', this._onFocus);
    this._resized = new ResizeObserver(() => this.redraw());
    this._resized.observe(this.node);
  }

  readonly node = h('div', { class: 'aiinfra-Table' });

  update({ items, sort, down }: IRows<T, C>): void {
    this._items = items;
    this._table.setAttribute('aria-rowcount', String(items.length + 1));
    this._sizer.style.height = `${items.length * this._options.rowPixels}px`;
    this._drawHead(sort, down);
    this.redraw();
  }

  /** Draw the rows in sight as they are now. */
  redraw(): void {
    const { rowPixels, idOf, onEnd } = this._options;
    const height = this.node.clientHeight;
    const first = Math.max(0, Math.floor(this.node.scrollTop / rowPixels) - SPARE);
    const seen = height === 0 ? LEAST : Math.ceil(height / rowPixels);
    const end = Math.min(this._items.length, first + seen + 2 * SPARE);
    const focused = this._focusedRow();
    const wanted = new Map<string, { item: T; index: number }>();
    for (let index = first; index < end; index += 1) {
      const item = this._items[index];
      if (item !== undefined) {
        wanted.set(idOf(item), { item, index });
      }
    }
    for (const [id, { node }] of this._rows) {
      if (!wanted.has(id)) {
        node.remove();
        this._rows.delete(id);
      }
    }
    let before: HTMLElement | null = null;
    for (const [id, { item, index }] of wanted) {
      const row = this._rows.get(id) ?? this._make(id, item);
      this._drawRow(row, item, index);
      // Rows stand in the page in their order: so they are read, and walked through.
      const place: ChildNode | null = before ? before.nextSibling : this._sizer.firstChild;
      if (place !== row.node) {
        this._sizer.insertBefore(row.node, place);
      }
      before = row.node;
    }
    this._keepFocus(focused);
    if (end >= this._items.length) {
      onEnd?.();
    }
  }

  /** Go to the top, as for another list. */
  rewind(): void {
    this.node.scrollTop = 0;
  }

  dispose(): void {
    this._resized.disconnect();
  }

  private _make(id: string, item: T): IRow<T> {
    const node = h('div', { class: 'aiinfra-Table-row', role: 'row', tabindex: '-1' });
    node.dataset['id'] = id;
    node.addEventListener('dblclick', () => this._options.onOpen(this._rows.get(id)?.item ?? item));
    const row = { node, redrawn: new Redrawn(node), item };
    this._rows.set(id, row);
    return row;
  }

  private _drawRow(row: IRow<T>, item: T, index: number): void {
    const { rowPixels, keyOf, nameOf, cells, columns } = this._options;
    row.item = item;
    row.node.style.top = `${index * rowPixels}px`;
    row.node.style.height = `${rowPixels}px`;
    row.node.setAttribute('aria-rowindex', String(index + 2));
    row.node.setAttribute('aria-label', nameOf(item));
    row.node.tabIndex = index === this._current ? 0 : -1;
    row.redrawn.draw(keyOf(item), () =>
      cells(item).map((content, place) => {
        const kind = columns[place]?.kind === 'number' ? ' aiinfra-mod-number' : '';
        return h('div', { class: `aiinfra-Table-cell${kind}`, role: 'cell' }, content);
      })
    );
  }

  private _drawHead(sort: C, down: boolean): void {
    this._header.draw(`${sort} ${down}`, () =>
      this._options.columns.map(({ key, label, isFixed, kind }) => {
        const cell = h('div', { class: 'aiinfra-Table-cell', role: 'columnheader' });
        cell.classList.toggle('aiinfra-mod-number', kind === 'number');
        if (isFixed) {
          cell.append(h('span', { class: 'aiinfra-Table-unseen' }, label));
          return cell;
        }
        const isSorted = key === sort;
        const button = h('button', {
          type: 'button',
          class: 'aiinfra-Table-sort',
          'data-focus': `head ${key}`
        });
        button.append(label);
        if (isSorted) {
          button.append(h('span', { 'aria-hidden': 'true' }, down ? ' ▾' : ' ▴'));
        }
        button.addEventListener('click', () => this._options.onSort(key));
        cell.setAttribute('aria-sort', isSorted ? (down ? 'descending' : 'ascending') : 'none');
        cell.append(button);
        return cell;
      })
    );
  }

  private _focusedRow(): string | undefined {
    const { activeElement } = document;
    const row = this._sizer.contains(activeElement)
      ? activeElement?.closest<HTMLElement>('.aiinfra-Table-row')
      : null;
    return row?.dataset['id'];
  }

  /** Who had the focus in a row that is gone has it in the one in its place. */
  private _keepFocus(id: string | undefined): void {
    if (id === undefined || this._focusedRow() !== undefined) {
      return;
    }
    const there = this._items.findIndex(item => this._options.idOf(item) === id);
    if (there < 0 && this._items.length > 0) {
      this._focus(Math.min(this._current, this._items.length - 1));
    }
  }

  private _focus(index: number): void {
    const item = this._items[index];
    if (item === undefined) {
      return;
    }
    const { rowPixels, idOf } = this._options;
    this._current = index;
    const top = index * rowPixels;
    const room = this.node.clientHeight - this._head.offsetHeight - rowPixels;
    if (top < this.node.scrollTop) {
      this.node.scrollTop = top;
    } else if (room > 0 && top > this.node.scrollTop + room) {
      this.node.scrollTop = top - room;
    }
    this.redraw();
    this._rows.get(idOf(item))?.node.focus({ preventScroll: true });
  }

  private _onFocus = (event: FocusEvent): void => {
    const row = (event.target as HTMLElement).closest<HTMLElement>('.aiinfra-Table-row');
    const id = row?.dataset['id'];
    const index = this._items.findIndex(item => this._options.idOf(item) === id);
    if (index >= 0 && index !== this._current) {
      this._current = index;
      this._rows.forEach(({ node }) => (node.tabIndex = node === row ? 0 : -1));
    }
  };

  private _onKey = (event: KeyboardEvent): void => {
    const target = event.target as HTMLElement;
    if (!target.classList.contains('aiinfra-Table-row')) {
      return;
    }
    const last = this._items.length - 1;
    const steps: Record<string, number> = {
      ArrowDown: Math.min(last, this._current + 1),
      ArrowUp: Math.max(0, this._current - 1),
      Home: 0,
      End: last
    };
    const item = this._items[this._current];
    const next = steps[event.key];
    if (next !== undefined) {
      this._focus(next);
    } else if (event.key === 'Enter' && item !== undefined) {
      this._options.onOpen(item);
    } else if (event.key === 'Delete' && item !== undefined) {
      this._options.onDelete(item);
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  };

  private _options: ITableOptions<T, C>;
  private _items: readonly T[] = [];
  private _rows = new Map<string, IRow<T>>();
  private _current = 0;
  private _head = h('div', { class: 'aiinfra-Table-head', role: 'row', 'aria-rowindex': '1' });
  private _header = new Redrawn(this._head);
  private _sizer = h('div', { class: 'aiinfra-Table-sizer', role: 'rowgroup' });
  private _table = h('div', { class: 'aiinfra-Table-all', role: 'table' });
  private _resized: ResizeObserver;
}
