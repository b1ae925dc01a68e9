import { nullTranslator } from '@jupyterlab/translation';
import axe from 'axe-core';
import { afterEach, expect, it, vi } from 'vitest';

import { closeDialogs, dialog } from '../../__tests__/dialogs';
import { RequestError } from '../../request';
import type { IEndpointsModel } from '../../tokens';
import { readOption, textOf, type IOption } from '../optionsform';
import { SettingsView } from '../settings';
import { endpoint } from './samples';

const trans = nullTranslator.load('jupyter_aiinfra');

/** Colours are for a browser to judge: there are none here. */
const AXE = { rules: { 'color-contrast': { enabled: false } } };

const made = endpoint('e1');

function make(configure: IEndpointsModel['configure']): SettingsView {
  const view = new SettingsView({ endpoints: { configure }, trans });
  document.body.append(view.node);
  view.update(made);
  return view;
}

const field = (label: string): HTMLInputElement =>
  document.querySelector<HTMLInputElement>(`form [aria-label="${label}"]`)!;
const type = (label: string, text: string): void => {
  field(label).value = text;
  field(label).dispatchEvent(new Event('input', { bubbles: true }));
};
const button = (form: string, text: string): HTMLButtonElement =>
  [...document.querySelectorAll<HTMLButtonElement>(`form[aria-label="${form}"] button`)].find(
    node => node.textContent === text
  )!;

afterEach(closeDialogs);

it('are shown in units that one thinks in, and sent as they are kept', async () => {
  const configure = vi.fn<IEndpointsModel['configure']>((id, options) =>
    Promise.resolve(endpoint(id, { options }))
  );
  const view = make(configure);
  expect(field('MiB of a request').value).toBe('16');
  expect(field('Same answers differ by, %').value).toBe('0.1');
  expect(button('Limits', 'Save').disabled).toBe(true);
  type('MiB of a request', '0.1');
  type('Seconds to an answer', '2.5');
  button('Limits', 'Save').click();
  await vi.waitFor(() => expect(button('Limits', 'Save').disabled).toBe(true));
  const limits = { max_body_bytes: 104_858, timeout_seconds: 2.5 };
  expect(configure.mock.calls).toEqual([['e1', { ...made.options, ...limits }]]);

  type('Same answers differ by, %', '0.3');
  type('A caller keeps to a version by', 'X-User');
  type('Pages that may call it', 'https://a.example\n https://b.example\n');
  field('Ask again elsewhere').click();
  button('Routing', 'Save').click();
  const routing = {
    tolerance: 0.003,
    sticky: 'X-User',
    cors: ['https://a.example', 'https://b.example'],
    idempotent: false
  };
  await vi.waitFor(() => expect(configure).toHaveBeenCalledTimes(2));
  expect(configure.mock.lastCall?.[1]).toMatchObject(routing);
  expect((await axe.run(view.node, AXE)).violations).toEqual([]);
});

it('stay as they were typed, whatever is told, and go back to what is told', () => {
  const view = make(() => Promise.reject(new Error('not expected')));
  type('Seconds to an answer', '5');
  const options = { ...made.options, timeout_seconds: 9, hold_seconds: 1 };
  view.update({ ...made, options });
  expect(field('Seconds to an answer').value).toBe('5');
  expect(field('Seconds to wait for a replica').value).toBe('1');
  button('Limits', 'Reset').click();
  expect(field('Seconds to an answer').value).toBe('9');
  expect(button('Limits', 'Reset').disabled).toBe(true);
  // Of another endpoint nothing is kept of what was typed for this one.
  type('Seconds to an answer', '5');
  view.update(endpoint('e2'));
  expect(field('Seconds to an answer').value).toBe('30');
});

it('send nothing that cannot be, and tell what is refused', async () => {
  const configure = vi.fn<IEndpointsModel['configure']>(() =>
    Promise.reject(new RequestError('refused', 'hold_seconds cannot be'))
  );
  make(configure);
  type('A caller keeps to a version by', 'two words');
  button('Routing', 'Save').click();
  type('Requests that may wait', '-1');
  button('Limits', 'Save').click();
  expect(configure).not.toHaveBeenCalled();
  type('Requests that may wait', '7');
  button('Limits', 'Save').click();
  expect((await dialog()).textContent).toContain('hold_seconds cannot be');
  expect(field('Requests that may wait').value).toBe('7');
});

it('read back what they show', () => {
  const share: IOption = {
    kind: 'number',
    name: 'sampling',
    label: '',
    times: 100,
    least: 0,
    most: 1
  };
  for (const sampling of [0, 0.001, 0.07, 0.29, 1 / 3, 1]) {
    const text = textOf(share, { ...made.options, sampling });
    expect(readOption(share, text)).toBeCloseTo(sampling, 10);
    expect(text.length).toBeLessThan(15);
  }
});
