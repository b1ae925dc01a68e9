/** Times of a chart's axis, in the time zone and the language of the reader. */

const MINUTE = 60;
const HOUR = 3_600;
const DAY = 86_400;

const STEPS = [
  1,
  2,
  5,
  10,
  15,
  30,
  MINUTE,
  2 * MINUTE,
  5 * MINUTE,
  10 * MINUTE,
  15 * MINUTE,
  30 * MINUTE,
  HOUR,
  2 * HOUR,
  3 * HOUR,
  6 * HOUR,
  12 * HOUR,
  DAY,
  2 * DAY,
  7 * DAY,
  14 * DAY,
  30 * DAY,
  90 * DAY
];

const WITH_SECONDS = new Intl.DateTimeFormat(undefined, {
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
  hour12: false
});
const WITH_MINUTES = new Intl.DateTimeFormat(undefined, {
  hour: '2-digit',
  minute: '2-digit',
  hour12: false
});
const OF_DAY = new Intl.DateTimeFormat(undefined, { month: 'short', day: 'numeric' });

export interface ITick {
  at: number;
  text: string;
}

/** Times between two, `most` at most, at whole minutes, hours or days where the reader is. */
export function ticks(start: number, end: number, most: number): ITick[] {
  const step = STEPS.find(each => (end - start) / each <= most) ?? STEPS.at(-1) ?? DAY;
  const zone = new Date(start * 1000).getTimezoneOffset() * MINUTE;
  const found: ITick[] = [];
  for (let at = Math.ceil((start - zone) / step) * step + zone; at <= end; at += step) {
    found.push({ at, text: tickText(at, step) });
  }
  return found;
}

function tickText(at: number, step: number): string {
  const date = new Date(at * 1000);
  if (step >= DAY || (step >= HOUR && date.getHours() === 0 && date.getMinutes() === 0)) {
    return OF_DAY.format(date);
  }
  return (step < MINUTE ? WITH_SECONDS : WITH_MINUTES).format(date);
}

/** A moment, as exactly as buckets of `width` seconds tell it. */
export function momentText(at: number, width: number, now: number): string {
  const date = new Date(at * 1000);
  const clock = (width < MINUTE ? WITH_SECONDS : WITH_MINUTES).format(date);
  const isToday = new Date(now * 1000).toDateString() === date.toDateString();
  return isToday ? clock : `${OF_DAY.format(date)}, ${clock}`;
}

export function windowText(start: number, end: number, now: number): string {
  const width = end - start < 30 * MINUTE ? 1 : MINUTE;
  return `${momentText(start, width, now)} – ${momentText(end, width, now)}`;
}
