import { nullTranslator } from '@jupyterlab/translation';
import { expect, it } from 'vitest';

import type { EndpointItem } from '../../api/types';
import { canary, endpoint, replica, version } from '../../endpointpage/__tests__/samples';
import { isOver, stepsOf } from '../steps';

const trans = nullTranslator.load('jupyter_aiinfra');
const states = (item: EndpointItem, number = 2): string[] =>
  stepsOf(item, number, trans).map(({ state, text, why }) => `${state}: ${text} ${why}`.trim());
const over = (item: EndpointItem): boolean => isOver(stepsOf(item, 2, trans));

const starting = version(2, {
  state: 'starting',
  wanted: 2,
  replicas: [replica('a'), replica('b', { router: 'starting' })]
});
const one = { version: 1, weight: 100, header: null };

it('starts its replicas, and then gets requests', () => {
  const item = endpoint('e', { versions: [version(1), starting] });
  expect(states(item)).toEqual([
    'now: Its replicas start: 1 of 2 answer',
    'to come: Then it gets requests'
  ]);
  expect(over(item)).toBe(false);
});

it('gets a part of them, and says what it waits for', () => {
  const item = canary('e');
  expect(states(item)).toEqual([
    'done: Its replicas answer its example',
    'now: It gets requests: 25 % waits for requests: 12 of 50'
  ]);
  expect(over(item)).toBe(false);
});

it('gets all of them, copies, those with a header, or none', () => {
  const versions = [version(1), version(2)];
  const all = endpoint('e', { versions, traffic: [{ version: 2, weight: 1, header: null }] });
  expect(states(all)[1]).toBe('done: It gets all requests');
  expect(over(all)).toBe(true);
  const shadow = endpoint('e', { versions, traffic: [one], shadow: 2 });
  expect(states(shadow)[1]).toBe('done: It gets copies of requests');
  const header = endpoint('e', {
    versions,
    traffic: [one, { version: 2, weight: 0, header: { 'X-V': '2' } }]
  });
  expect(states(header)[1]).toBe('done: It gets the requests with its header');
  expect(states(endpoint('e', { versions, traffic: [one] }))[1]).toBe('done: It gets no requests');
});

it('fails by replicas that do not answer, or by a gate', () => {
  const failed = version(2, { state: 'failed', reason: 'no module named net' });
  const item = endpoint('e', { versions: [version(1), failed] });
  expect(states(item)).toEqual([
    'failed: Its replicas do not answer no module named net',
    'to come: Then it gets requests'
  ]);
  expect(over(item)).toBe(true);
  const gated = { ...failed, reason: '12% errors', requests: 50 };
  const given = endpoint('e', { versions: [version(1), gated] });
  expect(states(given)[1]).toBe('failed: It was given up, and gets none 12% errors');
  expect(over(given)).toBe(true);
});
