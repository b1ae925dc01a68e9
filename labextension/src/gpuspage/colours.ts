/** The colours of the theme, as a canvas needs them. */

import { MOST_LINES } from './curves';

export interface IColours {
  quiet: string;
  grid: string;
  lines: string[];
  /** From little to much, each as 0xAABBGGRR, the way that pixels are kept. */
  heat: Uint32Array;
}

const HEAT_STOPS = 5;
const UNKNOWN = '#888888';
/** Lines that follow each other differ by more than their colour. */
export const DASHES: readonly number[][] = [[], [7, 3], [2, 3], [9, 3, 2, 3]];

/** Read from the style of `node`. Asked for at each drawing: what a theme says is worked out once. */
export function coloursOf(node: HTMLElement): IColours {
  const style = getComputedStyle(node);
  const read = (name: string): string => style.getPropertyValue(name).trim() || UNKNOWN;
  const numbered = (name: string, count: number): string[] =>
    Array.from({ length: count }, (_, number) => read(`${name}-${number}`));
  // One of each kind tells whether it is another theme; all of them take a while to be read.
  const names = ['quiet', 'grid', 'line-0', 'heat-0']
    .map(each => read(`--aiinfra-chart-${each}`))
    .join();
  if (known?.names === names) {
    return known.colours;
  }
  const colours = {
    quiet: read('--aiinfra-chart-quiet'),
    grid: read('--aiinfra-chart-grid'),
    lines: numbered('--aiinfra-chart-line', MOST_LINES).map(hexOf),
    heat: scaleOf(numbered('--aiinfra-chart-heat', HEAT_STOPS))
  };
  known = { names, colours };
  return colours;
}

let known: { names: string; colours: IColours } | null = null;

/** 256 colours between the stops. */
function scaleOf(stops: readonly string[]): Uint32Array {
  const parts = stops.map(partsOf);
  return Uint32Array.from({ length: 256 }, (_, number) => {
    const at = (number / 255) * (parts.length - 1);
    const [from, to] = [parts[Math.floor(at)], parts[Math.ceil(at)]];
    const share = at - Math.floor(at);
    const mix = (channel: number): number =>
      Math.round((from?.[channel] ?? 0) * (1 - share) + (to?.[channel] ?? 0) * share);
    return (255 << 24) | (mix(2) << 16) | (mix(1) << 8) | mix(0);
  });
}

/** Red, green and blue of a colour in whatever form a theme has it. */
function partsOf(colour: string): number[] {
  const number = parseInt(hexOf(colour).slice(1, 7), 16);
  return [(number >> 16) & 255, (number >> 8) & 255, number & 255];
}

/** `#rrggbb`: what a canvas makes of a colour that is not transparent. */
function hexOf(colour: string): string {
  const context = document.createElement('canvas').getContext('2d');
  if (context === null) {
    return UNKNOWN;
  }
  context.fillStyle = UNKNOWN;
  context.fillStyle = colour;
  const made = String(context.fillStyle);
  return made.startsWith('#') ? made : UNKNOWN;
}

/** The same colour, so much of it. */
export function faded(colour: string, share: number): string {
  return `${colour.slice(0, 7)}${Math.round(share * 255)
    .toString(16)
    .padStart(2, '0')}`;
}
