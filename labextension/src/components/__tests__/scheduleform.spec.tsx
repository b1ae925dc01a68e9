import { nullTranslator } from '@jupyterlab/translation';
import { configure, fireEvent, screen, waitFor } from '@testing-library/react';
import axe from 'axe-core';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { pool } from '../../__tests__/samples';
import { schedule, version } from '../../__tests__/schedulesamples';
import type { ParameterForm, ScheduleItem } from '../../api/types';
import { ScheduleDraft, type IScheduleDraftOptions } from '../../models/scheduledraft';
import { RequestError } from '../../request';
import { showScheduleForm } from '../scheduleform';

// To look for a label among the options of all zones takes seconds.
vi.mock('../../models/zonetime', async original => ({
  ...(await original<typeof import('../../models/zonetime')>()),
  allZones: () => ['UTC', 'Europe/Berlin']
}));

const trans = nullTranslator.load('jupyter_aiinfra');

// The form is loaded when it is first shown, which takes seconds on a busy machine.
configure({ asyncUtilTimeout: 60_000 });

/** Colours are for a browser to judge: there are none here. */
const AXE = { rules: { 'color-contrast': { enabled: false } } };

const FORM: ParameterForm = {
  properties: {
    lr: {
      type: 'number',
      exclusiveMinimum: 0,
      maximum: 1,
      default: 0.1,
      description: '0 < lr <= 1'
    },
    optimiser: { type: 'string', enum: ['sgd', 'adam'], default: 'sgd' },
    verbose: { type: ['boolean', 'null'], default: false, description: 'say more' },
    day: { type: 'string', format: 'date' },
    token: { type: 'string', format: 'secret', default: 'secret:TOKEN' },
    sizes: { type: 'array', default: [8] }
  },
  required: ['day'],
  additionalProperties: false
};

const send = vi.fn<IScheduleDraftOptions['send']>();
const preview = vi.fn<IScheduleDraftOptions['preview']>();

async function open(
  values: Partial<IScheduleDraftOptions> = {}
): Promise<{ draft: ScheduleDraft; done: Promise<ScheduleItem | null> }> {
  const pools = [pool('lab')];
  const draft = new ScheduleDraft({ send, preview, path: 'report.ipynb', pools, ...values });
  const done = showScheduleForm(draft, trans);
  await waitFor(() => expect(document.activeElement?.closest('.aiinfra-Form')).not.toBeNull());
  return { draft, done };
}

const field = (label: string | RegExp): HTMLInputElement => screen.getByLabelText(label);
function button(name: string): HTMLButtonElement {
  const all = [...document.querySelectorAll<HTMLButtonElement>('.aiinfra-Form button')];
  const found = all.find(each => each.textContent === name || each.ariaLabel === name);
  expect(found, `a button ${name}`).toBeDefined();
  return found!;
}

function type(label: string | RegExp, text: string): void {
  fireEvent.change(field(label), { target: { value: text } });
}

const accept = (): HTMLButtonElement =>
  document.querySelector('.jp-Dialog-footer .jp-mod-accept') as HTMLButtonElement;
const cancel = (): HTMLButtonElement =>
  document.querySelector('.jp-Dialog-footer .jp-mod-reject') as HTMLButtonElement;

beforeEach(() => {
  send.mockReset().mockResolvedValue(schedule('s1'));
  const slots = [{ slot: 5e9, start_at: 5e9 + 60, text: '2128-06-11 10:53 CEST' }];
  preview.mockReset().mockResolvedValue({ form: FORM, slots });
});

afterEach(() => {
  cancel()?.click();
  document.body.replaceChildren();
});

describe('the form of a schedule', () => {
  it('has a control for each parameter that fits its type, and says what is expected', async () => {
    await open();
    await waitFor(() => expect(field('lr')).toBeDefined());
    expect(field('lr').placeholder).toBe('0.1 (of the notebook)');
    expect(document.body.textContent).toContain('a number, more than 0, at most 1');
    expect(document.body.textContent).not.toContain('0 < lr <= 1'); // that is the same
    const offered = (label: string): (string | null)[] =>
      [...field(label).querySelectorAll('option')].map(each => each.textContent);
    expect(offered('optimiser')).toEqual(['sgd (of the notebook)', 'sgd', 'adam']);
    expect(offered('verbose')).toEqual(['false (of the notebook)', 'true', 'false', 'nothing']);
    expect(field('day (required)').type).toBe('date');
    expect(document.body.textContent).toContain('the name of a secret: secret:NAME');
    expect(field('sizes').tagName).toBe('TEXTAREA');
    expect((await axe.run(document.body, AXE)).violations.filter(isOurs)).toEqual([]);
  });

  it('shows the next times, and what a line means in words', async () => {
    await open();
    await screen.findByText('2128-06-11 10:53 CEST');
    expect(document.body.textContent).toContain('begun 1 min 00 s later');
    fireEvent.click(button('weekdays'));
    expect(field('Cron lines').value).toBe('0 8 * * MON-FRI');
    expect(document.body.textContent).toContain('on weekdays at 08:00');
    expect(button('weekdays').getAttribute('aria-pressed')).toBe('true');
    await waitFor(() => expect(preview).toHaveBeenCalledTimes(2));
  });

  it('shows what fits how it runs', async () => {
    await open({ schedules: [schedule('s9', { name: 'nightly' })] });
    type('It runs', 'after');
    type('After', 's9');
    expect(field('Once a run of it').value).toBe('success');
    expect(screen.queryByLabelText('Time zone')).toBeNull();
    type('It runs', 'at');
    type('At', '2026-12-01T02:30');
    fireEvent.click(button('Another time'));
    type('And at', '2026-12-02T02:30');
    expect(field('And at').value).toBe('2026-12-02T02:30');
    fireEvent.click(button('Leave this time out'));
    expect(screen.queryByLabelText('And at')).toBeNull();
    type('It runs', 'file');
    expect(field('File or URL')).toBeDefined();
    type('It runs', 'none');
    expect(document.body.textContent).toContain('It has no time of its own');
    expect(document.body.textContent).not.toContain('The next ten times');
  });

  it('goes to what is wrong, opens where it is, and closes once the server has taken it', async () => {
    const { done } = await open();
    await waitFor(() => expect(field('lr')).toBeDefined());
    type('Begin up to so much later', 'a bit');
    accept().click();
    await waitFor(() => expect(document.activeElement).toBe(field('day (required)')));
    type('day (required)', '2026-12-24');
    accept().click();
    await waitFor(() => expect(document.activeElement).toBe(field('Begin up to so much later')));
    expect(document.activeElement?.closest('details')?.open).toBe(true);
    type('Begin up to so much later', '5m');
    const message = 'parameter lr = 2: expected a number at most 1';
    send.mockRejectedValueOnce(new RequestError('refused', message, { status: 400, option: 'lr' }));
    type('lr', '2');
    accept().click();
    await waitFor(() => expect(document.activeElement).toBe(field('lr')));
    expect(screen.getByText(message).id).toBe('aiinfra-schedule-parameter:lr-problem');
    type('lr', '0.2');
    fireEvent.click(field('Run it now, too'));
    accept().click();
    expect((await done)?.id).toBe('s1');
    expect(send.mock.calls.at(-1)![0]).toMatchObject({
      parameters: { lr: 0.2, day: '2026-12-24' },
      policy: { jitter_seconds: 300 }
    });
    expect(document.querySelector('.jp-Dialog')).toBeNull();
  });

  it('presses its own buttons by Enter, and sends nothing by that', async () => {
    await open();
    const summary = screen.getByText('Results');
    fireEvent.keyDown(summary, { key: 'Enter' });
    fireEvent.keyDown(button('daily'), { key: 'Enter' });
    expect(send).not.toHaveBeenCalled();
    await waitFor(() => expect(field('lr')).toBeDefined());
    type('day (required)', '2026-12-24');
    fireEvent.keyDown(field('Name'), { key: 'Enter' });
    await waitFor(() => expect(send).toHaveBeenCalledTimes(1));
  });

  it('says which version a change makes, and why nothing is known', async () => {
    preview.mockRejectedValue(new RequestError('refused', 'the notebook is no JSON'));
    const old = schedule('s1', { name: 'report', version: version({ number: 3 }) });
    await open({ old, pools: [] });
    expect(accept().textContent).toBe('Save as version 4');
    expect(field('What has changed (optional)')).toBeDefined();
    expect(document.body.textContent).toContain('No pool is attached');
    await screen.findByText('the notebook is no JSON');
  });
});

/** JupyterLab's own dialog has a name for what it is, and none for its landmark. */
function isOurs({ nodes }: axe.Result): boolean {
  return nodes.some(({ html }) => html.includes('aiinfra'));
}
