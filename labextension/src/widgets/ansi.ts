/** Text of one style. `color` and `background` are set only for colours no theme has a name for. */
export interface ISpan {
  text: string;
  classes: string[];
  color: string;
  background: string;
}

// eslint-disable-next-line no-control-regex -- the escape character is what is looked for
const SGR = /\x1b\[([0-9;]*)m/g;
const FLAGS: Record<number, string> = {
  1: 'bold',
  2: 'dim',
  3: 'italic',
  4: 'underline',
  7: 'inverse',
  9: 'strike'
};
const FLAGS_OFF: Record<number, string[]> = {
  22: ['bold', 'dim'],
  23: ['italic'],
  24: ['underline'],
  27: ['inverse'],
  29: ['strike']
};
const LEVELS = [0, 95, 135, 175, 215, 255];

/** A palette number, an `rgb(…)`, or nothing. */
type Color = number | string | null;

interface IStyle {
  flags: Set<string>;
  fg: Color;
  bg: Color;
}

/** Split a line into pieces of one style each; the escape sequences themselves are gone. */
export function spans(text: string): ISpan[] {
  const pieces: ISpan[] = [];
  const style: IStyle = { flags: new Set(), fg: null, bg: null };
  let at = 0;
  for (const match of text.matchAll(SGR)) {
    push(pieces, text.slice(at, match.index), style);
    applySgr(style, match[1] ?? '');
    at = match.index + match[0].length;
  }
  push(pieces, text.slice(at), style);
  return pieces;
}

/** The text without its colours. */
export function stripAnsi(text: string): string {
  return text.replace(SGR, '');
}

function push(pieces: ISpan[], text: string, style: IStyle): void {
  if (!text) {
    return;
  }
  const span: ISpan = { text, classes: [...style.flags], color: '', background: '' };
  const inverse = style.flags.has('inverse');
  const colors = { fg: inverse ? style.bg : style.fg, bg: inverse ? style.fg : style.bg };
  for (const ground of ['fg', 'bg'] as const) {
    const color = colors[ground];
    if (typeof color === 'number') {
      span.classes.push(`${ground}-${color}`);
    } else if (color) {
      span[ground === 'fg' ? 'color' : 'background'] = color;
    }
  }
  pieces.push(span);
}

function applySgr(style: IStyle, parameters: string): void {
  const codes = parameters.split(';').map(Number);
  for (let code = codes.shift(); code !== undefined; code = codes.shift()) {
    const flag = FLAGS[code];
    if (code === 0) {
      style.flags.clear();
      style.fg = style.bg = null;
    } else if (flag) {
      style.flags.add(flag);
    } else if (code in FLAGS_OFF) {
      FLAGS_OFF[code]?.forEach(name => style.flags.delete(name));
    } else if (code === 38 || code === 48) {
      const color = extended(codes);
      if (color !== null) {
        style[ground(code)] = color;
      }
    } else if (code === 39 || code === 49) {
      style[ground(code)] = null;
    } else if ((code >= 30 && code <= 47) || (code >= 90 && code <= 107)) {
      style[ground(code)] = (code % 10) + (code >= 90 ? 8 : 0);
    }
  }
}

function ground(code: number): 'fg' | 'bg' {
  return code % 60 < 40 ? 'fg' : 'bg';
}

function extended(codes: number[]): Color {
  const mode = codes.shift();
  const values = codes.splice(0, mode === 2 ? 3 : 1);
  if (values.some(value => value > 255)) {
    return null;
  }
  if (mode === 2 && values.length === 3) {
    return `rgb(${values.join(', ')})`;
  }
  const [index] = values;
  return mode === 5 && index !== undefined ? indexed(index) : null;
}

function indexed(index: number): Color {
  if (index < 16) {
    return index;
  }
  if (index >= 232) {
    const grey = 8 + (index - 232) * 10;
    return `rgb(${grey}, ${grey}, ${grey})`;
  }
  const channels = [36, 6, 1].map(step => LEVELS[Math.floor((index - 16) / step) % 6]);
  return `rgb(${channels.join(', ')})`;
}
