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
