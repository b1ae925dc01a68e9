/** Dialogs of JupyterLab in tests. */

import { expect, vi } from 'vitest';

/** Wait for a dialog to be shown and drawn: it is on the page before its title and body are. */
export async function dialog(): Promise<HTMLElement> {
  return vi.waitFor(() => {
    const found = document.querySelector<HTMLElement>('.jp-Dialog');
    expect(found, 'a dialog').not.toBeNull();
    const shown = found as HTMLElement;
    const parts = [
      ...shown.querySelectorAll('.jp-Dialog-header, .jp-Dialog-body, .jp-ReactWidget')
    ];
    expect(parts.length, 'parts of the dialog').toBeGreaterThan(0);
    expect(parts.filter(part => !part.hasChildNodes())).toEqual([]);
    return shown;
  });
}

/** Press a button of a dialog by what is on it. */
export function press(shown: HTMLElement, button: string): void {
  const found = [...shown.querySelectorAll('button')].find(each => each.textContent === button);
  expect(found, `a button ${button}`).toBeDefined();
  found?.click();
}

/**
 * Leave no dialog open, and an empty page, after a test.
 *
 * A dialog waits for the one before it: of one left open by a test that failed, all later ones fail.
 */
export function closeDialogs(): void {
  const buttons = document.querySelectorAll<HTMLButtonElement>(
    '.jp-Dialog .jp-mod-reject, .jp-Dialog .jp-mod-accept'
  );
  buttons.forEach(button => button.click());
  document.body.replaceChildren();
}
