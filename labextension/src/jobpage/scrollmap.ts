/** Where in a log a scroll bar stands: browsers do not make elements as high as long logs are. */

/** Well below what any browser allows; up to here a pixel of scrolling is a pixel of the log. */
export const MOST_PIXELS = 8_000_000;

/** A log of `height` pixels in a view of `view` pixels. */
export class ScrollMap {
  constructor(
    readonly height: number,
    readonly view: number
  ) {
    this.sizer = Math.min(height, MOST_PIXELS);
  }

  /** How high the element is that makes the scroll bar. */
  readonly sizer: number;

  /** Whether the scroll bar moves over more than it is high. */
  get scaled(): boolean {
    return this.sizer < this.height;
  }

  /** The largest position: the last row is at the bottom. */
  get end(): number {
    return Math.max(0, this.height - this.view);
  }

  /** The scroll bar's place for a position in the log, both in pixels from the top. */
  toBar(position: number): number {
    const bar = Math.max(0, this.sizer - this.view);
    return this.scaled ? (this.clamp(position) / this.end) * bar : this.clamp(position);
  }

  /** The position in the log for the scroll bar's place. */
  fromBar(place: number): number {
    const bar = Math.max(0, this.sizer - this.view);
    return this.clamp(this.scaled ? (place / bar) * this.end : place);
  }

  clamp(position: number): number {
    return Math.min(Math.max(0, position), this.end);
  }
}

/** Which of some rows, one below the other, are in a view of `view` pixels from `top` on. */
export function inSight(
  heights: readonly number[],
  top: number,
  view: number
): { first: number; offset: number; end: number } {
  let first = 0;
  let y = 0;
  while (first < heights.length - 1 && y + (heights[first] ?? 0) <= top) {
    y += heights[first] ?? 0;
    first += 1;
  }
  const offset = top - y;
  let end = first;
  while (end < heights.length && y < top + view) {
    y += heights[end] ?? 0;
    end += 1;
  }
  return { first, offset, end };
}
