import { describe, expect, it } from 'vitest';

import { FIRST_VIEW, keptOf, runsSortedBy, schedulesSortedBy, viewOf } from '../view';

describe('viewOf', () => {
  it('brings back what was kept', () => {
    const view = { ...FIRST_VIEW, tab: 'versions', schedule: 's1', runSort: 'took' } as const;
    expect(viewOf(keptOf(view))).toEqual(view);
    expect(viewOf(keptOf(FIRST_VIEW))).toEqual(FIRST_VIEW);
  });

  it('shows the runs of a schedule that is named', () => {
    expect(viewOf({ schedule: 's1' })).toMatchObject({ schedule: 's1', tab: 'runs' });
    expect(viewOf({ schedule: 's1', tab: 'versions' }).tab).toBe('versions');
  });

  it.each([
    [{ tab: 'elsewhere' }],
    [{ state: 7 }],
    [{ sort: 'colour', down: 'yes' }],
    [{ tab: 'versions' }]
  ])('takes %j for nothing that it knows', given => {
    expect(viewOf(given)).toEqual(FIRST_VIEW);
  });
});

describe('the head of a column', () => {
  it('sorts names from A, moments from the newest, and turns when pressed again', () => {
    expect(schedulesSortedBy(FIRST_VIEW, 'pool')).toEqual({ sort: 'pool', down: false });
    expect(schedulesSortedBy(FIRST_VIEW, 'name')).toEqual({ sort: 'name', down: true });
    expect(runsSortedBy(FIRST_VIEW, 'took')).toEqual({ runSort: 'took', runDown: true });
    expect(runsSortedBy(FIRST_VIEW, 'when')).toEqual({ runSort: 'when', runDown: false });
  });
});
