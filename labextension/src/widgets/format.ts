/** A count with separators: `1,204`. */
export function count(value: number): string {
  return value.toLocaleString('en-US');
}

/** `1 rank`, `2 ranks`. */
export function plural(value: number, word: string): string {
  return `${count(value)} ${word}${value === 1 ? '' : 's'}`;
}

/**
 * A duration as people say it: `0.8 s`, `41 s`, `3 min 05 s`, `2 h 04 min`, `1 d 06 h`.
 *
 * While it `ticks` it has no tenths, which would only flicker.
 */
export function durationText(seconds: number, ticks = false): string {
  if (seconds < 9.95 && !ticks) {
    return `${seconds.toFixed(1)} s`;
  }
  const whole = ticks ? Math.floor(seconds) : Math.round(seconds);
  const padded = (value: number): string => String(value).padStart(2, '0');
  if (whole < 60) {
    return `${whole} s`;
  }
  if (whole < 3600) {
    return `${Math.floor(whole / 60)} min ${padded(whole % 60)} s`;
  }
  if (whole < 86400) {
    return `${Math.floor(whole / 3600)} h ${padded(Math.floor((whole % 3600) / 60))} min`;
  }
  return `${Math.floor(whole / 86400)} d ${padded(Math.floor((whole % 86400) / 3600))} h`;
}

/** How long a step takes: `4.2 ms`, `0.42 s`, `3.1 s`, `71 s`, `5 min 20 s`. */
export function stepText(seconds: number): string {
  if (seconds < 0.0995) {
    return `${Number((seconds * 1000).toPrecision(2))} ms`;
  }
  if (seconds < 9.95) {
    return `${seconds.toFixed(seconds < 1 ? 2 : 1)} s`;
  }
  return seconds < 119.5 ? `${seconds.toFixed(0)} s` : durationText(seconds);
}

/** `12 B`, `3.4 kB`, `200 MB`; empty when unknown. */
export function sizeText(bytes: number | null): string {
  if (bytes === null) {
    return '';
  }
  let size = bytes;
  let unit = 'B';
  for (const larger of ['kB', 'MB', 'GB', 'TB']) {
    if (size < 1000) {
      break;
    }
    size /= 1000;
    unit = larger;
  }
  return `${unit === 'B' || size >= 10 ? size.toFixed(0) : size.toFixed(1)} ${unit}`;
}
