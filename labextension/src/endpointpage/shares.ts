/** Parts of a whole that are moved by hand. Pure. */

const WHOLE = 100;

/**
 * Whole percentages after the one at a place was set to `value`: the others keep their proportion,
 * and all come to 100.
 */
export function moved(shares: readonly number[], at: number, value: number): number[] {
  const wanted = Math.min(WHOLE, Math.max(0, Math.round(value)));
  if (shares.length < 2) {
    return shares.map(() => WHOLE);
  }
  const rest = WHOLE - wanted;
  const others = shares.reduce((sum, share, place) => (place === at ? sum : sum + share), 0);
  const exact = shares.map((share, place) => {
    if (place === at) {
      return wanted;
    }
    return others > 0 ? (share / others) * rest : rest / (shares.length - 1);
  });
  return rounded(exact);
}

/** Whole numbers that come to 100, as near as can be to percentages that do. */
export function rounded(exact: readonly number[]): number[] {
  const whole = exact.map(Math.floor);
  const missing = WHOLE - whole.reduce((sum, each) => sum + each, 0);
  exact
    .map((share, place) => ({ place, lost: share - Math.floor(share) }))
    .sort((one, other) => other.lost - one.lost || one.place - other.place)
    .slice(0, Math.max(0, missing))
    .forEach(({ place }) => (whole[place] = (whole[place] ?? 0) + 1));
  return whole;
}
