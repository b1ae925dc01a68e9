import { spans } from './ansi';

/** Make an element. Text is only ever set as text, so nothing a program prints becomes markup. */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Record<string, string> = {},
  ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** Text with colours, as nodes. */
export function coloured(text: string): (Node | string)[] {
  return spans(text).map(span => {
    if (!span.classes.length && !span.color && !span.background) {
      return span.text;
    }
    const element = h(
      'span',
      { class: span.classes.map(name => `aiinfra-${name}`).join(' ') },
      span.text
    );
    element.style.color = span.color;
    element.style.backgroundColor = span.background;
    return element;
  });
}

/** Put text on the clipboard; also where the page is not in a secure context. */
export async function copyText(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyBySelection(text);
  }
}

function copyBySelection(text: string): boolean {
  const area = h('textarea', { 'aria-hidden': 'true', style: 'position: fixed; opacity: 0' });
  area.value = text;
  document.body.append(area);
  area.select();
  try {
    // Deprecated, and the only way on a page that came over plain HTTP.
    return document.execCommand('copy');
  } catch {
    return false;
  } finally {
    area.remove();
  }
}
