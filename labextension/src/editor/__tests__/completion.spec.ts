import { nullTranslator } from '@jupyterlab/translation';
import { describe, expect, it, vi } from 'vitest';

import { fakeApi } from '../../__tests__/fakes';
import { RequestError } from '../../request';
import type { IAiInfraModels } from '../../tokens';
import { contextAt, LineCompleter } from '../completion';
import { FakePools, job, pool, WORDS } from './samples';

const trans = nullTranslator.load('jupyter_aiinfra');

function completer(pools = new FakePools([pool('here'), pool('there')])): LineCompleter {
  const api = fakeApi({
    lineWords: () => Promise.resolve(WORDS),
    pools: () => Promise.resolve([pool('asked')]),
    jobs: () => Promise.resolve({ jobs: [job('1abc'), job('2abd')], more: false })
  });
  return new LineCompleter(api, { pools } as unknown as IAiInfraModels, trans);
}

/** What is offered where the `|` stands, and what it would replace. */
async function offered(marked: string, by = completer()): Promise<[string, string[]]> {
  const [before = '', after = ''] = marked.split('|');
  const text = before + after;
  const request = { text, offset: [...before].length };
  const reply = await by.complete(request);
  const replaced = [...text].slice(reply.start, reply.end).join('');
  return [replaced, reply.items.map(item => item.label)];
}

describe('completion', () => {
  it.each<[string, string, string[]]>([
    ['%%acc|', '%%acc', ['%%accelerate']],
    ['x = 1\n%j|', '%j', ['%jobs']],
    ['%load_ext |', '', ['jupyter_aiinfra']],
    ['%%accelerate h|', 'h', ['here']],
    ['%%accelerate --procs 2 t|', 't', ['there']],
    ['%%accelerate here t|', 't', []],
    ['%%accelerate here --p|', '--p', ['--procs', '--port']],
    ['%%accelerate here --mixed-precision |', '', ['no', 'fp16', 'bf16', 'fp8']],
    ['%%accelerate here --mixed_precision b|', 'b', ['bf16']],
    ['%%accelerate here --mixed-precision=fp|', 'fp', ['fp16', 'fp8']],
    ['%%accelerate here --procs |', '', []],
    ['%%accelerate here --send a,|', 'a,', []],
    ['%%accelerate here --mlflow --c|', '--c', ['--cpu']],
    ['%%accelerate here --use_|', '--use_', ['--use_fsdp']],
    ['%%accelerate here -- --p|', '--p', []],
    ['%%accelerate "💡" --c| # tail', '--c', ['--cpu']],
    ['%jobs |', '', ['list', 'logs', '--help']],
    ['%jobs lo|', 'lo', ['logs']],
    ['%jobs logs 1|', '1', ['1abc']],
    ['%jobs logs 1abc |', '', ['--rank']],
    ['%jobs list --pool |', '', ['here', 'there']],
    ['  %pool show |', '', ['here', 'there']],
    ['%pool attach n|', 'n', []],
    ['%pool attach new --kind |', '', ['local']]
  ])('of %j', async (marked, replaced, labels) => {
    expect(await offered(marked)).toEqual([replaced, labels]);
  });

  it.each(['acc|', 'x = %j|', '%time h|', '%%acceleratehere |', 'here|'])(
    'has nothing to do with %j',
    async marked => {
      expect((await offered(marked))[1]).toEqual([]);
      const [before = ''] = marked.split('|');
      expect(contextAt(before, before.length)).toBeNull();
    }
  );

  it('tells what each is', async () => {
    const nodes = [{ gpus: [{}, {}] }] as never;
    const by = completer(new FakePools([pool('here', { nodes })]));
    const ask = async (text: string): Promise<string | undefined> =>
      (await by.complete({ text, offset: text.length })).items[0]?.documentation;

    expect(await ask('%%accelerate h')).toBe('local, 2 GPUs, live');
    expect(await ask('%%accelerate here --proc')).toBe('--procs N\n\nranks on each node');
    expect(await ask('%jobs logs 2')).toBe('digits: running, pool here');
  });

  it('asks for the pools where nobody keeps them', async () => {
    expect(await offered('%%accelerate a|', completer(new FakePools(null)))).toEqual([
      'a',
      ['asked']
    ]);
  });

  it('asks for the words once, and again after a failure', async () => {
    const lineWords = vi
      .fn<() => Promise<typeof WORDS>>()
      .mockRejectedValueOnce(new RequestError('unreachable', 'gone'))
      .mockResolvedValue(WORDS);
    const models = { pools: new FakePools([]) } as unknown as IAiInfraModels;
    const by = new LineCompleter(fakeApi({ lineWords }), models, trans);

    await expect(offered('%%accelerate --c|', by)).rejects.toThrow('gone');
    expect(await offered('%%accelerate --c|', by)).toEqual(['--c', ['--cpu']]);
    expect(await offered('%%accelerate --h|', by)).toEqual(['--h', ['--help']]);
    expect(lineWords).toHaveBeenCalledTimes(2);
  });
});
