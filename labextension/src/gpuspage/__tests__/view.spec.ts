import { describe, expect, it } from 'vitest';

import {
  dragged,
  FIRST_VIEW,
  isLive,
  keptOf,
  kindOf,
  kindsOf,
  panned,
  viewOf,
  WHOLE_JOB,
  zoomed
} from '../view';

const NOW = 10_000;
const SHOWN = { start: 9_000, end: 9_400 };

describe('the time that is shown', () => {
  it('is zoomed about a moment, which stays where it is', () => {
    expect(zoomed(SHOWN, 0.5, 9_100, NOW)).toEqual({ start: 9_050, end: 9_250 });
    expect(zoomed(SHOWN, 2, 9_200, NOW)).toEqual({ start: 8_800, end: 9_600 });
  });

  it('gets neither too short nor into the future', () => {
    expect(zoomed(SHOWN, 1e-6, 9_200, NOW)).toEqual({ start: 9_195, end: 9_205 });
    expect(zoomed({ start: 9_500, end: 10_000 }, 2, 9_900, NOW)).toEqual({
      start: 9_000,
      end: 10_000
    });
    expect(panned({ start: 9_500, end: 9_900 }, 1, NOW)).toEqual({ start: 9_600, end: 10_000 });
  });

  it('is moved by a share of its length', () => {
    expect(panned(SHOWN, -0.25, NOW)).toEqual({ start: 8_900, end: 9_300 });
  });

  it('is what was dragged over, either way, unless that was nothing', () => {
    expect(dragged(9_300, 9_100, NOW)).toEqual({ start: 9_100, end: 9_300 });
    expect(dragged(9_100, 9_104, NOW)).toEqual({ start: 9_097, end: 9_107 });
    expect(dragged(9_100, 9_100.5, NOW)).toBeNull();
  });
});

describe('a view', () => {
  it('goes by what suits, until that is chosen', () => {
    expect(kindOf(FIRST_VIEW)).toBe('pool');
    expect(kindOf({ ...FIRST_VIEW, pool: 'here' })).toBe('gpu');
    expect(kindOf({ ...FIRST_VIEW, job: 'j' })).toBe('rank');
    expect(kindOf({ ...FIRST_VIEW, pool: 'here', by: 'user' })).toBe('user');
    // Of a job there are no other users.
    expect(kindOf({ ...FIRST_VIEW, job: 'j', by: 'user' })).toBe('rank');
    expect(kindsOf({ job: 'j' })).not.toContain('user');
  });

  it('is live until something else is looked at', () => {
    expect(isLive(FIRST_VIEW)).toBe(true);
    expect(isLive({ ...FIRST_VIEW, span: 3_600 })).toBe(false);
    expect(isLive({ ...FIRST_VIEW, window: SHOWN })).toBe(false);
  });

  it('comes back as it was kept, without what was zoomed into', () => {
    const view = {
      ...FIRST_VIEW,
      pool: 'here',
      node: 'n0',
      by: 'node' as const,
      span: 86_400,
      window: SHOWN
    };
    expect(viewOf(keptOf(view))).toEqual({ ...view, window: null });
    expect(viewOf({ job: 'j', span: WHOLE_JOB })).toEqual({
      ...FIRST_VIEW,
      job: 'j',
      span: WHOLE_JOB
    });
  });

  it('takes from a command what it has, and nothing that cannot be', () => {
    const before = { ...FIRST_VIEW, pool: 'here', by: 'user' as const, span: 3_600 };
    expect(viewOf({ pool: 'there' }, before)).toEqual({
      ...before,
      pool: 'there',
      by: null
    });
    expect(viewOf({}, before)).toEqual(before);
    expect(viewOf({ pool: 7, node: 'n', by: 'x', span: 5, heat: 'y' })).toEqual(FIRST_VIEW);
  });
});
