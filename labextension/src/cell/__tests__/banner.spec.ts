import { nullTranslator } from '@jupyterlab/translation';
import { CommandRegistry } from '@lumino/commands';
import { Signal } from '@lumino/signaling';
import { Widget } from '@lumino/widgets';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { fakeApi, FakeStream } from '../../__tests__/fakes';
import type { JobDetail } from '../../api/types';
import { CommandIDs } from '../../tokens';
import type { IPlace } from '../attach';
import { JobBanner } from '../banner';
import { JOB_MIME } from '../reference';
import { jobDetail, SightOfTests } from './jobs';

/** A cell, its notebook's kernel, and what the kernel is asked to run. */
class PlaceOfTests {
  readonly executed: string[] = [];
  readonly shows: unknown[] = [];
  readonly others: unknown[] = [];
  readonly kernel = {
    status: 'idle',
    requestExecute: ({ code }: { code: string }): unknown => {
      this.executed.push(code);
      const reply = { content: { execution_count: 7 } };
      return { done: Promise.resolve(reply) };
    }
  };
  readonly statusChanged: Signal<this, string> = new Signal<this, string>(this);
  readonly stateChanged: Signal<this, void> = new Signal<this, void>(this);
  readonly outputsChanged: Signal<this, void> = new Signal<this, void>(this);
  readonly model = {
    executionState: 'idle',
    executionCount: null as number | null,
    trusted: false,
    stateChanged: this.stateChanged,
    clearExecution: vi.fn(),
    outputs: {
      changed: this.outputsChanged,
      get: (index: number): unknown => ({ data: { [JOB_MIME]: this.shows[index] } }),
      get length(): number {
        return places.at(-1)?.shows.length ?? 0;
      }
    },
    sharedModel: { transact: (change: () => void): void => change(), getId: () => 'c1' }
  };

  turn(status: string): void {
    this.kernel.status = status;
    this.statusChanged.emit(status);
  }

  readonly cell: { model: unknown; isDisposed: boolean } & object = {
    model: this.model,
    isDisposed: false
  };

  get place(): IPlace {
    const { cell, kernel, statusChanged } = this;
    const kernelChanged = new Signal<object, void>({});
    const sessionContext = { session: { kernel }, statusChanged, kernelChanged };
    return {
      panel: { sessionContext, content: { widgets: this.others } },
      cell: Object.assign(cell, { outputArea: {}, outputHidden: true })
    } as unknown as IPlace;
  }
}

const places: PlaceOfTests[] = [];
let at: PlaceOfTests;
let stream: FakeStream;
let banner: JobBanner;
let dismissed: number;
let commands: CommandRegistry;

beforeEach(() => {
  vi.stubGlobal('IntersectionObserver', SightOfTests);
  at = new PlaceOfTests();
  places.push(at);
  stream = new FakeStream();
  dismissed = 0;
  commands = new CommandRegistry();
  commands.addCommand(CommandIDs.openJob, { execute: () => undefined });
});

afterEach(() => {
  banner.dispose();
  SightOfTests.forget();
  vi.unstubAllGlobals();
});

function show(detail: JobDetail = jobDetail()): void {
  banner = new JobBanner({
    api: fakeApi({ logRows: () => new Promise(() => undefined) }),
    stream,
    commands,
    trans: nullTranslator.load('jupyter_aiinfra'),
    place: at.place,
    detail,
    onDismiss: () => (dismissed += 1)
  });
  Widget.attach(banner, document.body);
  SightOfTests.see(true);
}

function said(): string {
  return banner.node.querySelector('.aiinfra-JobBanner-text')?.textContent ?? '';
}

function button(label: string): HTMLButtonElement | undefined {
  const all = banner.node.querySelectorAll<HTMLButtonElement>('.aiinfra-tool');
  return [...all].find(each => each.textContent === label);
}

async function settled(): Promise<void> {
  await new Promise(resolve => setTimeout(resolve, 0));
}

describe('the banner of a cell whose job it does not show', () => {
  it('draws the job live while it is seen, and says how it ends', () => {
    show(jobDetail({}, { fetch: ['history'] }));
    expect(said()).toContain('still runs');
    expect(banner.node.querySelectorAll('.aiinfra-job.aiinfra-running')).toHaveLength(1);
    expect(stream.watched.map(({ topic }) => topic)).toEqual(['job', 'log']);
    SightOfTests.see(false);
    expect(stream.watched).toEqual([]);
    SightOfTests.see(true);
    const ended = jobDetail({ state: 'succeeded', version: 2 }, { fetch: ['history'] });
    stream.say({ type: 'job', detail: ended });
    expect(said()).toContain('its results: history');
    expect(button('Re-attach')?.getAttribute('aria-disabled')).toBe('false');
  });

  it('goes with its cell, which has let go of its model by then', () => {
    show();
    Object.assign(at.cell, { model: null, isDisposed: true });
    at.outputsChanged.emit();
    banner.dispose();
    at.stateChanged.emit();
    at.turn('busy');
    expect(banner.isDisposed).toBe(true);
    expect(stream.watched).toEqual([]);
  });

  it('attaches the kernel with its output going into the cell', async () => {
    show();
    button('Re-attach')?.click();
    expect(at.executed).toHaveLength(1);
    expect(at.executed[0]).toContain('%jobs attach 0abc');
    expect(at.model.executionState).toBe('running');
    await settled();
    await settled();
    expect(at.model.executionCount).toBe(7);
    expect(at.model.executionState).toBe('idle');
  });

  it('does not, and says why, while the kernel is busy', () => {
    show();
    at.turn('busy');
    expect(button('Re-attach')?.getAttribute('aria-disabled')).toBe('true');
    expect(button('Re-attach')?.title).toContain('busy');
    button('Re-attach')?.click();
    expect(at.executed).toEqual([]);
    at.others.push({ model: { type: 'code', executionState: 'running' } });
    at.turn('idle');
    expect(button('Re-attach')?.getAttribute('aria-disabled')).toBe('true');
    at.others.pop();
    at.turn('idle');
    expect(button('Re-attach')?.getAttribute('aria-disabled')).toBe('false');
  });

  it('goes when the cell is run', async () => {
    show();
    at.stateChanged.emit();
    await settled();
    expect(banner.isDisposed).toBe(false);
    at.model.executionState = 'running';
    at.stateChanged.emit();
    await settled();
    expect(banner.isDisposed).toBe(true);
    expect(stream.watched).toEqual([]);
  });

  it('goes when the job is in the outputs, and no other', async () => {
    show();
    at.shows.push({ id: 'another', state: 'running' });
    at.outputsChanged.emit();
    await settled();
    expect(banner.isDisposed).toBe(false);
    at.shows.push({ id: '0abc', state: 'running' });
    at.outputsChanged.emit();
    await settled();
    expect(banner.isDisposed).toBe(true);
  });

  it('goes when the user does not want it', () => {
    show();
    button('Dismiss')?.click();
    expect([banner.isDisposed, dismissed]).toEqual([true, 1]);
  });

  it('is a line only for a job that is over', () => {
    show(jobDetail({ state: 'succeeded' }, { fetch: ['history', 'state'] }));
    expect(banner.node.querySelector('.aiinfra-job')).toBeNull();
    expect(said()).toContain('its results: history, state');
    expect(button('Open')).toBeDefined();
    expect(stream.watched).toEqual([]);
  });

  it('shows no log of a job that was given secrets, and follows it all the same', () => {
    show(jobDetail({}, { line: 'here --secret HF_TOKEN' }));
    expect(banner.node.querySelector('.aiinfra-job')).toBeNull();
    expect(stream.watched.map(({ topic }) => topic)).toEqual(['job']);
    expect(button('Open')).toBeDefined();
    stream.say({ type: 'job', detail: jobDetail({ state: 'failed', version: 2 }) });
    expect(said()).toContain('is over: failed');
  });

  it('says so when the job is removed', () => {
    show();
    stream.say({ type: 'gone', id: '0abc' });
    expect(said()).toContain('was removed');
    expect(button('Re-attach')).toBeUndefined();
  });
});
