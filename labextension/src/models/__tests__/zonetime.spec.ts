import { describe, expect, it } from 'vitest';

import { allZones, isZone, lengthOf, lengthText, momentOf, wallOf } from '../zonetime';

const utc = (text: string): number => Date.parse(text) / 1000;

describe('a time on the wall of a zone', () => {
  it.each([
    ['a plain one', '2026-12-01T02:30', 'Europe/Berlin', '2026-12-01T01:30:00Z'],
    ['one in summer', '2026-07-01 02:30', 'Europe/Berlin', '2026-07-01T00:30:00Z'],
    ['one of half an hour', '2026-01-15T09:00', 'Asia/Kolkata', '2026-01-15T03:30:00Z'],
    ['of two the first', '2026-11-01T01:30', 'America/New_York', '2026-11-01T05:30:00Z'],
    ['what never comes', '2026-03-08T02:30', 'America/New_York', '2026-03-08T07:00:00Z'],
    ['a leap by half an hour', '2026-10-04T02:15', 'Australia/Lord_Howe', '2026-10-03T15:30:00Z']
  ])('is a moment: %s', (_what, wall, zone, moment) => {
    expect(momentOf(wall, zone)).toBe(utc(moment));
  });

  it('is none where it cannot be read', () => {
    expect(momentOf('tomorrow', 'UTC')).toBeNull();
    expect(momentOf('2026-12-01T02:30', 'Mars/Base')).toBeNull();
  });

  it('comes back as it was given', () => {
    const moment = momentOf('2026-12-01T02:30', 'America/New_York') ?? 0;
    expect(wallOf(moment, 'America/New_York')).toBe('2026-12-01T02:30');
  });

  it('knows zones', () => {
    expect(allZones()).toContain('Europe/Berlin');
    expect([isZone('UTC'), isZone('Mars/Base'), isZone('')]).toEqual([true, false, false]);
  });
});

describe('a length of time', () => {
  it('is read as the server reads it', () => {
    expect(['90', '30s', '1h30m', '2d', '1w'].map(lengthOf)).toEqual([
      90, 30, 5400, 172800, 604800
    ]);
    expect(['', 'often', '-5', '5 parsecs'].map(lengthOf)).toEqual([null, null, null, null]);
  });

  it('is written so that it is read the same', () => {
    expect([90, 5400, 86400, 0.5].map(lengthText)).toEqual(['1m30s', '1h30m', '1d', '0.5s']);
    expect([1, 59, 3601, 90061].map(each => lengthOf(lengthText(each)))).toEqual([
      1, 59, 3601, 90061
    ]);
  });
});
