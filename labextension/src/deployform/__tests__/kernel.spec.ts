import type { ISessionContext } from '@jupyterlab/apputils';
import { nullTranslator } from '@jupyterlab/translation';
import { Signal } from '@lumino/signaling';
import { expect, it } from 'vitest';

import { RequestError } from '../../request';
import { NotebookKernel, refusalOf } from '../kernel';

const trans = nullTranslator.load('jupyter_aiinfra');

type Reply = Record<string, unknown> | Error;

/** A kernel that answers what it is asked one by one. */
class FakeKernel {
  constructor(private readonly _replies: Reply[]) {}

  status = 'idle';
  readonly isDisposed = false;
  readonly statusChanged = new Signal<this, string>(this);
  readonly asked: Record<string, unknown>[] = [];

  requestExecute(content: Record<string, unknown>): unknown {
    this.asked.push(content);
    const reply = this._replies.shift() ?? { status: 'ok' };
    const future = {
      onIOPub: (_message: unknown): void => undefined,
      get done(): Promise<unknown> {
        const said = { name: 'stdout', text: 'packaged\n' };
        future.onIOPub({ header: { msg_type: 'stream' }, content: said });
        return reply instanceof Error ? Promise.reject(reply) : Promise.resolve({ content: reply });
      }
    };
    return future;
  }
}

function session(kernel: FakeKernel | null): NotebookKernel {
  const context = { session: kernel && { kernel } } as unknown as ISessionContext;
  return new NotebookKernel(context, trans);
}

const never = new AbortController().signal;
const message = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'done',
    (error: unknown) => (error as RequestError).message
  );

it('is asked what it has, without a trace', async () => {
  const value = { sources: [], examples: [] };
  const found = { status: 'ok', data: { 'application/json': value } };
  const kernel = new FakeKernel([{ status: 'ok', user_expressions: { found } }]);
  expect(await session(kernel).look(never)).toEqual(value);
  expect(kernel.asked).toMatchObject([{ code: '', silent: true, store_history: false }]);
});

it('says that it cannot say', async () => {
  const found = { status: 'error', ename: 'ModuleNotFoundError' };
  const lacking = new FakeKernel([{ status: 'ok', user_expressions: { found } }]);
  expect(await message(session(lacking).look(never))).toContain('jupyter_aiinfra is not there');
  expect(await message(session(null).look(never))).toContain('has no kernel');
  const dead = new FakeKernel([]);
  dead.status = 'dead';
  expect(await message(session(dead).look(never))).toContain('is dead');
  const restarted = new FakeKernel([new Error('Canceled future')]);
  expect(await message(session(restarted).look(never))).toContain('was restarted');
});

it('runs a line once the kernel is free, and hands on what that says', async () => {
  const kernel = new FakeKernel([]);
  kernel.status = 'busy';
  const said: string[] = [];
  const done = session(kernel).run('%promote x', text => said.push(text), never);
  await Promise.resolve();
  expect(kernel.asked).toEqual([]);
  kernel.status = 'idle';
  kernel.statusChanged.emit('idle');
  await done;
  expect(kernel.asked.map(({ code }) => code)).toEqual(['%load_ext jupyter_aiinfra', '%promote x']);
  expect(said).toEqual(['packaged\n']);
});

it('is not asked any more once nobody waits for it', async () => {
  const kernel = new FakeKernel([]);
  kernel.status = 'busy';
  const over = new AbortController();
  const done = message(session(kernel).run('%promote x', () => undefined, over.signal));
  over.abort();
  expect(await done).toContain('given up');
  expect(kernel.asked).toEqual([]);
});

it('tells an error of ours by what it says, and any other by its name', async () => {
  const ours = { status: 'error', ename: 'UsageError', evalue: 'on which pool?' } as const;
  const told = refusalOf({
    ...ours,
    traceback: ['UsageError: on which pool?', '  --pool POOL']
  });
  expect([told.message, told.hint]).toEqual(['on which pool?', '--pool POOL']);
  const other = { ...ours, ename: 'KeyError', evalue: '1', traceback: ['---', 'KeyError: 1'] };
  const kernel = new FakeKernel([{ status: 'ok' }, other]);
  expect(await message(session(kernel).run('x', () => undefined, never))).toBe('KeyError: 1');
  const aborted = new FakeKernel([{ status: 'ok' }, { status: 'aborted' }]);
  expect(await message(session(aborted).run('x', () => undefined, never))).toContain('gave it up');
});
