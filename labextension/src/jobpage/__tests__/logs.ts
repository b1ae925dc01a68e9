/** A log on a fake server, and a view with a size: jsdom lays nothing out. */

import { vi } from 'vitest';

import type { LogRow, LogRows } from '../../api/types';

export function row(index: number, changes: Partial<LogRow> = {}): LogRow {
  return { text: `line ${index}`, line: index + 1, repeat: 1, left_out: 0, ...changes };
}

/** Rows as the server answers them: `count` of them from `first` on, of a log of `total`. */
export function rows(
  { first, count, total }: { first: number; count: number; total: number },
  changes: Partial<LogRows> = {}
): LogRows {
  const from = first < 0 ? Math.max(0, total + first) : first;
  const length = Math.max(0, Math.min(count, total - from));
  return {
    rank: 0,
    first: from,
    rows: Array.from({ length }, (_none, at) => row(from + at)),
    total_rows: total,
    total_lines: total,
    total_bytes: total * 10,
    complete: false,
    ...changes
  };
}

/** Let everything that waits for nothing but its turn have it. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 20; turn += 1) {
    await Promise.resolve();
  }
}

/** Frames that come when the test says so. */
export function fakeFrames(): { next: () => void; pending: () => number } {
  const waiting = new Map<number, FrameRequestCallback>();
  let last = 0;
  vi.stubGlobal('requestAnimationFrame', (callback: FrameRequestCallback) => {
    waiting.set(++last, callback);
    return last;
  });
  vi.stubGlobal('cancelAnimationFrame', (frame: number) => waiting.delete(frame));
  return {
    pending: () => waiting.size,
    next: () => {
      const now = [...waiting.values()];
      waiting.clear();
      now.forEach(callback => callback(0));
    }
  };
}

/** Give an element a size, and a scroll bar as long as what is in it says. */
export function giveSize(element: HTMLElement, height: number): void {
  let top = 0;
  const most = (): number => {
    const sizer = element.firstElementChild as HTMLElement;
    return Math.max(0, parseFloat(sizer.style.height || '0') - height);
  };
  Object.defineProperties(element, {
    clientHeight: { value: height, configurable: true },
    clientWidth: { value: 800, configurable: true },
    scrollTop: {
      configurable: true,
      get: () => Math.min(top, most()),
      set: (value: number) => (top = Math.min(Math.max(0, value), most()))
    }
  });
}
