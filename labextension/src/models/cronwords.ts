/** Cron lines in words, as far as there are short ones. */

import type { TranslationBundle } from '@jupyterlab/translation';

const DAYS = ['SUN', 'MON', 'TUE', 'WED', 'THU', 'FRI', 'SAT'];
const MOST_TIMES = 3;

/** `every day at 02:00`; `null` where the line is no cron line, or needs more than a few words. */
export function cronText(line: string, trans: TranslationBundle): string | null {
  const fields = line.trim().toUpperCase().split(/\s+/);
  if (fields.length === 6 && fields[0] === '0') {
    fields.shift();
  }
  const [minute, hour, day, month, weekday] = fields;
  if (fields.length !== 5 || !minute || !hour || !day || !weekday || month !== '*') {
    return null;
  }
  const days = daysText(day, weekday, trans);
  const often = oftenText(minute, hour, trans);
  if (often !== null && days !== null) {
    return day === '*' && weekday === '*' ? often : trans.__('%1, %2', often, days);
  }
  const times = timesText(minute, hour);
  return times === null || days === null
    ? null
    : trans.__('%1 at %2', days, listText(times, trans));
}

/** What comes several times in an hour or a day. */
function oftenText(minute: string, hour: string, trans: TranslationBundle): string | null {
  const step = /^\*\/(\d+)$/;
  const minutes = step.exec(minute)?.[1];
  const hours = step.exec(hour)?.[1];
  if (hour === '*') {
    if (minute === '*') {
      return trans.__('every minute');
    }
    if (minutes !== undefined) {
      return trans.__('every %1 minutes', minutes);
    }
    return isNumber(minute, 59) ? trans.__('every hour at :%1', two(minute)) : null;
  }
  if (hours !== undefined && isNumber(minute, 59)) {
    return trans.__('every %1 hours at :%2', hours, two(minute));
  }
  const range = /^(\d+)-(\d+)$/.exec(hour);
  if (range === null || !isNumber(range[1]!, 23) || !isNumber(range[2]!, 23)) {
    return null;
  }
  const [from, to] = [two(range[1]!), two(range[2]!)];
  if (minutes !== undefined) {
    return trans.__('every %1 minutes from %2:00 to %3:59', minutes, from, to);
  }
  return isNumber(minute, 59)
    ? trans.__('every hour from %1:%3 to %2:%3', from, to, two(minute))
    : null;
}

function timesText(minute: string, hour: string): string[] | null {
  const hours = hour.split(',');
  const isPlain = isNumber(minute, 59) && hours.every(each => isNumber(each, 23));
  return isPlain && hours.length <= MOST_TIMES
    ? hours.map(each => `${two(each)}:${two(minute)}`)
    : null;
}

function daysText(day: string, weekday: string, trans: TranslationBundle): string | null {
  if (weekday === '*') {
    switch (day) {
      case '*':
        return trans.__('every day');
      case 'L':
        return trans.__('on the last day of each month');
      case 'LW':
        return trans.__('on the last working day of each month');
    }
    const days = day.split(',');
    return days.length <= MOST_TIMES && days.every(each => isNumber(each, 31) && Number(each) > 0)
      ? trans.__(
          'on day %1 of each month',
          listText(
            days.map(each => String(Number(each))),
            trans
          )
        )
      : null;
  }
  return day === '*' ? weekdaysText(weekday, trans) : null;
}

function weekdaysText(weekday: string, trans: TranslationBundle): string | null {
  if (/^(MON-FRI|1-5)$/.test(weekday)) {
    return trans.__('on weekdays');
  }
  const nth = /^(\w+)#([1-5])$/.exec(weekday);
  const last = /^(\w+)L$/.exec(weekday);
  const [one] = [nth?.[1] ?? last?.[1]].map(each => (each ? dayName(each, trans) : null));
  if (nth || last) {
    const which = nth ? ordinal(Number(nth[2]), trans) : trans.__('last');
    return one ? trans.__('on the %1 %2 of each month', which, one) : null;
  }
  const range = /^(\w+)-(\w+)$/.exec(weekday);
  const names = (range ? [range[1]!, range[2]!] : weekday.split(',')).map(each =>
    dayName(each, trans)
  );
  if (names.some(each => each === null)) {
    return null;
  }
  return range
    ? trans.__('from %1 to %2', names[0]!, names[1]!)
    : trans.__('every %1', listText(names as string[], trans));
}

function dayName(text: string, trans: TranslationBundle): string | null {
  const place = isNumber(text, 7) ? Number(text) % 7 : DAYS.indexOf(text);
  const names = [
    trans.__('Sunday'),
    trans.__('Monday'),
    trans.__('Tuesday'),
    trans.__('Wednesday'),
    trans.__('Thursday'),
    trans.__('Friday'),
    trans.__('Saturday')
  ];
  return names[place] ?? null;
}

function ordinal(count: number, trans: TranslationBundle): string {
  const words = [
    trans.__('first'),
    trans.__('second'),
    trans.__('third'),
    trans.__('fourth'),
    trans.__('fifth')
  ];
  return words[count - 1] ?? String(count);
}

/** `a`, `a and b`, `a, b and c`. */
function listText(words: readonly string[], trans: TranslationBundle): string {
  const last = words.at(-1) ?? '';
  return words.length < 2 ? last : trans.__('%1 and %2', words.slice(0, -1).join(', '), last);
}

function isNumber(text: string, most: number): boolean {
  return /^\d{1,2}$/.test(text) && Number(text) <= most;
}

function two(text: string): string {
  return text.padStart(2, '0');
}
