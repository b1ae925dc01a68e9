import { nullTranslator } from '@jupyterlab/translation';
import { describe, expect, it } from 'vitest';

import { RequestError } from '../../request';
import { createReport, errorReport, healthReport } from '../report';

const trans = nullTranslator.load('jupyter_aiinfra');

const good = {
  version: '0.1.0',
  status: 'ok',
  store: { ok: true, url: 'sqlite:////home/me/aiinfra.db', message: '', hint: '' },
  pools: 2,
  jobs: { active: 0 }
} as const;

describe('healthReport', () => {
  it('shows version, database and counts; zero is a count', () => {
    const { rows, hint } = healthReport(good, trans);

    expect(rows.map(row => [row.label, row.value])).toEqual([
      ['Version', '0.1.0'],
      ['Database', 'reachable (sqlite:////home/me/aiinfra.db)'],
      ['Attached pools', '2'],
      ['Running jobs', '0']
    ]);
    expect(rows.some(row => row.bad)).toBe(false);
    expect(hint).toBe('');
  });

  it('says what is wrong with the database, marks it, and does not call unknown zero', () => {
    const store = { ok: false, url: 'postgresql://db/x', message: 'no answer', hint: 'start it' };
    const { rows, hint } = healthReport(
      { ...good, status: 'degraded', store, pools: null, jobs: { active: null } },
      trans
    );

    expect(rows.filter(row => row.bad)).toEqual([
      { label: 'Database', value: 'not usable (postgresql://db/x): no answer', bad: true }
    ]);
    expect(rows.slice(2).map(row => row.value)).toEqual(['unknown', 'unknown']);
    expect(hint).toBe('start it');
  });
});

describe('errorReport', () => {
  it("prefers the server's own hint", () => {
    const error = new RequestError('refused', 'bad settings', { status: 400, hint: 'mend them' });

    expect(errorReport(error, trans)).toEqual({
      rows: [{ label: 'Refused (400)', value: 'bad settings', bad: true }],
      hint: 'mend them'
    });
  });

  it.each([
    [new RequestError('unreachable', 'x'), /Jupyter server is running/],
    [new RequestError('unexpected', 'x'), /reload the page/],
    [new RequestError('refused', 'x', { status: 404 }), /jupyter server extension list/],
    [new RequestError('refused', 'x', { status: 403 }), /Log in/],
    [new RequestError('refused', 'x', { status: 500 }), /log of the Jupyter server/]
  ])('says what to do where the server does not (%#)', (error, expected) => {
    expect(errorReport(error, trans).hint).toMatch(expected);
  });
});

describe('createReport', () => {
  it('draws rows as a description list with the hint below, and never as markup', () => {
    const rows = [
      { label: 'Database', value: '<img src=x>', bad: true },
      { label: 'Version', value: '1' }
    ];

    const element = createReport({ rows, hint: 'do this' });

    const values = [...element.querySelectorAll('dd')];
    expect(values.map(value => [value.textContent, value.dataset.status])).toEqual([
      ['<img src=x>', 'bad'],
      ['1', 'good']
    ]);
    expect(element.querySelector('img')).toBeNull();
    expect(element.querySelector('.aiinfra-hint')?.textContent).toBe('do this');
  });

  it('draws no empty hint', () => {
    expect(createReport({ rows: [], hint: '' }).querySelector('.aiinfra-hint')).toBeNull();
  });
});
