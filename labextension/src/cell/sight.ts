/** Whether a reader can see a part of the page: nothing is asked of the server for what nobody sees. */

import { DisposableDelegate, type IDisposable } from '@lumino/disposable';

/** How far outside of the window something counts as seen, so that scrolling meets it ready. */
const MARGIN = '200px';

/**
 * Call `told` whenever `node` comes into sight or goes out of it, until disposed.
 *
 * A notebook in another tab, and a cell that is scrolled away, are out of sight.
 */
export function watchSight(node: Element, told: (inSight: boolean) => void): IDisposable {
  // The margin of what scrolls within the window is newer than TypeScript's idea of a browser.
  const options = { rootMargin: MARGIN, scrollMargin: MARGIN };
  const observer = new IntersectionObserver(
    entries => told(entries.at(-1)?.isIntersecting ?? false),
    options
  );
  observer.observe(node);
  return new DisposableDelegate(() => observer.disconnect());
}
