import { describe, expect, it, vi } from 'vitest';

import { pool } from '../../__tests__/samples';
import { endpoint, version } from '../../endpointpage/__tests__/samples';
import { RequestError } from '../../request';
import { DeployDraft, type IDeployDraftOptions } from '../draft';
import type { DeployField } from '../faults';
import type { IServable } from '../kernel';
import { NO_FALLBACK, promoteLine, type IDeployTexts } from '../line';

const SERVABLE: IServable = {
  sources: [
    { name: 'load', kind: 'function', text: '(path)', calls: 0 },
    { name: 'net', kind: 'module', text: 'Net', calls: 0 },
    { name: 'predict', kind: 'function', text: '(x)', calls: 3 }
  ],
  examples: [{ name: 'x', text: 'ndarray 8 x 2' }]
};

const made = endpoint('e1', { name: 'digits', versions: [version(1), version(2)] });

function draft(options: Partial<IDeployDraftOptions> = {}): DeployDraft {
  return new DeployDraft({
    look: () => Promise.resolve(SERVABLE),
    run: () => Promise.resolve(),
    find: () => Promise.resolve(made),
    addKey: () => Promise.reject(new Error('not expected')),
    notebook: 'My Digits.ipynb',
    isTagged: false,
    endpoints: [],
    pools: [pool('lab')],
    ...options
  });
}

function fill(form: DeployDraft, texts: Partial<IDeployTexts>): DeployDraft {
  for (const [field, text] of Object.entries(texts)) {
    form.set(field as DeployField, text);
  }
  return form;
}

describe('what is proposed', () => {
  it('is what was recorded, by a free name, on a pool', async () => {
    const form = draft({ endpoints: [endpoint('e0', { name: 'my-digits' })] });
    expect(form.servable).toBeNull();
    await form.look();
    expect(form.source?.calls).toBe(3);
    expect(form.line).toBe('%promote endpoint predict --name my-digits-2 --pool lab --replicas 1');
  });

  it('is the tagged cell of a notebook that has one', async () => {
    const form = draft({ isTagged: true });
    await form.look();
    expect(form.line).toContain('%promote endpoint "My Digits.ipynb" --name my-digits ');
  });

  it('is not what was chosen before the kernel has answered', async () => {
    const form = draft();
    form.set('source', 'other');
    await form.look();
    expect(form.texts.source).toBe('other');
  });

  it('says why the kernel does not say what it has', async () => {
    const form = draft({ look: () => Promise.reject(new RequestError('refused', 'no kernel')) });
    await form.look();
    expect(form.lookProblem?.message).toBe('no kernel');
    expect(form.servable).toBeNull();
  });
});

describe('the line', () => {
  const line = (texts: Partial<IDeployTexts>, isNew = true, isModule = true): string => {
    const form = fill(draft(), { source: 'name net', name: 'digits', ...texts });
    return promoteLine(form.texts, { isNew, isModule, notebook: form.notebook });
  };

  it('says as what a module is packaged, on what, and what takes its place', () => {
    const texts = { form: 'bf16', gpus: '2', fallback: 'cheap' };
    expect(line(texts)).toContain('--pool lab --fallback-pool cheap --gpus 2 --form bf16');
    expect(line(texts, false)).toContain('--fallback-pool cheap --gpus 2 --form bf16');
    expect(line({ form: 'source', gpus: '', fallback: '' })).not.toMatch(/form|gpus|fallback/);
    // Only a module has forms.
    expect(line({ form: 'int8' }, true, false)).not.toContain('--form');
    expect(line({ fallback: NO_FALLBACK, pool: '' }, false)).toContain('--name digits --no-spot');
  });

  it('says what the router does for a new endpoint, and nothing of it for a version', () => {
    const texts = {
      sticky: 'X-User',
      tolerance: '1',
      once: 'yes',
      sample: '0,5 %',
      redact: 'email, /inputs/0/name'
    };
    expect(line(texts)).toMatch(
      / --sticky X-User --tolerance 0.01 --not-idempotent --sample 0.005 --redact email --redact \/inputs\/0\/name$/
    );
    expect(line(texts, false)).not.toMatch(/sticky|tolerance|idempotent|sample|redact/);
  });

  it('says how many replicas there are, and who may call it', () => {
    expect(line({ least: '2', most: '2' })).toContain('--replicas 2');
    expect(line({ least: '0', most: '4' })).toContain('--min 0 --max 4');
    expect(line({ least: '0', most: '' })).toMatch(/--min 0$/);
    expect(line({ origins: 'https://a.example, https://b.example' })).toContain(
      '--cors https://a.example --cors https://b.example'
    );
  });

  it('says how another version takes over, and leaves out what is of a new endpoint', () => {
    const canary = line({ how: 'canary', percent: '5, 50', agreement: '95', key: 'anna' }, false);
    expect(canary).toBe(
      '%promote endpoint net --name digits --pool lab --canary 5,50 --step 1m' +
        ' --max-errors 0.02 --max-p95 200 --min-agreement 0.95'
    );
    expect(line({ how: 'shadow', ungated: 'yes', pool: '' }, false)).toMatch(
      /--name digits --shadow --no-gates$/
    );
    expect(line({ how: 'blue-green' }, false)).toContain('--blue-green');
    expect(line({ how: 'header', header: 'X-V=2' }, false)).toContain('--header X-V=2');
  });

  it.each([
    ['[[0, 0.5]]', '--example "[[0, 0.5]]"'],
    ['{"x":3}', `--example '{{"x":3}}'`],
    ["it's", `--example "it's"`],
    [`a "b" 'c'`, `--example 'a "b" '"'"'c'"'"''`],
    ['$HOME 5$', '--example "$$HOME 5$"'],
    ['x', '--example x']
  ])('is read as it was typed: %s', (example, expected) => {
    expect(line({ example })).toContain(expected);
  });

  it('gives no example to what brings its own', () => {
    expect(line({ source: 'other', other: 'models:/a@b', example: '[1]' })).toBe(
      '%promote endpoint models:/a@b --name digits --pool lab --replicas 1'
    );
  });
});

describe('what is wrong', () => {
  it.each<[string, Partial<IDeployTexts>, object]>([
    ['nothing', {}, {}],
    ['no source', { source: '' }, { source: 'missing' }],
    ['no URI', { source: 'other', other: 'digits' }, { other: 'no URI' }],
    ['a module without an example', { source: 'name net' }, { example: 'missing' }],
    ['a name', { name: 'My Digits' }, { name: 'not a name' }],
    ['no name', { name: ' ' }, { name: 'missing' }],
    ['how many', { least: '3', most: '2' }, { most: 'fewer' }],
    ['no number', { least: 'x', most: '0' }, { least: 'not a number', most: 'not a number' }],
    ['an origin', { origins: 'shop.example' }, { origins: 'not an origin' }],
    ['no pool', { pool: '' }, { pool: 'missing' }],
    ['its own place', { fallback: 'lab' }, { fallback: 'itself' }],
    ['GPUs', { gpus: '-1' }, { gpus: 'not a number' }],
    ['a header', { sticky: 'X User' }, { sticky: 'not a header name' }],
    [
      'shares',
      { sample: '101', tolerance: 'x' },
      { sample: 'not a share', tolerance: 'not a share' }
    ]
  ])('is told at its field: %s', async (_, texts, expected) => {
    const run = vi.fn(() => Promise.resolve());
    const form = draft({ run });
    await form.look();
    fill(form, texts);
    await form.submit();
    expect(form.problems).toEqual(expected);
    expect(run).toHaveBeenCalledTimes(Object.keys(expected).length === 0 ? 1 : 0);
  });

  it.each<[Partial<IDeployTexts>, object]>([
    [{ how: 'canary', percent: 'some' }, { percent: 'not a percentage' }],
    [{ how: 'header', header: 'X' }, { header: 'not a header' }],
    [
      { errors: '101', agreement: 'x' },
      { errors: 'not a share', agreement: 'not a share' }
    ],
    [{ p95: '0' }, { p95: 'not a number' }]
  ])('is told of a change: %o', async (texts, expected) => {
    const form = draft({ endpoints: [made], endpoint: 'digits' });
    await form.look();
    expect(form.old).toBe(made);
    expect(form.texts.pool).toBe('');
    fill(form, texts);
    await form.submit();
    expect(form.problems).toEqual(expected);
    expect(fill(form, { ungated: 'yes', how: 'rolling' }).isWhole()).toBe(true);
    // It runs where the version before does, where no other pool is chosen.
    expect(form.pool).toBe('here');
    expect(fill(form, { fallback: 'here' }).isWhole()).toBe(false);
    expect(fill(form, { pool: 'lab' }).isWhole()).toBe(true);
  });
});

describe('deploying', () => {
  it('runs the line, says how far it is, and makes the key', async () => {
    const stages: string[] = [];
    const lines: string[] = [];
    const form = draft({
      run: (line, say) => {
        lines.push(line);
        say('looks\n');
        say('packaged in /tmp/x\n');
        return Promise.resolve();
      },
      addKey: (id, name) => Promise.resolve(`secret of ${id} ${name}`)
    });
    await form.look();
    fill(form, { name: 'digits', key: 'anna' });
    form.changed.connect(() => stages.push(form.stage));
    const done = await form.submit();
    expect(lines).toEqual([`${form.line} --detach`]);
    expect([...new Set(stages)]).toEqual([
      ...['filling', 'waiting', 'packaging', 'replaying', 'keying']
    ]);
    expect(done).toEqual({
      item: made,
      number: 2,
      isReplayed: true,
      secret: 'secret of e1 anna',
      keyProblem: null,
      said: ['looks', 'packaged in /tmp/x']
    });
  });

  it('says what the verb says, at its field where it is about one', async () => {
    let error = new RequestError('refused', 'call 1: 3.0, and the notebook returned 4.0', {
      hint: '--no-replay deploys it all the same'
    });
    const form = draft({ run: () => Promise.reject(error) });
    await form.look();
    expect(await form.submit()).toBeNull();
    expect(form.error).toBe(error);
    error = new RequestError('refused', '--example is no JSON, and no name of the notebook');
    expect(await form.submit()).toBeNull();
    expect(form.refusals.example).toBe(error);
    const told: [string, DeployField][] = [
      ['form int8 computes on processors, and the device is cuda', 'form'],
      ['pool lab cannot take the place of itself', 'fallback'],
      ['pool lab has no node with 9 GPUs', 'gpus'],
      ["'X User' is no name of a header", 'sticky']
    ];
    for (const [message, field] of told) {
      error = new RequestError('refused', message);
      expect(await form.submit()).toBeNull();
      expect(form.refusals).toEqual({ [field]: error });
    }
    expect(form.stage).toBe('filling');
  });

  it('says that there is no key where it could not be made', async () => {
    const refusal = new RequestError('refused', 'no');
    const form = draft({ addKey: () => Promise.reject(refusal) });
    await form.look();
    fill(form, { key: 'anna' });
    const done = await form.submit();
    expect(done).toMatchObject({ secret: null, keyProblem: refusal });
  });

  it('makes no key for an endpoint that was there', async () => {
    const form = draft({ endpoints: [made], endpoint: 'digits' });
    await form.look();
    fill(form, { key: 'anna', unreplayed: 'yes' });
    const done = await form.submit();
    expect(done).toMatchObject({ secret: null, keyProblem: null, isReplayed: false });
  });

  it('asks a kernel that it still waits for nothing once it is closed', async () => {
    let given: AbortSignal | undefined;
    const form = draft({
      look: signal => {
        given = signal;
        return new Promise(() => undefined);
      }
    });
    void form.look();
    form.dispose();
    expect(given?.aborted).toBe(true);
    await Promise.resolve();
  });
});
