/** Times on the wall of a zone, and lengths of time as one writes them. */

/** The zone of this browser. */
export function zoneHere(): string {
  return new Intl.DateTimeFormat().resolvedOptions().timeZone || 'UTC';
}

/** The zones that this browser knows, by name. */
export function allZones(): string[] {
  const { supportedValuesOf } = Intl as { supportedValuesOf?: (key: string) => string[] };
  return ['UTC', ...(supportedValuesOf?.('timeZone') ?? [])];
}

export function isZone(name: string): boolean {
  try {
    new Intl.DateTimeFormat('en-US', { timeZone: name });
    return true;
  } catch {
    return false;
  }
}

/** What a clock in the zone shows at a moment, as `2026-12-01T02:30`. */
export function wallOf(seconds: number, zone: string): string {
  return new Date((seconds + offsetOf(seconds, zone)) * 1000).toISOString().slice(0, 16);
}

/**
 * The moment at which a clock in the zone shows `2026-12-01T02:30`; `null` where that is no time.
 *
 * Of two such moments it is the first, and where it is never shown the first one after, which is
 * how the server reads it, too.
 */
export function momentOf(wall: string, zone: string): number | null {
  if (!/^\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?$/.test(wall.trim())) {
    return null;
  }
  const shown = Date.parse(`${wall.trim().replace(' ', 'T')}Z`) / 1000;
  if (!Number.isFinite(shown) || !isZone(zone)) {
    return null;
  }
  const before = offsetOf(shown - DAY, zone);
  const after = offsetOf(shown + DAY, zone);
  const found = [shown - before, shown - after].filter(
    each => each + offsetOf(each, zone) === shown
  );
  return found.length > 0 ? Math.min(...found) : firstAfter(shown, before, after, zone);
}

const DAY = 86400;

/** Where the clock leaps over what it would show: the moment of the leap. */
function firstAfter(shown: number, before: number, after: number, zone: string): number {
  let [early, late] = [shown - Math.max(before, after), shown - Math.min(before, after)];
  const old = offsetOf(early, zone);
  while (late - early > 1) {
    const middle = Math.floor((early + late) / 2);
    if (offsetOf(middle, zone) === old) {
      early = middle;
    } else {
      late = middle;
    }
  }
  return late;
}

/** How much later than in Greenwich a clock in the zone shows it is, in seconds. */
function offsetOf(seconds: number, zone: string): number {
  const parts = new Intl.DateTimeFormat('en-US', {
    timeZone: zone,
    hourCycle: 'h23',
    year: 'numeric',
    month: 'numeric',
    day: 'numeric',
    hour: 'numeric',
    minute: 'numeric',
    second: 'numeric'
  }).formatToParts(new Date(seconds * 1000));
  const of = (type: string): number => Number(parts.find(each => each.type === type)?.value ?? 0);
  const shown = Date.UTC(
    of('year'),
    of('month') - 1,
    of('day'),
    of('hour'),
    of('minute'),
    of('second')
  );
  return Math.round(shown / 1000 - Math.floor(seconds));
}

const UNITS: readonly [string, number][] = [
  ['w', 604800],
  ['d', 86400],
  ['h', 3600],
  ['m', 60],
  ['s', 1]
];

/** Seconds of `90`, `30s`, `1h30m` or `2d`; `null` where it is no such length. */
export function lengthOf(text: string): number | null {
  const word = text.trim().toLowerCase();
  if (!/^(\d+(\.\d+)?[smhdw]?)+$/.test(word)) {
    return null;
  }
  const parts = word.matchAll(/(\d+(?:\.\d+)?)([smhdw]?)/g);
  const size = new Map(UNITS);
  return [...parts].reduce(
    (sum, part) => sum + Number(part[1]) * (size.get(part[2] || 's') ?? 1),
    0
  );
}

/** The same the other way round: `1h30m`. */
export function lengthText(seconds: number): string {
  let left = seconds;
  let text = '';
  for (const [unit, size] of UNITS.slice(1)) {
    const count = unit === 's' ? Math.round(left * 1000) / 1000 : Math.floor(left / size);
    if (count > 0) {
      text += `${count}${unit}`;
      left -= count * size;
    }
  }
  return text || '0s';
}
