import { nullTranslator } from '@jupyterlab/translation';
import { CommandRegistry } from '@lumino/commands';
import { act, cleanup, fireEvent, render, screen, within } from '@testing-library/react';
import axe from 'axe-core';
import React from 'react';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { FakeStream, fakeApi } from '../../../__tests__/fakes';
import { job, jobsNews } from '../../../__tests__/samples';
import type { Gpu, Node, PoolItem } from '../../../api/types';
import { frame } from '../../../gpus/__tests__/frames';
import { GpusModel } from '../../../gpus/live';
import { overview } from '../../../models/__tests__/overviews';
import { JobsModel } from '../../../models/jobs';
import { PoolsModel } from '../../../models/pools';
import { CommandIDs, type IAiInfraModels } from '../../../tokens';
import { PoolsSection } from '../pools';
import { aNode, aPool } from './pooldata';

const trans = nullTranslator.load('jupyter_aiinfra');
const JOB = '1nga2d9cenhm';
const ran = vi.fn<(command: string, args: unknown) => void>();
let stream: FakeStream;
let models: IAiInfraModels;

function gpu(index: number): Gpu {
  return {
    uuid: `GPU-${index}`,
    name: 'NVIDIA H100',
    index,
    memory_total_bytes: 80 * 2 ** 30,
    memory_used_bytes: null,
    used_by: []
  };
}

function nodes(count: number, gpus = 4): Node[] {
  return Array.from({ length: count }, (_, number) =>
    aNode({
      name: `gpu${number + 1}`,
      gpus: Array.from({ length: gpus }, (_none, each) => gpu(each))
    })
  );
}

function show(pools: PoolItem[]): { container: HTMLElement; see: (isVisible: boolean) => void } {
  const commands = new CommandRegistry();
  for (const id of Object.values(CommandIDs)) {
    commands.addCommand(id, { label: id, execute: args => ran(id, args) });
  }
  const section = (isVisible: boolean): React.JSX.Element => (
    <PoolsSection models={models} commands={commands} trans={trans} isVisible={isVisible} />
  );
  stream.say({ type: 'pools', pools });
  const { container, rerender } = render(section(true));
  return { container, see: isVisible => rerender(section(isVisible)) };
}

function say(...news: Parameters<FakeStream['say']>[0][]): void {
  act(() => news.forEach(each => stream.say(each)));
}

const watched = (): string[] =>
  stream.watched.map(({ pool, node, detail }) => [pool, node, detail].filter(Boolean).join(' '));
const button = (name: string | RegExp): HTMLButtonElement => screen.getByRole('button', { name });
const item = (container: HTMLElement, name: string): HTMLElement =>
  container.querySelector<HTMLElement>(`[data-node="${name}"]`) as HTMLElement;
const press = (key: string): boolean =>
  fireEvent.keyDown(document.activeElement as Element, { key });

/** The strips draw themselves, in the next frame. */
async function drawn(): Promise<void> {
  await act(async () => {
    await new Promise(resolve => requestAnimationFrame(() => resolve(null)));
  });
}

beforeEach(() => {
  vi.spyOn(HTMLCanvasElement.prototype, 'getContext').mockReturnValue(null);
  ran.mockClear();
  stream = new FakeStream();
  const api = fakeApi({ gpuHistory: () => Promise.resolve([]) });
  models = {
    jobs: new JobsModel({ api, stream }),
    pools: new PoolsModel({ stream }),
    gpus: new GpusModel({ api, stream })
  } as unknown as IAiInfraModels;
});

afterEach(() => {
  cleanup();
  expect(stream.watched).toEqual([]);
});

describe('a closed pool', () => {
  it('says how many GPUs are in use, and watches no more than that', () => {
    const { container, see } = show([aPool({ name: 'lab', nodes: nodes(2) })]);
    expect(watched()).toEqual(['lab nodes']);
    expect(container.querySelector('.aiinfra-PoolUse')).toBeNull();
    say(
      overview('lab', [
        { busy: 3, utilization: 92 },
        { busy: 0, utilization: 50 }
      ])
    );
    expect(container.querySelector('.aiinfra-PoolUse')?.textContent).toBe(
      '3/8 GPUs busy71 %5 free'
    );
    see(false);
    expect(watched()).toEqual([]);
    see(true);
    expect(watched()).toEqual(['lab nodes']);
  });

  it.each([
    ['it has no GPU', { nodes: [aNode()] }],
    ['nothing is known of it', { nodes: null }],
    ['it does not answer', { nodes: nodes(1), status: 'unreachable' as const }]
  ])('watches nothing where %s', (_why, values) => {
    show([aPool(values)]);
    expect(watched()).toEqual([]);
  });

  it('is a way to the page of GPUs', () => {
    show([aPool({ name: 'lab', nodes: nodes(1) }), aPool({ name: 'cpus', nodes: [aNode()] })]);
    expect(screen.queryByRole('button', { name: 'Show the GPUs of cpus' })).toBeNull();
    fireEvent.click(button('Show the GPUs of lab'));
    expect(ran.mock.calls).toEqual([[CommandIDs.openGpus, { pool: 'lab' }]]);
  });
});

describe('an open pool', () => {
  it('opens the nodes where these are few, each with its GPUs', async () => {
    say(jobsNews([job(JOB, { name: 'digits' })]));
    const { container } = show([aPool({ name: 'lab', nodes: nodes(2, 2) })]);
    fireEvent.click(button('lab local'));
    expect(watched()).toEqual(['lab nodes', 'lab gpu1', 'lab gpu2']);
    // Until something is told, what was known of them when the pool was last asked.
    expect(within(item(container, 'gpu1')).getAllByRole('listitem')[0]?.textContent).toBe(
      '0NVIDIA H10080 GiB'
    );

    const told = frame();
    const one = told.nodes[0];
    told.scope = { pool: 'lab', node: 'gpu1', job: null, detail: 'gpus' };
    told.nodes = one ? [{ ...one, name: 'gpu1', memory_total_bytes: 2 ** 38 }] : [];
    told.node_values = [13, 400, 0, 0, 0, 0];
    told.gpus = told.gpus
      .filter(({ node }) => node === 0)
      .map((each, number) => (number === 0 ? each : { ...each, holders: [] }));
    told.gpu_values = told.gpu_values.filter((_, place) => place % 4 !== 3);
    say(overview('lab', [{ busy: 1, utilization: 71, gpus: 2 }, { gpus: 2 }]), told);
    await drawn();
    const text = item(container, 'gpu1').textContent ?? '';
    expect(text).toContain('1/2 · 71 %');
    expect(text).toContain('GPU 0');
    expect(text).toContain('CPU 13 %');
    expect(text).toContain('memory 100/256 GiB');
    fireEvent.click(within(item(container, 'gpu1')).getByRole('button', { name: /^digits/ }));
    expect(ran.mock.calls).toEqual([[CommandIDs.openJob, { id: JOB }]]);

    fireEvent.click(button(/^gpu1/));
    expect(watched()).toEqual(['lab nodes', 'lab gpu2']);
    const { violations } = await axe.run(container, {
      rules: { 'color-contrast': { enabled: false } }
    });
    expect(violations.map(({ id, nodes: found }) => [id, found.map(({ html }) => html)])).toEqual(
      []
    );
  });

  it('leaves the nodes closed where they are many, and watches those that are opened', () => {
    const { container } = show([aPool({ name: 'big', nodes: nodes(64, 8) })]);
    fireEvent.click(button('big local'));
    expect(watched()).toEqual(['big nodes']);
    const rows = nodes(64).map((_, number) => ({ gpus: 8, busy: number % 9, utilization: number }));
    say(overview('big', rows));
    expect(item(container, 'gpu64').textContent).toContain('0/8 · 63 %');
    for (let number = 1; number <= 13; number += 1) {
      fireEvent.click(item(container, `gpu${number}`).querySelector('button') as Element);
    }
    // The first one has made room.
    expect(watched()).toHaveLength(13);
    expect(watched()).not.toContain('big gpu1');
    expect(watched()).toContain('big gpu13');
  });

  it('says "no GPU", and what the node does', () => {
    const { container } = show([aPool({ name: 'here', nodes: [aNode({ name: 'localhost' })] })]);
    fireEvent.click(button('here local'));
    expect(watched()).toEqual(['here localhost']);
    const told = frame({ gpus: [], gpu_values: [], node_values: [35, null, 0, 0, null, null] });
    told.scope = { pool: 'here', node: 'localhost', job: null, detail: 'gpus' };
    told.nodes = told.nodes.slice(0, 1).map(node => ({ ...node, name: 'localhost', gpus: 0 }));
    say(told);
    expect(item(container, 'localhost').textContent).toContain('no GPUCPU 35 %memory n/a');
  });

  it('says which node is not heard of, and why it cannot be read', () => {
    const { container } = show([aPool({ name: 'lab', nodes: nodes(2) })]);
    fireEvent.click(button('lab local'));
    say(overview('lab', [{ state: 'stale' }, { state: 'waiting', busy: null, utilization: null }]));
    expect(item(container, 'gpu1').textContent).toContain('readings: stale');
    expect(item(container, 'gpu2').textContent).not.toContain('readings');
    const topic = { topic: 'gpus', id: null, rank: null, pool: 'lab', node: 'gpu2' } as const;
    say({ type: 'problem', message: 'cannot be read', hint: '', topic });
    expect(item(container, 'gpu2').textContent).toContain('cannot be read');
  });

  it('does not watch a node that does not answer', () => {
    const [one, two] = nodes(2) as [Node, Node];
    show([aPool({ name: 'lab', nodes: [one, { ...two, health: 'unreachable' }] })]);
    fireEvent.click(button('lab local'));
    expect(watched()).toEqual(['lab nodes', 'lab gpu1']);
  });
});

it('is walked through by the arrow keys', () => {
  show([aPool({ name: 'lab', nodes: nodes(2) }), aPool({ name: 'other', nodes: [] })]);
  const focused = (): string => (document.activeElement as HTMLElement).textContent ?? '';
  act(() => button('lab local').focus());
  press('ArrowRight');
  expect(button('lab local').getAttribute('aria-expanded')).toBe('true');
  press('ArrowRight');
  press('ArrowDown');
  expect(focused()).toContain('gpu1');
  press('ArrowLeft');
  expect(button(/^gpu1/).getAttribute('aria-expanded')).toBe('false');
  press('ArrowDown');
  press('ArrowDown');
  expect(focused()).toContain('other');
  press('ArrowDown');
  expect(focused()).toContain('other');
  press('ArrowUp');
  expect(focused()).toContain('gpu2');
});
