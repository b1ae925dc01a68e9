import { MimeModel, RenderMimeRegistry, standardRendererFactories } from '@jupyterlab/rendermime';
import { nullTranslator } from '@jupyterlab/translation';
import { CommandRegistry } from '@lumino/commands';
import { Widget } from '@lumino/widgets';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { fakeApi, FakeStream } from '../../__tests__/fakes';
import { RequestError } from '../../request';
import { CommandIDs, type IAiInfraApi } from '../../tokens';
import { jobDetail, SightOfTests } from './jobs';
import { JobOutput } from '../output';
import { JOB_MIME } from '../reference';

const REFERENCE = { id: '0abc', name: 'digits', pool: 'here', state: 'running' };

let stream: FakeStream;
let commands: CommandRegistry;
let executed: unknown[];
let output: JobOutput;

beforeEach(() => {
  vi.stubGlobal('IntersectionObserver', SightOfTests);
  stream = new FakeStream();
  commands = new CommandRegistry();
  executed = [];
  for (const id of [CommandIDs.openJob, CommandIDs.cancelJob]) {
    commands.addCommand(id, { execute: args => executed.push([id, args['id']]) });
  }
});

afterEach(() => {
  output.dispose();
  SightOfTests.forget();
  vi.unstubAllGlobals();
});

function model(reference: object = REFERENCE, html = '<b>the static form</b>'): MimeModel {
  return new MimeModel({
    trusted: true,
    data: { [JOB_MIME]: reference as never, 'text/html': html, 'text/plain': 'plain' }
  });
}

async function render(
  methods: Partial<IAiInfraApi>,
  shown = model(),
  inSight = true
): Promise<void> {
  output = new JobOutput({
    api: fakeApi({ logRows: () => new Promise(() => undefined), ...methods }),
    stream,
    commands,
    trans: nullTranslator.load('jupyter_aiinfra'),
    rendermime: new RenderMimeRegistry({ initialFactories: standardRendererFactories }),
    panels: () => []
  });
  await output.renderModel(shown);
  Widget.attach(output, document.body);
  SightOfTests.see(inSight);
  await settled();
}

async function settled(): Promise<void> {
  await new Promise(resolve => setTimeout(resolve, 5));
}

function text(): string {
  return output.node.textContent ?? '';
}

function button(label: string): HTMLButtonElement | undefined {
  const all = output.node.querySelectorAll<HTMLButtonElement>('.aiinfra-tool');
  return [...all].find(each => each.textContent === label);
}

describe('the output of a training cell', () => {
  it('is drawn from the server where that knows the job', async () => {
    await render({ job: () => Promise.resolve(jobDetail()) });
    expect(output.node.querySelectorAll('.aiinfra-job.aiinfra-running')).toHaveLength(1);
    expect(text()).not.toContain('the static form');
    stream.say({ type: 'job', detail: jobDetail({ state: 'succeeded', version: 2 }) });
    expect(output.node.querySelectorAll('.aiinfra-job.aiinfra-succeeded')).toHaveLength(1);
  });

  it('can be opened and cancelled, whatever the kernel does', async () => {
    await render({ job: () => Promise.resolve(jobDetail()) });
    button('Cancel')?.click();
    button('Open')?.click();
    expect(executed).toEqual([
      [CommandIDs.cancelJob, '0abc'],
      [CommandIDs.openJob, '0abc']
    ]);
    stream.say({ type: 'job', detail: jobDetail({ desired: 'stop', version: 2 }) });
    expect(button('Stopping…')?.getAttribute('aria-disabled')).toBe('true');
    stream.say({ type: 'job', detail: jobDetail({ state: 'cancelled', version: 3 }) });
    expect(button('Stopping…')).toBeUndefined();
    expect(button('Open')).toBeDefined();
  });

  it('keeps its static form where the server does not know the job', async () => {
    const unknown = new RequestError('refused', 'no job 0abc', { status: 404 });
    await render({ job: () => Promise.reject(unknown) });
    expect(text()).toContain('the static form');
    await output.renderModel(model(REFERENCE, '<i>the last form</i>'));
    expect(text()).toContain('the last form');
    expect(text()).not.toContain('the static form');
    expect(stream.watched).toEqual([]);
  });

  it('shows its static form until a server that is away is back', async () => {
    const job = vi.fn<IAiInfraApi['job']>();
    job.mockRejectedValueOnce(new RequestError('unreachable', 'refused'));
    job.mockResolvedValue(jobDetail());
    await render({ job });
    expect(text()).toContain('the static form');
    stream.turn('live');
    await settled();
    expect(text()).not.toContain('the static form');
    expect(output.node.querySelectorAll('.aiinfra-job')).toHaveLength(1);
  });

  it('leaves to the kernel what the kernel hides', async () => {
    await render({}, model({ ...REFERENCE, hides: true }));
    expect(text()).toContain('the static form');
    expect(stream.watched).toEqual([]);
  });

  it('shows a hostile reference as what else the output holds', async () => {
    await render({}, model({ id: '../../api/shutdown' }));
    expect(text()).toContain('the static form');
  });

  it('keeps its place by the static form until it is seen', async () => {
    const job = vi.fn(() => Promise.resolve(jobDetail()));
    await render({ job }, model(), false);
    expect(text()).toContain('the static form');
    expect(job).not.toHaveBeenCalled();
    SightOfTests.see(true);
    await settled();
    expect(text()).not.toContain('the static form');
    expect(output.node.querySelectorAll('.aiinfra-job')).toHaveLength(1);
  });

  it('asks for nothing while nobody sees it', async () => {
    await render({ job: () => Promise.resolve(jobDetail()) });
    expect(stream.watched.map(({ topic }) => topic)).toEqual(['job', 'log']);
    SightOfTests.see(false);
    expect(stream.watched).toEqual([]);
    SightOfTests.see(true);
    expect(stream.watched).toHaveLength(2);
    Widget.detach(output);
    expect(stream.watched).toEqual([]);
  });

  it('goes on as it is when the kernel writes the end of it', async () => {
    const job = vi.fn(() => Promise.resolve(jobDetail()));
    await render({ job });
    const drawn = output.node.querySelector('.aiinfra-job');
    await output.renderModel(model({ ...REFERENCE, state: 'succeeded' }));
    expect(output.node.querySelector('.aiinfra-job')).toBe(drawn);
    expect(job).toHaveBeenCalledTimes(1);
  });
});
