/** What of the page is values alone: the view, shares, fields, snippets, words. */

import { nullTranslator } from '@jupyterlab/translation';
import { describe, expect, it } from 'vitest';

import { moved, rounded } from '../shares';
import { pythonText, shellQuoted, snippet } from '../snippets';
import {
  bodyOf,
  bodyText,
  exampleBody,
  fieldsOf,
  kindOf,
  parsed,
  typeText,
  valuesOf,
  type IField
} from '../tryfields';
import { FIRST_VIEW, keptOf, sortedBy, viewOf } from '../view';
import {
  canRollBack,
  eventText,
  mainOf,
  millisecondsText,
  percentsOf,
  poolText,
  rateText,
  replicasText,
  trafficText,
  triedOf
} from '../words';
import { canary, endpoint, replica, version } from './samples';

const trans = nullTranslator.load('jupyter_aiinfra');

describe('viewOf', () => {
  it('brings back what was kept', () => {
    const view = {
      ...FIRST_VIEW,
      ...({ endpoint: 'e1', tab: 'try', language: 'python', way: 'jupyter', body: '{}' } as const)
    };
    expect(viewOf(keptOf(view))).toEqual(view);
    expect(viewOf(keptOf(FIRST_VIEW))).toEqual(FIRST_VIEW);
    expect(keptOf({ ...view, body: 'x'.repeat(20_000) })['body']).toBe('');
  });

  it('begins anew with another endpoint', () => {
    const view = { ...FIRST_VIEW, endpoint: 'e1', tab: 'keys', body: '{}', find: 'x' } as const;
    expect(viewOf({ endpoint: 'e2' }, view)).toEqual({
      ...FIRST_VIEW,
      ...{ endpoint: 'e2', find: 'x' }
    });
    expect(viewOf({ tab: 'try' }, view)).toMatchObject({ endpoint: 'e1', tab: 'try', body: '{}' });
  });

  it.each([[{ tab: 'elsewhere' }], [{ sort: 'colour', down: 'yes' }], [{ language: 7 }]])(
    'takes %j for nothing that it knows',
    given => {
      expect(viewOf(given)).toEqual(FIRST_VIEW);
    }
  );

  it('sorts names from A and numbers from the largest', () => {
    expect(sortedBy(FIRST_VIEW, 'rate')).toEqual({ sort: 'rate', down: true });
    expect(sortedBy(FIRST_VIEW, 'name')).toEqual({ sort: 'name', down: true });
  });
});

describe('shares', () => {
  it.each([
    [[90, 10], 1, 40, [60, 40]],
    [[60, 30, 10], 2, 40, [40, 20, 40]],
    [[100, 0, 0], 0, 50, [50, 25, 25]],
    [[50, 50], 0, 120, [100, 0]],
    [[100], 0, 20, [100]]
  ])('of %j, number %s at %s, are %j', (shares, at, value, expected) => {
    expect(moved(shares, at, value)).toEqual(expected);
  });

  it('come to 100, however they are rounded', () => {
    expect(rounded([100 / 3, 100 / 3, 100 / 3])).toEqual([34, 33, 33]);
    expect(rounded([0.4, 99.6])).toEqual([0, 100]);
  });
});

describe('fields', () => {
  const x: IField = { name: 'x', dtype: 'float32', shape: [2] };
  const flag: IField = { name: 'on', dtype: 'bool', shape: [] };
  const image: IField = { name: 'image', dtype: 'uint8', shape: [8, null] };

  it('are read from a manifest, and skip what is none', () => {
    const inputs = [
      { name: 'x', shape: [2] },
      { name: 'image', dtype: 'uint8', shape: [8, null] },
      7
    ];
    expect(fieldsOf({ inputs })).toEqual([x, image]);
    expect(fieldsOf({ inputs: 'x' })).toEqual([]);
    expect([x, flag, image].map(kindOf)).toEqual(['row', 'flag', 'json']);
    expect(kindOf({ ...x, shape: [17] })).toBe('json');
    expect([x, flag, image].map(typeText)).toEqual(['float32[2]', 'bool', 'uint8[8, any]']);
  });

  it('go to a request and back', () => {
    const one = bodyOf([x], [[1, 2]]);
    expect(one).toEqual({ inputs: [[1, 2]] });
    expect(valuesOf([x], one)).toEqual([[1, 2]]);
    const two = bodyOf([x, flag], [[1, 2], true]);
    expect(two).toEqual({ inputs: { x: [[1, 2]], on: [true] } });
    expect(valuesOf([x, flag], two)).toEqual([[1, 2], true]);
  });

  it.each([
    [{ inputs: [[1, 2, 3]] }],
    [{ inputs: [[1, 'a']] }],
    [
      {
        inputs: [
          [1, 2],
          [3, 4]
        ]
      }
    ],
    [{ other: 1 }],
    [[1]],
    [null]
  ])('do not show %j', body => {
    expect(valuesOf([x], body)).toBeNull();
  });

  it('begin with the example of the model, or with something plain', () => {
    expect(exampleBody({ inputs: [x], example: [[0.5, 1]] })).toBe('{"inputs": [[0.5, 1]]}');
    expect(exampleBody({ inputs: [x, flag] })).toBe('{"inputs": {"x": [[0, 0]], "on": [false]}}');
    expect(exampleBody({})).toBe('{"inputs": [null]}');
  });

  it('write JSON that reads back as it was', () => {
    const value = { 'a:b': ['x, y', { z: null }], long: Array.from({ length: 60 }, (_, at) => at) };
    expect(JSON.parse(bodyText(value))).toEqual(value);
    expect(bodyText(value)).toContain('\n');
    expect(parsed('{"a": 1}')).toEqual({ value: { a: 1 } });
    expect(typeof parsed('{')).toBe('string');
  });
});

describe('a snippet', () => {
  const call = { url: 'http://here/x/predict', body: '{"inputs": ["it\'s", null, true]}' };
  const key = { scheme: 'Bearer', variable: 'ENDPOINT_KEY' } as const;

  it('is one command of a shell, whatever is in it', () => {
    const text = snippet('curl', { ...call, key });
    expect(text).toContain(`-d '{"inputs": ["it'\\''s", null, true]}'`);
    expect(text).toContain('-H "Authorization: Bearer $ENDPOINT_KEY"');
    expect(snippet('curl', { ...call, key: null })).not.toContain('Authorization');
    expect(shellQuoted('a b')).toBe("'a b'");
  });

  it('is Python', () => {
    const text = snippet('python', { ...call, key });
    expect(text).toContain('json={"inputs": ["it\'s", None, True]}');
    expect(text).toContain(`f"Bearer {os.environ['ENDPOINT_KEY']}"`);
    expect(snippet('python', { ...call, key: null })).not.toContain('import os');
    expect(pythonText({ a: [false, 1.5, 'é'] })).toBe('{"a": [False, 1.5, "é"]}');
  });

  it('is JavaScript', () => {
    const text = snippet('javascript', { ...call, key: { scheme: 'token', variable: 'T' } });
    expect(text).toContain('`token ${process.env.T}`');
    expect(text).toContain('JSON.stringify({"inputs":["it\'s",null,true]})');
  });
});

describe('what is read from an endpoint', () => {
  it('is which version is served, and which is tried out', () => {
    const item = canary('e1');
    expect([mainOf(item)?.number, triedOf(item), canRollBack(item)]).toEqual([1, 2, true]);
    expect([...percentsOf(item)]).toEqual([
      [1, 75],
      [2, 25]
    ]);
    const alone = endpoint('e1');
    expect([mainOf(alone)?.number, triedOf(alone), canRollBack(alone)]).toEqual([1, null, false]);
    const versions = [version(1, { state: 'retired' }), version(2)];
    const traffic = [{ version: 2, weight: 100, header: null }];
    expect(canRollBack(endpoint('e1', { versions, traffic }))).toBe(true);
    expect(triedOf(endpoint('e1', { shadow: 4 }))).toBe(4);
  });

  it('is told in words', () => {
    expect(poolText(version(1), trans)).toBe('here');
    expect(poolText(version(1, { pool: 'cheap', fallback_pool: 'lab' }), trans)).toBe(
      'cheap, else lab'
    );
    expect(trafficText(canary('e1'), trans)).toBe('v1 75 % · v2 25 %');
    const traffic = [
      { version: 1, weight: 100, header: null },
      { version: 2, weight: 0, header: { 'X-Version': '2' } }
    ];
    expect(trafficText(endpoint('e1', { traffic, shadow: 3 }), trans)).toBe(
      'v1 · v2 by header · v3 shadow'
    );
    expect([null, 0, 0.04, 12.34, 4321].map(each => rateText(each, trans))).toEqual([
      ...['n/a', '0', '< 0.1', '12.3', '4,321']
    ]);
    expect(
      [null, 0.423, 4.23, 42.3, 4230, Infinity].map(each => millisecondsText(each, trans))
    ).toEqual(['n/a', '0.42 ms', '4.2 ms', '42 ms', '4.2 s', 'longer than is counted']);
  });

  it('says of replicas that nobody tells of them, rather than that none answers', () => {
    const said = (router: string | null): string =>
      replicasText([version(1, { wanted: 2, replicas: [replica('a', { router })] })], trans);
    expect([said('up'), said('ejected'), said(null)]).toEqual(['1 of 2', '0 of 2', '? of 2']);
  });

  it('is what has happened, also what it does not know', () => {
    const event = { at: 1, reason: '', detail: { least: 1, most: 3, to: 2 } };
    expect(eventText({ ...event, kind: 'scaled' }, trans)).toBe('from 1 to 3 replicas');
    expect(eventText({ ...event, kind: 'promoted' }, trans)).toBe('version 2 gets all requests');
    expect(eventText({ ...event, kind: 'news' }, trans)).toBe('news');
  });
});
