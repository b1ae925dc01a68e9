import { nullTranslator } from '@jupyterlab/translation';
import { PromiseDelegate } from '@lumino/coreutils';
import { configure, fireEvent, screen, waitFor } from '@testing-library/react';
import axe from 'axe-core';
import { afterEach, describe, expect, it, vi } from 'vitest';

import { fakeApi } from '../../__tests__/fakes';
import type { HostKey, PoolItem, PoolKind } from '../../api/types';
import { AttachDraft } from '../../models/attach';
import { RequestError } from '../../request';
import { showAttachForm } from '../attachform';
import { aPool } from '../panel/__tests__/pooldata';

const trans = nullTranslator.load('jupyter_aiinfra');

// The form is loaded when it is first shown, which takes seconds on a busy machine.
configure({ asyncUtilTimeout: 60_000 });

const KINDS = [
  {
    kind: 'local',
    title: 'This machine',
    schema: {
      properties: { max_procs: { type: 'integer', description: 'most ranks a job may have' } }
    }
  },
  {
    kind: 'far',
    title: 'Far away',
    schema: {
      properties: {
        host: { type: 'string' },
        share: { type: 'boolean', description: 'with others' },
        size: { enum: ['small', 'large'] },
        hosts: { type: 'array', items: { type: 'string' } }
      },
      required: ['host']
    }
  }
] as unknown as PoolKind[];

/** Colours are for a browser to judge: there are none here. */
const AXE = { rules: { 'color-contrast': { enabled: false } } };

type Attach = (request: unknown, signal?: AbortSignal) => Promise<PoolItem>;

async function open(
  attachPool: Attach = () => Promise.reject(new Error('not expected'))
): Promise<{ done: Promise<PoolItem | null> }> {
  const done = showAttachForm(new AttachDraft(fakeApi({ attachPool }), KINDS), trans);
  await waitFor(() => expect(document.activeElement).toBe(screen.getByLabelText('Name')));
  return { done };
}

function type(label: string | RegExp, text: string): void {
  fireEvent.change(screen.getByLabelText(label), { target: { value: text } });
}

function press(key: string): void {
  fireEvent.keyDown(document.activeElement as Element, { key });
}

function cancel(): HTMLButtonElement {
  return document.querySelector('.jp-Dialog-footer .jp-mod-reject') as HTMLButtonElement;
}

function unknownKey(host: string): RequestError {
  return new RequestError('refused', `the host key of ${host} is not known`, {
    hostKey: {
      host,
      key_type: 'ED25519',
      fingerprint: `SHA256:${host}`,
      line: `${host} ssh-ed25519 AAAA`
    }
  });
}

function accept(): HTMLButtonElement {
  return document.querySelector('.jp-Dialog-footer .jp-mod-accept') as HTMLButtonElement;
}

afterEach(() => {
  press('Escape');
  document.body.replaceChildren();
});

describe('the attach form', () => {
  it('begins with the name, and draws the options of the kind from its schema', async () => {
    await open();

    expect(screen.getByLabelText('Max procs (optional)').getAttribute('aria-describedby')).toBe(
      screen.getByText('most ranks a job may have').id
    );
    type('Kind', 'far');
    expect(screen.queryByLabelText('Max procs (optional)')).toBeNull();
    expect(screen.getByLabelText('Host').getAttribute('aria-required')).toBe('true');
    expect(screen.getByLabelText<HTMLInputElement>('share', { exact: false }).type).toBe(
      'checkbox'
    );
    const sizes = [...screen.getByLabelText<HTMLSelectElement>('Size (optional)').options];
    expect(sizes.map(option => option.text)).toEqual(['', 'small', 'large']);
    expect(screen.getByLabelText('Hosts (optional)').tagName).toBe('TEXTAREA');
  });

  it('asks the server by Enter, says so, takes no second Enter, and closes by its yes', async () => {
    const answer = new PromiseDelegate<PoolItem>();
    const attach = vi.fn(() => answer.promise);
    const { done } = await open(attach);
    type('Name', 'here');
    type('Max procs (optional)', '4');

    press('Enter');
    await waitFor(() =>
      expect(screen.getByRole('status', { hidden: true }).textContent).toMatch(/^Asking the pool/)
    );
    expect(accept().getAttribute('aria-disabled')).toBe('true');
    expect(accept().textContent).toBe('Attaching…');
    press('Enter');
    answer.resolve(aPool());

    expect((await done)?.name).toBe('here');
    expect(attach.mock.calls).toEqual([
      [{ name: 'here', kind: 'local', options: { max_procs: 4 }, accept: [] }, expect.anything()]
    ]);
    expect(document.querySelector('.jp-Dialog')).toBeNull();
  });

  it('sends what each sort of field has', async () => {
    const attach = vi.fn(() => Promise.resolve(aPool()));
    const { done } = await open(attach);
    type('Name', 'far');
    type('Kind', 'far');
    type('Host', 'head');
    fireEvent.click(screen.getByLabelText('share', { exact: false }));
    type('Size (optional)', '"large"');
    type('Hosts (optional)', 'a\nb\n');

    accept().click();
    await done;
    expect(attach).toHaveBeenCalledWith(
      {
        name: 'far',
        kind: 'far',
        options: { host: 'head', share: true, size: 'large', hosts: ['a', 'b'] },
        accept: []
      },
      expect.anything()
    );
  });

  it('shows what the server says, stays filled in, and can be sent again', async () => {
    const refused = new RequestError('refused', "'a b' is no name", { hint: 'no spaces' });
    const attach = vi
      .fn<Attach>()
      .mockRejectedValueOnce(refused)
      .mockResolvedValueOnce(aPool({ name: 'ab' }));
    const { done } = await open(attach);
    type('Name', 'a b');
    press('Enter');

    await waitFor(() => expect(alerts()).toEqual(["'a b' is no nameno spaces"]));
    expect(document.activeElement).toBe(screen.getByLabelText('Name'));
    expect(screen.getByLabelText<HTMLInputElement>('Name').value).toBe('a b');
    expect(accept().getAttribute('aria-disabled')).toBe('false');

    type('Name', 'ab');
    expect(alerts()).toEqual([]);
    press('Enter');
    expect((await done)?.name).toBe('ab');
  });

  it('points at what cannot be sent, and asks nothing', async () => {
    await open();
    type('Max procs (optional)', 'many');
    press('Enter');

    await waitFor(() =>
      expect(alerts()).toEqual(['Give the pool a name.', 'This is no whole number.'])
    );
    const name = screen.getByLabelText('Name');
    expect(name.getAttribute('aria-invalid')).toBe('true');
    expect(name.getAttribute('aria-describedby')).toContain('aiinfra-attach-name-problem');
    type('Name', 'here');
    expect(alerts()).toEqual(['This is no whole number.']);
  });

  it('goes to the field that is wrong', async () => {
    await open();
    type('Name', 'here');
    type('Max procs (optional)', 'many');
    press('Enter');

    await waitFor(() =>
      expect(document.activeElement).toBe(screen.getByLabelText('Max procs (optional)'))
    );
  });

  it('is closed by Escape, with nothing attached', async () => {
    const { done } = await open();
    type('Name', 'here');
    press('Escape');

    expect(await done).toBeNull();
    expect(document.querySelector('.jp-Dialog')).toBeNull();
  });

  it('is stopped by Escape while the server is asked, stays open, and can be sent again', async () => {
    let signal: AbortSignal | undefined;
    const attach = vi.fn(
      (_request: unknown, given?: AbortSignal) =>
        new Promise<PoolItem>((_resolve, reject) => {
          signal = given;
          given?.addEventListener('abort', () =>
            reject(new RequestError('unreachable', 'aborted'))
          );
        })
    );
    await open(attach);
    type('Name', 'here');
    press('Enter');
    await waitFor(() => expect(accept().getAttribute('aria-disabled')).toBe('true'));
    expect(cancel().textContent).toBe('Stop');

    press('Escape');
    await waitFor(() => expect(screen.getByText('Stopped. Nothing was attached.')).toBeTruthy());
    expect(signal?.aborted).toBe(true);
    expect(cancel().textContent).toBe('Cancel');
    expect(screen.getByLabelText<HTMLInputElement>('Name').value).toBe('here');
    expect(alerts()).toEqual([]);
  });

  it('asks about the key of each host in turn, and sends those accepted', async () => {
    const attach = vi
      .fn<Attach>()
      .mockRejectedValueOnce(unknownKey('gpu1'))
      .mockRejectedValueOnce(unknownKey('gpu2'))
      .mockResolvedValueOnce(aPool({ name: 'lab' }));
    const { done } = await open(attach);
    type('Name', 'lab');
    press('Enter');

    await waitFor(() => expect(screen.getByText('SHA256:gpu1')).toBeTruthy());
    // Enter, typed once too often, is no yes.
    expect(document.activeElement).toBe(cancel());
    expect(cancel().textContent).toBe('Do not trust');
    type('Name', 'other');
    expect(screen.getByLabelText<HTMLInputElement>('Name').value).toBe('lab');
    accept().click();
    await waitFor(() => expect(screen.getByText('SHA256:gpu2')).toBeTruthy());
    expect(screen.queryByText('SHA256:gpu1')).toBeNull();
    accept().click();

    expect((await done)?.name).toBe('lab');
    const sent = attach.mock.calls.map(([request]) => (request as { accept: HostKey[] }).accept);
    expect(sent.map(keys => keys.map(each => each.line))).toEqual([
      [],
      ['gpu1 ssh-ed25519 AAAA'],
      ['gpu1 ssh-ed25519 AAAA', 'gpu2 ssh-ed25519 AAAA']
    ]);
  });

  it('attaches nothing where a host is not trusted', async () => {
    const attach = vi.fn<Attach>().mockRejectedValue(unknownKey('gpu1'));
    const { done } = await open(attach);
    type('Name', 'lab');
    press('Enter');
    await waitFor(() => expect(screen.getByText('SHA256:gpu1')).toBeTruthy());
    press('Enter');

    await waitFor(() =>
      expect(screen.getByText('Nothing was sent to gpu1, and nothing was attached.')).toBeTruthy()
    );
    expect(attach).toHaveBeenCalledTimes(1);
    expect(document.activeElement).toBe(screen.getByLabelText('Name'));
    press('Escape');
    expect(await done).toBeNull();
  });

  it('shows what the server has against an option at its field, until that is changed', async () => {
    const refused = new RequestError('refused', "'a b' is not a host", {
      hint: 'for example: gpu1',
      option: 'max_procs'
    });
    await open(vi.fn<Attach>().mockRejectedValue(refused));
    type('Name', 'lab');
    press('Enter');

    const field = screen.getByLabelText('Max procs (optional)');
    await waitFor(() => expect(alerts()).toEqual(["'a b' is not a host; for example: gpu1"]));
    expect(field.getAttribute('aria-invalid')).toBe('true');
    await waitFor(() => expect(document.activeElement).toBe(field));
    type('Max procs (optional)', '2');
    expect(alerts()).toEqual([]);
  });

  it('shows the command for a login, to be copied', async () => {
    const write = vi.fn(() => Promise.resolve());
    vi.stubGlobal('navigator', { ...navigator, clipboard: { writeText: write } });
    const refused = new RequestError('refused', 'gpu1 wants more than a key', {
      command: 'ssh -M gpu1'
    });
    await open(vi.fn<Attach>().mockRejectedValue(refused));
    type('Name', 'lab');
    press('Enter');

    await waitFor(() => expect(screen.getByText('ssh -M gpu1')).toBeTruthy());
    fireEvent.click(screen.getByText('Copy'));
    await waitFor(() => expect(screen.getByText('Copied')).toBeTruthy());
    expect(write).toHaveBeenCalledWith('ssh -M gpu1');
    vi.unstubAllGlobals();
  });

  it('has no accessibility fault that axe knows', async () => {
    await open();
    type('Kind', 'far');
    press('Enter');
    await waitFor(() => expect(alerts()).toHaveLength(2));

    // JupyterLab shows it by its style sheet; what is not shown, axe passes over.
    document.querySelector('dialog')?.setAttribute('open', '');
    const { violations, passes } = await axe.run('.jp-Dialog-content', AXE);
    expect(violations.map(violation => violation.id)).toEqual([]);
    expect(passes.map(pass => pass.id)).toContain('label');
  });
});

function alerts(): (string | null)[] {
  return screen
    .getAllByRole('alert', { hidden: true })
    .map(alert => alert.textContent)
    .filter(text => text !== '');
}
