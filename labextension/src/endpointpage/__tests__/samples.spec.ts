import { nullTranslator } from '@jupyterlab/translation';
import axe from 'axe-core';
import { afterEach, describe, expect, it, vi } from 'vitest';

import { closeDialogs, dialog } from '../../__tests__/dialogs';
import { usd } from '../../__tests__/costsamples';
import type { EndpointSample } from '../../api/types';
import { RequestError } from '../../request';
import type { IAiInfraApi, IEndpointsModel } from '../../tokens';
import { Samples } from '../samples';
import { thousandText, thousandTitle } from '../words';
import { endpoint, version } from './samples';

const trans = nullTranslator.load('jupyter_aiinfra');

/** Colours are for a browser to judge: there are none here. */
const AXE = { rules: { 'color-contrast': { enabled: false } } };

function sample(id: string, values: Partial<EndpointSample> = {}): EndpointSample {
  return {
    id,
    at: 1000,
    version: 1,
    replica: 'job-1',
    path: '/predict',
    status: 200,
    milliseconds: 4.2,
    key: 'anna',
    request: { inputs: [[1, 2]] },
    answer: { outputs: [[3]] },
    request_bytes: 20,
    answer_bytes: 16,
    hidden: false,
    ...values
  };
}

const two = endpoint('e1', { versions: [version(1), version(2)] });

function make(
  endpointSamples: IAiInfraApi['endpointSamples'],
  configure: IEndpointsModel['configure'] = id => Promise.resolve(endpoint(id))
): Samples {
  const samples = new Samples({ api: { endpointSamples }, endpoints: { configure }, trans });
  document.body.append(samples.node);
  samples.update(two);
  return samples;
}

const rows = (): HTMLElement[] => [...document.querySelectorAll<HTMLElement>('tbody tr')];
const press = (text: string): void =>
  [...document.querySelectorAll('button')].find(node => node.textContent === text)?.click();
const field = (label: string): HTMLInputElement =>
  document.querySelector<HTMLInputElement>(`form [aria-label="${label}"]`)!;
const type = (label: string, text: string): void => {
  field(label).value = text;
  field(label).dispatchEvent(new Event('input', { bubbles: true }));
};
const seen = (count: number): Promise<void> => vi.waitFor(() => expect(rows()).toHaveLength(count));

afterEach(closeDialogs);

describe('kept requests', () => {
  it('are shown a page at a time, each with its bodies where they are known', async () => {
    const ask = vi.fn<IAiInfraApi['endpointSamples']>((_, query) =>
      Promise.resolve(
        query?.before === undefined
          ? { samples: [sample('9'), sample('8', { status: 500, key: null })], found: 3, next: '8' }
          : { samples: [sample('7', { request: null, request_bytes: null })], found: 3, next: null }
      )
    );
    const samples = make(ask);
    await seen(2);
    expect(rows()[1]?.textContent).toContain('500');
    expect(document.body.textContent).toContain('2 of 3');
    press('Show older');
    await seen(3);
    expect(ask.mock.lastCall).toEqual(['e1', { limit: 50, before: '8' }]);
    expect(document.querySelector('[data-focus=older]')).toBeNull();
    expect(rows()[2]?.textContent).toContain('n/a');
    document.querySelector<HTMLElement>('[data-sample="9"]')?.click();
    expect(document.querySelector('[aria-label=Request]')?.textContent).toContain('"inputs"');
    expect((await axe.run(samples.node, AXE)).violations).toEqual([]);
    document.querySelector<HTMLElement>('[data-sample="7"]')?.click();
    expect(document.body.textContent).toContain('Only its size is known');
    press('Hide');
    expect(document.querySelector('pre')).toBeNull();
    // Another look at the same endpoint asks nothing.
    samples.update(two);
    expect(ask).toHaveBeenCalledTimes(2);
  });

  it('are narrowed, and the answer to an earlier question counts no more', async () => {
    let first: (page: { samples: EndpointSample[]; found: number; next: null }) => void = () =>
      undefined;
    const ask = vi
      .fn<IAiInfraApi['endpointSamples']>()
      .mockReturnValueOnce(new Promise(resolve => (first = resolve)))
      .mockResolvedValue({ samples: [], found: 0, next: null });
    make(ask);
    const version = document.querySelector('select') as HTMLSelectElement;
    expect([...version.options].map(({ text }) => text)).toEqual([
      ...['all versions', 'version 2', 'version 1']
    ]);
    version.value = '2';
    version.dispatchEvent(new Event('change'));
    document.querySelector<HTMLInputElement>('[type=checkbox]')?.click();
    expect(ask.mock.lastCall).toEqual(['e1', { limit: 50, version: 2, errors: true }]);
    first({ samples: [sample('1')], found: 1, next: null });
    await vi.waitFor(() => expect(document.body.textContent).toContain('None of these is kept'));
    expect(rows()).toHaveLength(0);
  });

  it('say why they are not known', async () => {
    make(() => Promise.reject(new RequestError('refused', 'it is served elsewhere')));
    await vi.waitFor(() =>
      expect(document.querySelector('[role=alert]')?.textContent).toBe('it is served elsewhere')
    );
  });
});

describe('how many are kept', () => {
  it('is said, and changed without changing what else the router does', async () => {
    const configure = vi.fn<IEndpointsModel['configure']>(id => Promise.resolve(endpoint(id)));
    const samples = make(() => Promise.resolve({ samples: [], found: 0, next: null }), configure);
    expect(document.body.textContent).toContain('No request is kept.');
    type('Percent of requests', '0.5');
    type('Left out', ' email \n\n/inputs/0/name\n');
    press('Keep');
    await vi.waitFor(() => expect(configure).toHaveBeenCalled());
    const redact = ['email', '/inputs/0/name'];
    const options = { ...two.options, sampling: 0.005, redact };
    expect(configure.mock.calls[0]).toEqual(['e1', options]);
    samples.update({ ...two, options });
    expect(document.body.textContent).toContain('0.5 % of the requests are kept');
    expect(document.body.textContent).toContain('1,000 at most, for 7 days');
    expect(document.body.textContent).toContain('Left out: email, /inputs/0/name, and what');
  });

  it('is told when it is refused, and stays as it was typed', async () => {
    make(
      () => Promise.resolve({ samples: [], found: 0, next: null }),
      () => Promise.reject(new RequestError('refused', 'from 0 to 1'))
    );
    type('For days', '3');
    press('Keep');
    expect((await dialog()).textContent).toContain('from 0 to 1');
    expect(field('For days').value).toBe('3');
  });
});

it('says what 1,000 requests cost, or why that is not known', () => {
  const asked = { since: 0, cost: [], requests: 2000, per_thousand: [usd(0.02)], reason: '' };
  const known = endpoint('e', { cost: { all: asked, window: asked } });
  expect(thousandText(known, trans)).toBe('$0.0200');
  expect(thousandTitle(known, trans)).toContain('Since the deploy: $0.0200.');
  const unpriced = { ...asked, per_thousand: null, reason: 'pool here has no price' };
  const unknown = endpoint('e', { cost: { all: unpriced, window: unpriced } });
  expect(thousandText(unknown, trans)).toBe('n/a');
  expect(thousandTitle(unknown, trans)).toContain('pool here has no price');
  expect(thousandTitle(endpoint('e'), trans)).toContain('not known');
});
