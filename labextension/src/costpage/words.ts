/** Times in words, where the reader is. */

const CLOCK = new Intl.DateTimeFormat(undefined, {
  hour: '2-digit',
  minute: '2-digit',
  hour12: false
});
const DAY_AND_CLOCK = new Intl.DateTimeFormat(undefined, {
  month: 'short',
  day: 'numeric',
  hour: '2-digit',
  minute: '2-digit',
  hour12: false
});

/** `14:05`; of another day than today that day as well. */
export function momentText(seconds: number, now = new Date()): string {
  const at = new Date(seconds * 1000);
  const isToday = at.toDateString() === now.toDateString();
  return (isToday ? CLOCK : DAY_AND_CLOCK).format(at);
}
