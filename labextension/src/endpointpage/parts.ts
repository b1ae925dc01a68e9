/** Small parts that the page of endpoints is put together from. */

import type { TranslationBundle } from '@jupyterlab/translation';

import { copyText, h } from '../widgets/dom';

const COPIED_MILLISECONDS = 1_500;

export interface IButtonOptions {
  /** By what the focus finds it again where it is made anew. */
  name?: string;
  onClick: () => void;
  isEnabled?: boolean;
  /** What it says to who cannot see what it stands beside. */
  label?: string;
  title?: string;
  kind?: 'main' | 'bad';
}

export function button(
  text: string,
  { name, onClick, isEnabled = true, label, title, kind }: IButtonOptions
): HTMLButtonElement {
  const node = h('button', { type: 'button', class: 'aiinfra-EndpointPage-button' }, text);
  if (kind !== undefined) {
    node.classList.add(`aiinfra-mod-${kind}`);
  }
  if (name !== undefined) {
    node.dataset['focus'] = name;
  }
  if (label !== undefined) {
    node.setAttribute('aria-label', label);
  }
  node.title = title ?? '';
  node.disabled = !isEnabled;
  node.addEventListener('click', onClick);
  return node;
}

/** A button that puts a text on the clipboard, and says whether it did. */
export function copyButton(
  textOf: () => string,
  label: string,
  trans: TranslationBundle
): HTMLButtonElement {
  const node = button(trans.__('Copy'), {
    label,
    name: `copy ${label}`,
    onClick: () =>
      void copyText(textOf()).then(done => {
        node.textContent = done ? trans.__('Copied') : trans.__('Not copied');
        setTimeout(() => (node.textContent = trans.__('Copy')), COPIED_MILLISECONDS);
      })
  });
  return node;
}

export interface IHead {
  text: string;
  isNumber?: boolean;
  /** Its words are for who cannot see that it stands above buttons. */
  isUnseen?: boolean;
  title?: string;
}

/** A table in words; the first cell of a row names it. */
export function table(
  label: string,
  heads: readonly IHead[],
  rows: readonly (readonly (Node | string)[])[]
): HTMLElement {
  const head = heads.map(({ text, isNumber, isUnseen, title }) =>
    h(
      'th',
      { scope: 'col', class: isNumber ? 'aiinfra-mod-number' : '', title: title ?? '' },
      isUnseen ? h('span', { class: 'aiinfra-Table-unseen' }, text) : text
    )
  );
  const body = rows.map(cells =>
    h(
      'tr',
      {},
      ...cells.map((cell, place) =>
        h(
          place === 0 ? 'th' : 'td',
          {
            ...(place === 0 && { scope: 'row' }),
            class: heads[place]?.isNumber ? 'aiinfra-mod-number' : ''
          },
          cell
        )
      )
    )
  );
  return h(
    'div',
    {
      class: 'aiinfra-EndpointPage-scroll',
      tabindex: '0',
      role: 'region',
      'aria-label': label,
      'data-focus': `table ${label}`
    },
    h(
      'table',
      { class: 'aiinfra-EndpointPage-table' },
      h('thead', {}, h('tr', {}, ...head)),
      h('tbody', {}, ...body)
    )
  );
}

export function facts(
  pairs: readonly (readonly [term: string, value: Node | string])[]
): HTMLElement {
  const list = h('dl', { class: 'aiinfra-EndpointPage-facts' });
  list.append(...pairs.map(([term, value]) => h('div', {}, h('dt', {}, term), h('dd', {}, value))));
  return list;
}

export function quiet(text: string): HTMLElement {
  return h('p', { class: 'aiinfra-EndpointPage-quiet' }, text);
}

/** A dot that says a state by its colour, with the word beside it. */
export function badge(state: string, text: string): HTMLElement {
  return h('span', { class: 'aiinfra-EndpointState', 'data-state': state }, text);
}

/** What of a rate or a time is of a version: the same colour wherever it stands. */
export function colourOf(number: number): string {
  return String((number - 1) % 6);
}

export function swatch(number: number): HTMLElement {
  return h('span', {
    class: 'aiinfra-EndpointPage-swatch',
    'data-colour': colourOf(number),
    'aria-hidden': 'true'
  });
}
