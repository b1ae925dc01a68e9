/** Tells a kernel that its view is looked at, as long as it is; see `widgets/attention.py`. */

/** From one word to the next, where the kernel has heard the first. */
const EVERY_MILLISECONDS = 8_000;
/** A word that is not heard waits for a cell to end; it is said again all the same, in case. */
const AGAIN_MILLISECONDS = 60_000;

export type Word = { type: 'look'; view: string; number: number } | { type: 'leave'; view: string };

export interface ILooksOptions {
  node: Element;
  /** Returns whether it could be said. */
  say: (word: Word) => boolean;
  /** The view has come into sight, or gone out of it. */
  onSight?: (inSight: boolean) => void;
  clock?: () => number;
}

let views = 0;

/** Says so at once when the node comes into sight, then every few seconds while it is. */
export class Looks {
  constructor(options: ILooksOptions) {
    this._options = options;
    this._clock = options.clock ?? (() => performance.now());
    document.addEventListener('visibilitychange', this._onChange);
    if (typeof IntersectionObserver === 'function') {
      this._observer = new IntersectionObserver(entries => {
        this._isNear = entries.at(-1)?.isIntersecting ?? false;
        this._onChange();
      });
      this._observer.observe(options.node);
    } else {
      this._isNear = true;
      this._onChange();
    }
  }

  readonly view = `${Math.random().toString(36).slice(2, 10)}-${++views}`;

  get inSight(): boolean {
    return this._inSight;
  }

  /** The kernel has heard us up to this word. */
  heard(words: Record<string, number> | undefined): void {
    this._heard = Math.max(this._heard, words?.[this.view] ?? 0);
  }

  /** To be called about once a second. */
  tick(): void {
    const passed = this._clock() - this._saidAt;
    const wait = this._heard >= this._number ? EVERY_MILLISECONDS : AGAIN_MILLISECONDS;
    if (this._inSight && passed >= wait) {
      this._look();
    }
  }

  /** The kernel reads no more: say at once that it should, unless that was just said. */
  wake(): void {
    if (this._inSight && this._clock() - this._saidAt >= 1_000) {
      this._look();
    }
  }

  dispose(): void {
    this._observer?.disconnect();
    document.removeEventListener('visibilitychange', this._onChange);
    this._inSight = false;
    if (this._number > 0) {
      this._options.say({ type: 'leave', view: this.view });
    }
  }

  private _onChange = (): void => {
    const inSight = this._isNear && !document.hidden;
    if (inSight === this._inSight) {
      return;
    }
    this._inSight = inSight;
    this._options.onSight?.(inSight);
    if (inSight && (this._number === 0 || this._heard >= this._number)) {
      this._look();
    }
  };

  private _look(): void {
    this._saidAt = this._clock();
    if (this._options.say({ type: 'look', view: this.view, number: this._number + 1 })) {
      this._number += 1;
    }
  }

  private _options: ILooksOptions;
  private _clock: () => number;
  private _observer: IntersectionObserver | null = null;
  private _isNear = false;
  private _inSight = false;
  private _number = 0;
  private _heard = 0;
  private _saidAt = -Infinity;
}
