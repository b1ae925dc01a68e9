import { nullTranslator } from '@jupyterlab/translation';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { fakeApi } from '../../__tests__/fakes';
import { LogModel } from '../logmodel';
import { patternOf } from '../rowview';
import { MOST_PIXELS, ScrollMap } from '../scrollmap';
import { ROW_PIXELS, VirtualLog } from '../virtuallog';
import { fakeFrames, giveSize, row, rows, settle } from './logs';

const VIEW = 20 * ROW_PIXELS;
const trans = nullTranslator.load('jupyter_aiinfra');

let frames: ReturnType<typeof fakeFrames>;
const made: VirtualLog[] = [];

beforeEach(() => {
  frames = fakeFrames();
});

afterEach(() => {
  made.splice(0).forEach(log => log.dispose());
  document.body.replaceChildren();
  vi.unstubAllGlobals();
});

function view(): VirtualLog {
  const log = new VirtualLog(trans);
  made.push(log);
  giveSize(log.region, VIEW);
  document.body.append(log.node);
  return log;
}

function model(total: number): LogModel {
  const api = fakeApi({ logRows: query => Promise.resolve(rows({ ...query, total })) });
  const log = new LogModel({ api, id: '0abc', rank: 0 });
  log.take(rows({ first: Math.max(0, total - 100), count: 100, total }));
  return log;
}

async function draw(): Promise<void> {
  frames.next();
  await settle();
  frames.next();
}

function lines(log: VirtualLog): string[] {
  return [...log.region.querySelectorAll('.aiinfra-row')].map(each => each.textContent);
}

function press(log: VirtualLog, key: string, more: KeyboardEventInit = {}): KeyboardEvent {
  const event = new KeyboardEvent('keydown', { key, cancelable: true, ...more });
  log.region.dispatchEvent(event);
  return event;
}

function wheel(log: VirtualLog, deltaY: number): WheelEvent {
  const event = new WheelEvent('wheel', { deltaY, cancelable: true });
  log.region.dispatchEvent(event);
  return event;
}

function scroll(log: VirtualLog, top: number): void {
  log.region.scrollTop = top;
  log.region.dispatchEvent(new Event('scroll'));
}

const TOP = { row: 0, offset: 0, following: false };
const END = { row: 0, offset: 0, following: true };

describe('the rows in the page', () => {
  it('are those in sight, at the top, at the end and in the middle of five million', async () => {
    const log = view();
    log.show(model(5_000_000), TOP);
    await draw();
    expect(lines(log)).toEqual(Array.from({ length: 20 }, (_none, at) => `line ${at}`));

    press(log, 'End');
    await draw();
    expect(lines(log).at(-1)).toBe('line 4999999');
    expect(lines(log)).toHaveLength(20);

    scroll(log, (MOST_PIXELS - VIEW) / 2);
    press(log, 'ArrowLeft');
    await draw();
    expect(lines(log).length).toBeLessThanOrEqual(21);
    const first = Number(lines(log)[0]?.slice(5));
    expect(Math.abs(first - 2_499_990)).toBeLessThan(20);
    expect(log.region.querySelector<HTMLElement>('.aiinfra-VirtualLog-sizer')?.style.height).toBe(
      `${MOST_PIXELS}px`
    );
  });

  it('can each be reached where the scroll bar is too short for them', async () => {
    const log = view();
    log.show(model(5_000_000), TOP);
    await draw();
    const event = wheel(log, 3 * ROW_PIXELS);
    await draw();

    expect(event.defaultPrevented).toBe(true);
    expect(lines(log)[0]).toBe('line 3');
    wheel(log, ROW_PIXELS / 2);
    await draw();
    expect(lines(log)[0]).toBe('line 3');
    expect(lines(log)).toHaveLength(21);
  });

  it('are scrolled by the browser where it can', async () => {
    const log = view();
    log.show(model(1_000), TOP);
    await draw();

    expect(wheel(log, 30).defaultPrevented).toBe(false);
    scroll(log, 100 * ROW_PIXELS);
    await draw();
    expect(lines(log)[0]).toBe('line 100');
    expect(log.place).toEqual({ row: 100, offset: 0, following: false });
  });

  it('keep their elements as long as they stay in sight', async () => {
    const log = view();
    log.show(model(1_000), TOP);
    await draw();
    const before = [...log.region.querySelectorAll('.aiinfra-row')];
    press(log, 'ArrowDown');
    await draw();
    const after = [...log.region.querySelectorAll('.aiinfra-row')];

    expect(after.slice(0, 19)).toEqual(before.slice(1));
    press(log, 'ArrowUp');
    await draw();
    expect(lines(log)).toEqual(Array.from({ length: 20 }, (_none, at) => `line ${at}`));
  });

  it('are used again for other rows', async () => {
    const log = view();
    log.show(model(100_000), TOP);
    await draw();
    const before = new Set(log.region.querySelectorAll('.aiinfra-row'));
    press(log, 'End');
    await draw();

    expect([...log.region.querySelectorAll('.aiinfra-row')].every(each => before.has(each))).toBe(
      true
    );
  });

  it('are empty until they come', () => {
    const log = view();
    log.show(model(1_000), TOP);
    frames.next();

    expect(lines(log)).toEqual(Array.from({ length: 20 }, () => ''));
    expect(log.region.querySelectorAll('.aiinfra-mod-loading')).toHaveLength(20);
  });

  it('show what a program prints as text, with its colours and what is said of it', async () => {
    const log = view();
    const source = model(0);
    const hostile = rows({ first: 0, count: 3, total: 3 });
    hostile.rows[0] = row(0, { text: '<img src=x onerror="alert(1)"><script>alert(2)</script>' });
    hostile.rows[1] = row(1, { text: '\x1b[31mred\x1b[0m \x1b]0;title\x07' });
    hostile.rows[2] = row(2, { text: 'again', repeat: 1_200, left_out: 5_000 });
    source.take(hostile);
    log.show(source, TOP);
    await draw();

    expect(log.region.querySelector('img, script')).toBeNull();
    expect(lines(log)[0]).toContain('<img src=x onerror="alert(1)">');
    expect(log.region.querySelector('.aiinfra-fg-1')?.textContent).toBe('red');
    expect(lines(log)[2]).toBe('again … 5,000 more bytes× 1,200');
    expect(log.region.querySelector<HTMLElement>('.aiinfra-row')?.dataset['line']).toBe('1');
  });
});

describe('following', () => {
  it('stays at the end while lines come, and draws once a frame', async () => {
    const log = view();
    const source = model(100);
    log.show(source, END);
    await draw();
    const drawn = vi.spyOn(source, 'need');
    for (let total = 200; total <= 20_000; total += 100) {
      source.take(rows({ first: total - 100, count: 100, total }));
    }
    expect(frames.pending()).toBe(1);
    frames.next();

    expect(drawn).toHaveBeenCalledTimes(1);
    expect(lines(log).at(-1)).toBe('line 19999');
    expect(log.region.querySelectorAll('.aiinfra-mod-loading')).toHaveLength(0);
  });

  it('asks for nothing of what the news brought', async () => {
    const log = view();
    const asked = vi.fn();
    const source = new LogModel({ api: fakeApi({ logRows: asked }), id: '0abc', rank: 0 });
    log.show(source, END);
    for (let total = 300; total <= 3_000; total += 300) {
      source.take(rows({ first: total - 300, count: 300, total }));
      await draw();
    }

    expect(asked).not.toHaveBeenCalled();
  });

  it('ends when the reader scrolls up, and begins again at the end', async () => {
    const log = view();
    const source = model(1_000);
    const heard: boolean[] = [];
    log.followingChanged.connect((_sender, following) => heard.push(following));
    log.show(source, END);
    await draw();
    const jump = log.node.querySelector<HTMLButtonElement>('.aiinfra-jump');
    expect(jump?.hidden).toBe(true);

    scroll(log, log.region.scrollTop - 40);
    source.take(rows({ first: 1_000, count: 100, total: 1_100 }));
    await draw();
    expect(log.place.following).toBe(false);
    expect(lines(log)).toContain('line 990');
    expect(jump?.hidden).toBe(false);

    jump?.click();
    await draw();
    expect(lines(log).at(-1)).toBe('line 1099');
    expect(heard).toEqual([false, true]);

    scroll(log, log.region.scrollTop - 40);
    scroll(log, 1_100 * ROW_PIXELS);
    expect(log.place.following).toBe(true);
  });

  it('ends with the first turn of the wheel, before anything has moved', () => {
    const log = view();
    log.show(model(1_000), END);
    frames.next();
    wheel(log, -3);

    expect(log.place.following).toBe(false);
  });

  it('outlives a change of the size of the view', async () => {
    const log = view();
    log.show(model(1_000), END);
    await draw();
    Object.defineProperty(log.region, 'clientHeight', { value: VIEW + 90 });
    scroll(log, log.region.scrollTop - 90);
    await draw();

    expect(log.place.following).toBe(true);
    expect(lines(log).at(-1)).toBe('line 999');
  });
});

describe('the keyboard', () => {
  it('moves by rows, by pages and to both ends', async () => {
    const log = view();
    log.show(model(1_000), TOP);
    await draw();
    const after = async (key: string, more: KeyboardEventInit = {}): Promise<string> => {
      expect(press(log, key, more).defaultPrevented).toBe(true);
      await draw();
      return lines(log)[0] ?? '';
    };

    expect(await after('ArrowDown')).toBe('line 1');
    expect(await after('PageDown')).toBe('line 20');
    expect(await after('PageUp')).toBe('line 1');
    expect(await after('ArrowUp')).toBe('line 0');
    expect(await after('End', { ctrlKey: true })).toBe('line 980');
    expect(log.place.following).toBe(true);
    expect(await after('Home')).toBe('line 0');
    expect(press(log, 'x').defaultPrevented).toBe(false);
    expect(press(log, 'c', { ctrlKey: true }).defaultPrevented).toBe(false);
  });
});

describe('long lines that are broken', () => {
  beforeEach(() => {
    // Each tenth row takes three lines.
    vi.spyOn(HTMLElement.prototype, 'getBoundingClientRect').mockImplementation(function (
      this: HTMLElement
    ) {
      const tall = Number(this.dataset['line']) % 10 === 1;
      return { height: tall ? 3 * ROW_PIXELS : ROW_PIXELS } as DOMRect;
    });
  });

  it('fill the view up to the end, and the reader moves through them by pixels', async () => {
    const log = view();
    log.wrap = true;
    log.show(model(100_000), END);
    await draw();
    expect(lines(log).at(-1)).toBe('line 99999');
    // Twenty lines: rows 99990 to 99999 take twelve of them, two more the tall row before.
    expect(log.place).toEqual({ row: 99_982, offset: 0, following: true });

    wheel(log, -ROW_PIXELS);
    await draw();
    expect(log.place).toEqual({ row: 99_981, offset: 0, following: false });
    wheel(log, -2 * ROW_PIXELS);
    await draw();
    expect(log.place).toEqual({
      row: 99_980,
      offset: 2 * ROW_PIXELS - ROW_PIXELS,
      following: false
    });
  });

  it('are placed from the top on', async () => {
    const log = view();
    log.wrap = true;
    log.show(model(100_000), TOP);
    await draw();
    wheel(log, 3 * ROW_PIXELS);
    await draw();
    expect(log.place).toEqual({ row: 1, offset: 0, following: false });
    wheel(log, -10 * ROW_PIXELS);
    await draw();
    expect(log.place).toEqual({ row: 0, offset: 0, following: false });
    press(log, 'End');
    await draw();
    expect(lines(log).at(-1)).toBe('line 99999');
    expect(lines(log).length).toBeLessThan(30);
  });
});

describe('marks', () => {
  it('stand where the text is found, across colours, and only in the line itself', async () => {
    const log = view();
    const source = model(0);
    const coloured = rows({ first: 0, count: 2, total: 2 });
    coloured.rows[0] = row(0, { text: 'a lo\x1b[31mss of LOSS\x1b[0m.', repeat: 9 });
    coloured.rows[1] = row(1, { text: 'x.y [x]', left_out: 7 });
    source.take(coloured);
    log.show(source, TOP);
    log.highlight({ pattern: patternOf('loss', false), row: 0 });
    await draw();
    const marks = (): string[] =>
      [...log.region.querySelectorAll('mark')].map(each => each.textContent);

    expect(marks()).toEqual(['lo', 'ss', 'LOSS']);
    expect(lines(log)[0]).toBe('a loss of LOSS.× 9');
    expect(log.region.querySelectorAll('.aiinfra-mod-current')).toHaveLength(1);

    log.highlight({ pattern: patternOf('LOSS', true), row: null });
    await draw();
    expect(marks()).toEqual(['LOSS']);
    log.highlight({ pattern: patternOf('[x]', true), row: null });
    await draw();
    expect(marks()).toEqual(['[x]']);
    log.highlight({ pattern: patternOf('more', true), row: null });
    await draw();
    expect(marks()).toEqual([]);
    log.highlight(null);
    await draw();
    expect(lines(log)[0]).toBe('a loss of LOSS.× 9');
  });

  it('are brought into sight', async () => {
    const log = view();
    log.show(model(100_000), END);
    await draw();
    log.reveal(50_000);
    await draw();

    expect(lines(log)).toContain('line 50000');
    expect(log.place).toEqual({ row: 50_000 - 6, offset: 0, following: false });
    log.reveal(50_003);
    await draw();
    expect(log.place.row).toBe(50_000 - 6); // already in sight
  });
});

describe('the map of the scroll bar', () => {
  it('is the log itself while that is short enough', () => {
    const map = new ScrollMap(10_000, 500);

    expect(map.scaled).toBe(false);
    expect(map.toBar(1_234)).toBe(1_234);
    expect(map.fromBar(9_999)).toBe(9_500);
  });

  it('reaches both ends of what is longer', () => {
    const map = new ScrollMap(900_000_000, 500);

    expect(map.sizer).toBe(MOST_PIXELS);
    expect(map.fromBar(0)).toBe(0);
    expect(map.fromBar(MOST_PIXELS - 500)).toBe(900_000_000 - 500);
    expect(map.fromBar(map.toBar(123_456_789))).toBeCloseTo(123_456_789, 3);
  });

  it('does not move where all is in sight', () => {
    const map = new ScrollMap(100, 500);

    expect(map.end).toBe(0);
    expect(map.toBar(50)).toBe(0);
  });
});
