/** The keys of a list whose rows open. */

import type React from 'react';

/** Up and down lead from one row that opens to the next, right and left open and close it. */
export function walk(event: React.KeyboardEvent<HTMLElement>): void {
  const { currentTarget: list, target, key } = event;
  const rows = [...list.querySelectorAll<HTMLElement>('button[aria-expanded]')];
  const at = rows.findIndex(row => row === target);
  const row = rows[at];
  if (row === undefined) {
    return;
  }
  const isOpen = row.getAttribute('aria-expanded') === 'true';
  if (key === 'ArrowDown' || key === 'ArrowUp') {
    rows[at + (key === 'ArrowDown' ? 1 : -1)]?.focus();
  } else if ((key === 'ArrowRight' && !isOpen) || (key === 'ArrowLeft' && isOpen)) {
    row.click();
  } else {
    return;
  }
  event.preventDefault();
}
