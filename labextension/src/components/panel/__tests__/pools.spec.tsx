import { nullTranslator } from '@jupyterlab/translation';
import { CommandRegistry } from '@lumino/commands';
import { PromiseDelegate } from '@lumino/coreutils';
import { Signal } from '@lumino/signaling';
import { act, cleanup, fireEvent, render, screen, within } from '@testing-library/react';
import axe from 'axe-core';
import React from 'react';
import { afterEach, describe, expect, it, vi } from 'vitest';

import { price } from '../../../__tests__/costsamples';
import type { Gpu, PoolItem } from '../../../api/types';
import { FakeStream, fakeApi } from '../../../__tests__/fakes';
import { GpusModel } from '../../../gpus/live';
import { CommandIDs, type IAiInfraModels, type IPoolsModel, type IProblem } from '../../../tokens';
import { PoolsSection } from '../pools';
import { aNode, aPool } from './pooldata';

const trans = nullTranslator.load('jupyter_aiinfra');

/** Colours are for a browser to judge: there are none here. */
const AXE = { rules: { 'color-contrast': { enabled: false } } };

class Pools {
  readonly changed = new Signal<IPoolsModel, void>(this as unknown as IPoolsModel);
  pools: readonly PoolItem[] | null = null;
  problem: IProblem | null = null;

  turn(pools: readonly PoolItem[]): void {
    this.pools = pools;
    act(() => this.changed.emit());
  }
}

type Execute = (args: Record<string, unknown>) => Promise<PoolItem | null>;

function show(
  pools: readonly PoolItem[] | null,
  { attach, check, detach }: { attach?: Execute; check?: Execute; detach?: Execute } = {}
): { model: Pools; commands: CommandRegistry; container: HTMLElement } {
  const model = new Pools();
  model.pools = pools;
  const commands = new CommandRegistry();
  const unexpected: Execute = () => Promise.reject(new Error('not expected'));
  commands.addCommand(CommandIDs.attachPool, { execute: attach ?? unexpected });
  commands.addCommand(CommandIDs.checkPool, { execute: check ?? unexpected });
  commands.addCommand(CommandIDs.detachPool, { execute: detach ?? unexpected });
  const stream = new FakeStream();
  const gpus = new GpusModel({ api: fakeApi({}), stream });
  const models = { pools: model, gpus } as unknown as IAiInfraModels;
  const { container } = render(
    <PoolsSection models={models} commands={commands} trans={trans} isVisible />
  );
  return { model, commands, container };
}

function button(name: string | RegExp): HTMLButtonElement {
  return screen.getByRole('button', { name });
}

afterEach(cleanup);

describe('the list of pools', () => {
  it('says that it waits, and what keeps it waiting', () => {
    const { model } = show(null);
    expect(screen.getByRole('status').textContent).toBe('Asking the server for its pools…');

    model.problem = { message: 'no database', hint: 'start it' };
    act(() => model.changed.emit());
    expect(screen.getByRole('alert').textContent).toBe('no databasestart it');
  });

  it('says of each pool what it is, whether it is there, and what it has', () => {
    const gpu = {
      uuid: 'GPU-1',
      name: 'NVIDIA A100 80GB',
      index: 0,
      memory_total_bytes: 80e9,
      memory_used_bytes: null,
      used_by: []
    };
    show([
      aPool({ name: 'big', nodes: [aNode({ gpus: [gpu] })], active_jobs: 2 }),
      aPool({ name: 'far', status: 'unreachable', problem: 'no route to host', nodes: null }),
      aPool({ name: 'new', status: 'unknown', checked_at: null, nodes: null }),
      aPool({
        name: 'part',
        status: 'degraded',
        since: 1_700_000_000,
        nodes: [aNode({ cpus: 8 }), aNode({ name: 'gpu2', health: 'unreachable' })]
      })
    ]);

    const rows = screen.getAllByRole('listitem');
    expect(rows.map(row => row.dataset['pool'])).toEqual(['big', 'far', 'new', 'part']);
    expect(rows[0]?.textContent).toContain('live1 node1 × NVIDIA A100 80GB2 active jobs');
    expect(rows[1]?.textContent).toMatch(/unreachable since .+no route to host/);
    expect(rows[2]?.textContent).toContain('not asked yet');
    expect(rows[3]?.textContent).toMatch(
      /degraded since .+2 nodes.*no GPU.*8 cores.*gpu2 does not answer\./
    );
    // Never by colour alone: each state has an icon of its own beside its words.
    const icons = rows.map(row => row.querySelector('.aiinfra-PoolRow-status svg')?.outerHTML);
    expect(new Set(icons).size).toBe(4);
  });

  it('says what each costs and how old that is, and lets one say another', () => {
    const { commands, model } = show([]);
    const asked = vi.fn<(args: object) => void>();
    commands.addCommand(CommandIDs.setPrice, { execute: args => asked(args) });
    const old = price({ age_days: 120, old: true, text: '$2.49 a GPU-hour, from a list' });
    model.turn([
      aPool({ name: 'lab', price: old }),
      aPool({ name: 'new' }),
      aPool({ name: 'odd', price: price({ price: null }) })
    ]);
    const prices = screen
      .getAllByRole('listitem')
      .map(row => row.querySelector<HTMLElement>('.aiinfra-PoolRow-price'));
    expect(prices.map(each => each?.textContent)).toEqual([
      '$2.49/GPU-h · 120 days old, may have changed',
      'price unknown',
      'price unknown'
    ]);
    expect(prices[0]!.title).toContain('from a list');
    fireEvent.click(prices[1]!);
    expect(asked).toHaveBeenCalledWith({ name: 'new' });
  });

  it('opens a pool to its options, nodes and GPUs, and closes it again', () => {
    const gpu = {
      uuid: 'GPU-1',
      name: 'NVIDIA T4',
      index: 3,
      memory_total_bytes: 16 * 2 ** 30,
      memory_used_bytes: null,
      used_by: []
    };
    show([aPool({ options: { max_procs: 4 } as never, nodes: [aNode({ cpus: 8, gpus: [gpu] })] })]);
    const toggle = button('here local');
    expect(toggle.getAttribute('aria-expanded')).toBe('false');
    expect(screen.queryByRole('list', { name: 'Nodes' })).toBeNull();

    fireEvent.click(toggle);
    expect(toggle.getAttribute('aria-expanded')).toBe('true');
    const details = document.getElementById(toggle.getAttribute('aria-controls') ?? '');
    expect(details?.textContent).toContain('max_procs4');
    const gpus = screen.getByRole('list', { name: 'GPUs' });
    expect(within(gpus).getByRole('listitem').textContent).toBe('3NVIDIA T416 GiB');

    fireEvent.click(toggle);
    expect(screen.queryByRole('list', { name: 'Nodes' })).toBeNull();
  });

  it('says of each node how it is, since when and why, and who has its GPUs', () => {
    const gpu = (uuid: string, given: object = {}): Gpu => ({
      uuid,
      name: 'T4',
      index: 0,
      memory_total_bytes: 16 * 2 ** 30,
      memory_used_bytes: 0,
      used_by: [],
      ...given
    });
    const process = { pid: 7, user: 'eve', command: null, memory_bytes: null };
    const lease = {
      pool: 'lab',
      node: 'gpu1',
      gpu: 'GPU-1',
      job: '0abc',
      shared: false,
      since: 0
    };
    show([
      aPool({
        name: 'lab',
        kind: 'ssh',
        status: 'degraded',
        leases: [lease],
        nodes: [
          aNode({
            name: 'gpu1',
            address: '10.0.0.1',
            gpus: [gpu('GPU-1'), gpu('GPU-2', { used_by: [process] }), gpu('GPU-3')]
          }),
          aNode({ name: 'gpu2', health: 'degraded', since: 1_700_000_000 }),
          aNode({
            name: 'gpu3',
            address: '',
            health: 'unreachable',
            since: 1_700_000_000,
            problem: 'gpu3 did not answer in time'
          })
        ]
      })
    ]);
    fireEvent.click(button('lab ssh'));

    const nodes = screen.getByRole('list', { name: 'Nodes' });
    const texts = ['gpu1', 'gpu2', 'gpu3'].map(
      name => nodes.querySelector(`[data-node="${name}"]`)?.textContent ?? ''
    );
    expect(texts[0]).toMatch(/^gpu1live.*10\.0\.0\.1/);
    expect(texts[0]).toMatch(/leased to 0abc.*used by process 7 of eve.*free/);
    expect(texts[1]).toContain('answers againIt did not answer a short time ago');
    expect(texts[2]).toMatch(/unreachable since .+gpu3 did not answer in time$/);
  });

  it('shows that a pool is being asked, wherever that was begun, and asks once', async () => {
    const answer = new PromiseDelegate<PoolItem | null>();
    const check = vi.fn(() => answer.promise);
    const { commands } = show([aPool()], { check });

    fireEvent.click(button('Check here now'));
    expect(check.mock.calls[0]).toMatchObject([{ name: 'here' }]);
    expect(screen.getByRole('status').textContent).toBe('asking…');
    expect(button('Check here now').disabled).toBe(true);

    await act(async () => {
      answer.resolve(aPool());
      await answer.promise;
    });
    expect(screen.getByRole('status').textContent).toBe('live');

    act(() => void commands.execute(CommandIDs.checkPool, { name: 'other' }));
    expect(screen.getByRole('status').textContent).toBe('live');
  });

  it('is at rest again when a check failed', async () => {
    const { container } = show([aPool()], { check: () => Promise.resolve(null) });

    // eslint-disable-next-line @typescript-eslint/require-await -- what it starts is to settle
    await act(async () => button('Check here now').click());
    expect(container.querySelector('[aria-busy="true"]')).toBeNull();
  });

  it('detaches by the command', () => {
    const detach = vi.fn(() => Promise.resolve(null));
    show([aPool()], { detach });

    fireEvent.click(button('Detach here'));
    expect(detach.mock.calls[0]).toMatchObject([{ name: 'here' }]);
  });

  it('opens a pool that was just attached and gives it the focus, once it is in the list', async () => {
    const { model, commands } = show([aPool({ name: 'old' })], {
      attach: () => Promise.resolve(aPool({ name: 'new' }))
    });

    await act(() => commands.execute(CommandIDs.attachPool));
    expect(document.activeElement).toBe(document.body);
    model.turn([aPool({ name: 'new' }), aPool({ name: 'old' })]);

    expect(document.activeElement).toBe(button('new local'));
    expect(button('new local').getAttribute('aria-expanded')).toBe('true');
    expect(button('old local').getAttribute('aria-expanded')).toBe('false');
    // Once: whoever goes on from there is not called back.
    button('old local').focus();
    model.turn([aPool({ name: 'new', active_jobs: 1 }), aPool({ name: 'old' })]);
    expect(document.activeElement).toBe(button('old local'));
  });

  it('has no accessibility fault that axe knows', async () => {
    const { container } = show([aPool({ nodes: [aNode({ cpus: 2 })] })]);
    fireEvent.click(button('here local'));

    const { violations } = await axe.run(container, AXE);
    expect(violations.map(violation => violation.id)).toEqual([]);
  });
});

describe('without a pool', () => {
  it('attaches this machine by one click', async () => {
    const answer = new PromiseDelegate<PoolItem | null>();
    const attach = vi.fn(() => answer.promise);
    show([], { attach });
    expect(screen.getByText(/^A pool is where jobs run/)).toBeTruthy();

    fireEvent.click(button('Attach this machine'));
    expect(attach.mock.calls[0]).toMatchObject([{ name: 'here', kind: 'local', options: {} }]);
    expect(button('Attaching…').disabled).toBe(true);

    await act(async () => {
      answer.resolve(null);
      await answer.promise;
    });
    expect(button('Attach this machine').disabled).toBe(false);
  });

  it('offers the form', () => {
    const attach = vi.fn<Execute>(() => Promise.resolve(null));
    show([], { attach });

    fireEvent.click(button('Attach a pool…'));
    expect(attach.mock.calls[0]?.[0]).not.toHaveProperty('name');
    expect(button('Attach this machine').disabled).toBe(false);
  });
});
