import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { Looks, type Word } from '../looks';

let told: (entries: { isIntersecting: boolean }[]) => void;
let hidden: boolean;
let now: number;
let isCut: boolean;
let said: Word[];
let looks: Looks;

beforeEach(() => {
  [hidden, isCut, now, said] = [false, false, 1_000_000, []];
  vi.spyOn(document, 'hidden', 'get').mockImplementation(() => hidden);
  vi.stubGlobal(
    'IntersectionObserver',
    class {
      constructor(callback: typeof told) {
        told = callback;
      }
      observe(): void {}
      disconnect(): void {}
    }
  );
  looks = new Looks({ node: document.body, say, clock: () => now });
});

afterEach(() => {
  vi.unstubAllGlobals();
});

const say = (word: Word): boolean => {
  if (isCut) {
    return false;
  }
  said.push(word);
  return true;
};
const see = (isIntersecting: boolean): void => told([{ isIntersecting }]);
const hide = (value: boolean): void => {
  hidden = value;
  document.dispatchEvent(new Event('visibilitychange'));
};
const wait = (milliseconds: number): void => {
  now += milliseconds;
  looks.tick();
};

describe('Looks', () => {
  it('says nothing before it is seen, then at once and every few seconds', () => {
    wait(60_000);
    expect(said).toEqual([]);
    see(true);
    expect(said).toEqual([{ type: 'look', view: looks.view, number: 1 }]);
    looks.heard({ [looks.view]: 1 });
    wait(7_000);
    expect(said).toHaveLength(1);
    wait(2_000);
    expect(said).toHaveLength(2);
  });

  it('waits for a kernel that does not hear it, so that words do not pile up', () => {
    see(true);
    looks.heard({ another: 7 });
    wait(40_000);
    hide(true);
    hide(false);
    expect(said).toHaveLength(1);
    wait(40_000);
    expect(said).toHaveLength(2);
  });

  it('says nothing while the page is hidden or the cell is away, and at once when it is back', () => {
    see(true);
    looks.heard({ [looks.view]: 1 });
    hide(true);
    wait(60_000);
    expect(said).toHaveLength(1);
    see(false);
    hide(false);
    wait(60_000);
    expect(said).toHaveLength(1);
    see(true);
    expect(said).toHaveLength(2);
  });

  it('wakes a kernel that rests', () => {
    looks.wake();
    expect(said).toEqual([]);
    see(true);
    looks.wake();
    expect(said).toHaveLength(1);
    now += 1_500;
    looks.wake();
    expect(said).toHaveLength(2);
  });

  it('says it again soon where it could not be said', () => {
    isCut = true;
    see(true);
    wait(9_000);
    expect(said).toEqual([]);
    isCut = false;
    wait(9_000);
    expect(said).toEqual([{ type: 'look', view: looks.view, number: 1 }]);
  });

  it('says when it goes, unless it never said that it looks', () => {
    looks.dispose();
    expect(said).toEqual([]);
    looks = new Looks({ node: document.body, say, clock: () => now });
    see(true);
    looks.dispose();
    expect(said.at(-1)).toEqual({ type: 'leave', view: looks.view });
    wait(60_000);
    expect(said).toHaveLength(2);
  });
});
