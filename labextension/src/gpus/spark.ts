/** Small curves on a canvas. Pure, as `wire.ts` is. */

/** A canvas at the resolution of the screen, and how large it is in CSS pixels. */
export interface ISurface {
  context: CanvasRenderingContext2D;
  width: number;
  height: number;
}

/** Make `canvas` as sharp as the screen is, and empty; `null` where it has no size. */
export function surfaceOf(
  canvas: HTMLCanvasElement,
  width: number,
  height: number
): ISurface | null {
  const ratio = window.devicePixelRatio || 1;
  const [wide, high] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (wide === 0 || high === 0) {
    return null;
  }
  const context = canvas.getContext('2d');
  if (context === null) {
    return null;
  }
  if (canvas.width !== wide || canvas.height !== high) {
    [canvas.width, canvas.height] = [wide, high];
  }
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return { context, width, height };
}

export interface ISparkOptions {
  /** What the height stands for. */
  most: number;
  line: string;
  area: string;
}

/** Draw numbers from left to right over the whole width, the newest at the end; gaps are gaps. */
export function drawSpark(
  { context, width, height }: ISurface,
  values: readonly (number | null)[],
  { most, line, area }: ISparkOptions
): void {
  const step = width / Math.max(1, values.length - 1);
  const base = height - 0.5;
  const top = (value: number): number =>
    base - (Math.min(Math.max(value, 0), most) / most) * (height - 2);
  context.lineWidth = 1;
  context.lineJoin = 'round';
  for (const [from, to] of runs(values)) {
    const begin = Math.max(0, from * step - (from === to ? 0.5 : 0));
    const end = Math.min(width, to * step + (from === to ? 0.5 : 0));
    context.beginPath();
    context.moveTo(begin, top(values[from] ?? 0));
    for (let place = from + 1; place <= to; place += 1) {
      context.lineTo(place * step, top(values[place] ?? 0));
    }
    if (from === to) {
      context.lineTo(end, top(values[from] ?? 0));
    }
    context.strokeStyle = line;
    context.stroke();
    context.lineTo(end, base);
    context.lineTo(begin, base);
    context.closePath();
    context.fillStyle = area;
    context.fill();
  }
}

/** Where numbers stand without a gap between: the first and the last place of each such run. */
export function runs(values: readonly (number | null)[]): [number, number][] {
  const found: [number, number][] = [];
  let from = -1;
  for (let place = 0; place <= values.length; place += 1) {
    const known = place < values.length && values[place] !== null;
    if (known && from < 0) {
      from = place;
    } else if (!known && from >= 0) {
      found.push([from, place - 1]);
      from = -1;
    }
  }
  return found;
}
