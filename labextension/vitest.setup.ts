import { vi } from 'vitest';

/** What is waited for comes as soon as it can; a busy machine may need seconds to load a module. */
const LONGEST_WAIT_MILLISECONDS = 60_000;
const { waitFor } = vi;
vi.waitFor = (callback, options) =>
  waitFor(callback, options ?? { timeout: LONGEST_WAIT_MILLISECONDS });

// What JupyterLab's modules expect of a browser when they are imported, and jsdom does not have.

class FakeDragEvent extends MouseEvent {}

class FakeResizeObserver {
  observe(): void {
    // Nothing is laid out in jsdom, so no size ever changes.
  }
  unobserve(): void {
    // As above.
  }
  disconnect(): void {
    // As above.
  }
}

Object.assign(globalThis, {
  DragEvent: FakeDragEvent,
  ResizeObserver: FakeResizeObserver,
  requestIdleCallback: (callback: () => void) => setTimeout(callback, 0)
});

globalThis.matchMedia = (query: string) =>
  ({
    matches: false,
    media: query,
    addListener: () => undefined,
    removeListener: () => undefined,
    addEventListener: () => undefined,
    removeEventListener: () => undefined
  }) as unknown as MediaQueryList;
