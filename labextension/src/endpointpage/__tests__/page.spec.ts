import { nullTranslator } from '@jupyterlab/translation';
import { CommandRegistry } from '@lumino/commands';
import { Widget } from '@lumino/widgets';
import axe from 'axe-core';
import { afterEach, describe, expect, it, vi } from 'vitest';

import { fakeApi } from '../../__tests__/fakes';
import type { EndpointItem } from '../../api/types';
import { EndpointsModel } from '../../models/endpoints';
import { RequestError } from '../../request';
import { CommandIDs, type IAiInfraApi, type IEndpointAnswer } from '../../tokens';
import { EndpointPage } from '../page';
import { canary, endpoint, key, replica, version } from './samples';

const trans = nullTranslator.load('jupyter_aiinfra');

let page: EndpointPage;
let model: EndpointsModel;
let executed: [string, unknown][];
/** What the server tells of when it is asked next. */
let all: EndpointItem[];

function open(found: EndpointItem[], methods: Partial<IAiInfraApi> = {}): void {
  executed = [];
  all = found;
  const api = fakeApi({
    endpoints: () => Promise.resolve(all),
    endpointUrl: (name, path) => `http://lab/aiinfra/endpoints/${name}/${path}`,
    ...methods
  });
  model = new EndpointsModel({ api });
  const commands = new CommandRegistry();
  const {
    openEndpoint,
    rollbackEndpoint,
    promoteEndpoint,
    scaleEndpoint,
    removeEndpoint,
    openJob
  } = CommandIDs;
  for (const id of [
    openEndpoint,
    rollbackEndpoint,
    promoteEndpoint,
    scaleEndpoint,
    removeEndpoint,
    openJob
  ]) {
    commands.addCommand(id, { label: id, execute: args => void executed.push([id, args]) });
  }
  page = new EndpointPage({ api, endpoints: model, commands, trans });
  Widget.attach(page, document.body);
}

const find = <T extends HTMLElement = HTMLElement>(selector: string): T | null =>
  [...page.node.querySelectorAll<T>(selector)].find(node => !node.closest('[hidden]')) ?? null;
const named = (label: string): HTMLElement | null => find(`[aria-label="${label}"]`);
const pressed = (text: string): void =>
  [...page.node.querySelectorAll('button')]
    .find(node => node.textContent === text && !node.closest('[hidden]'))
    ?.click();
const rows = (): HTMLElement[] => [
  ...page.node.querySelectorAll<HTMLElement>('.aiinfra-Table-row')
];
const names = (): (string | null | undefined)[] =>
  rows().map(row => row.querySelector('[data-focus=name]')?.textContent);
const drawn = (check: () => void): Promise<void> => vi.waitFor(check);

function write(node: HTMLInputElement | HTMLTextAreaElement | null, value: string): void {
  if (node !== null) {
    node.value = value;
    node.dispatchEvent(new Event('input', { bubbles: true }));
  }
}

afterEach(() => {
  page.dispose();
  document.body.replaceChildren();
});

describe('the list of endpoints', () => {
  const busy = endpoint('e1', {
    name: 'digits',
    versions: [version(1, { requests: 1000, errors: 5, wanted: 2 })]
  });
  const asleep = endpoint('e2', { name: 'adder', state: 'asleep' });

  it('says how each does, finds and sorts them', async () => {
    open([busy, asleep]);
    await drawn(() => expect(names()).toEqual(['adder', 'digits']));
    const said = rows()[1]?.textContent ?? '';
    expect(said).toContain('ready');
    expect(said).toContain('5 (0.5 %)');
    expect(said).toContain('1 of 2');
    expect(said).toContain('n/a');
    find('[data-focus="head errors"]')?.click();
    await drawn(() => expect(names()).toEqual(['digits', 'adder']));
    write(find<HTMLInputElement>('input[type=search]'), 'ASLEEP');
    await drawn(() => expect(names()).toEqual(['adder']));
    page.model.show({ find: 'nothing like it' });
    await drawn(() =>
      expect(find('.aiinfra-EndpointPage-empty')?.textContent).toContain('No endp')
    );
  });

  it('is walked through with keys', async () => {
    open([busy, asleep]);
    await drawn(() => expect(rows()).toHaveLength(2));
    const press = (name: string): void =>
      void document.activeElement?.dispatchEvent(
        new KeyboardEvent('keydown', { key: name, bubbles: true })
      );
    rows()[0]?.focus();
    press('ArrowDown');
    press('Delete');
    expect(executed).toEqual([[CommandIDs.removeEndpoint, { id: 'e1' }]]);
    press('Enter');
    expect(page.model.view.endpoint).toBe('e1');
  });

  it('says that nothing is served, and that the server does not answer', async () => {
    open([]);
    await drawn(() =>
      expect(find('.aiinfra-EndpointPage-empty')?.textContent).toContain('%promote')
    );
    page.dispose();
    open([], { endpoints: () => Promise.reject(new RequestError('unreachable', 'it is gone')) });
    await drawn(() => expect(find('.aiinfra-EndpointPage-notice')?.textContent).toBe('it is gone'));
  });

  it('asks for nothing when it is out of sight', async () => {
    const endpoints = vi.fn<IAiInfraApi['endpoints']>(() => Promise.resolve([busy]));
    open([], { endpoints });
    await drawn(() => expect(rows()).toHaveLength(1));
    Widget.detach(page);
    const before = endpoints.mock.calls.length;
    model.refresh();
    await new Promise(resolve => setTimeout(resolve, 0));
    expect(endpoints).toHaveBeenCalledTimes(before);
    Widget.attach(page, document.body);
    await drawn(() => expect(endpoints.mock.calls.length).toBeGreaterThan(before));
  });
});

describe('the page of an endpoint', () => {
  it('says what is under way, by what gates, and what can be done', async () => {
    open([canary('e1', { name: 'digits' })]);
    page.model.show({ endpoint: 'e1' });
    await drawn(() => expect(find('h2')?.textContent).toBe('digits'));
    const step = find('[aria-current=step]');
    expect(step?.textContent).toBe('25 %');
    const rollout = named('What is under way')?.textContent ?? '';
    expect(rollout).toContain('waits for requests: 12 of 50');
    expect(rollout).toContain('at most 2 % errors · 95 of 100 within 200 ms');
    pressed('Promote version 2');
    pressed('Roll back');
    pressed('Scale…');
    expect(executed).toEqual([
      [CommandIDs.promoteEndpoint, { id: 'e1' }],
      [CommandIDs.rollbackEndpoint, { id: 'e1' }],
      [CommandIDs.scaleEndpoint, { id: 'e1' }]
    ]);
    const slider = named('Part of version 2 in percent') as HTMLInputElement | null;
    expect([slider?.value, slider?.disabled]).toEqual(['25', true]);
  });

  it('says why the last version was given up, and what one alone can do', async () => {
    const failed = version(2, { state: 'failed', wanted: 0, reason: '3 of 5 answers were errors' });
    open([endpoint('e1', { versions: [version(1), failed] })]);
    page.model.show({ endpoint: 'e1' });
    await drawn(() =>
      expect(named('What is under way')?.textContent).toContain('3 of 5 answers were errors')
    );
    expect(find('.aiinfra-EndpointPage-shares')?.textContent).toContain('Version 1');
    expect(page.node.textContent).toContain('Only one version runs');
    const back = [...page.node.querySelectorAll('button')].find(
      node => node.textContent === 'Roll back'
    );
    expect(back?.disabled).toBe(true);
    named('Serve version 2')?.click();
    expect(executed).toEqual([[CommandIDs.rollbackEndpoint, { id: 'e1', to: 2 }]]);
  });

  it('divides the traffic by sliders, and keeps what is moved whatever is told', async () => {
    const item = canary('e1', { rollout: null });
    const split = vi.fn<IAiInfraApi['splitEndpoint']>(() =>
      Promise.resolve({
        ...item,
        traffic: [
          { version: 1, weight: 40, header: null },
          { version: 2, weight: 60, header: null }
        ]
      })
    );
    open([item], { splitEndpoint: split });
    page.model.show({ endpoint: 'e1' });
    const slider = (): HTMLInputElement | null =>
      named('Part of version 2 in percent') as HTMLInputElement | null;
    await drawn(() => expect(slider()?.value).toBe('25'));
    write(slider(), '60');
    expect((named('Part of version 1 in percent') as HTMLInputElement).value).toBe('40');
    model.refresh();
    await drawn(() => expect(slider()?.value).toBe('60'));
    all = [
      {
        ...item,
        traffic: [
          { version: 1, weight: 40, header: null },
          { version: 2, weight: 60, header: null }
        ]
      }
    ];
    pressed('Divide');
    await drawn(() => expect(split).toHaveBeenCalledWith('e1', { '1': 40, '2': 60 }));
    await drawn(() => expect(find('.aiinfra-EndpointPage-facts')?.textContent).toContain('60 %'));
    expect(slider()?.value).toBe('60');
  });

  it('has numbers and lines by version', async () => {
    const counted = (requests: number, errors: number): EndpointItem =>
      canary('e1', {
        versions: [
          version(1, { requests, errors: 0, latency_counts: [requests, 0, 0, 0, 0, 0] }),
          version(2, { requests: 10, errors, same: 9, different: 1 })
        ]
      });
    const times = [1000, 1002, 1004];
    open([counted(0, 0)]);
    page.model.show({ endpoint: 'e1' });
    await drawn(() => expect(find('table')).not.toBeNull());
    const now = Date.now() / 1000;
    times.forEach((_, at) => model.rates.push(counted(200 + at * 100, at), now + 2 + at * 2));
    all = [counted(400, 2)];
    const line = (): string =>
      page.node.querySelector('.aiinfra-EndpointPage-line[data-colour="0"]')?.getAttribute('d') ??
      '';
    model.refresh();
    await drawn(() => expect(line()).toContain('L'));
    const cells = [...page.node.querySelectorAll('tbody tr')].map(row => row.textContent);
    expect(cells[0]).toContain('2 (20 %)');
    expect(cells[0]).toContain('90 %');
    const plot = page.node.querySelector<HTMLElement>('.aiinfra-EndpointPage-plot');
    plot?.dispatchEvent(new KeyboardEvent('keydown', { key: 'ArrowLeft', bubbles: true }));
    const marks = [...page.node.querySelectorAll('.aiinfra-EndpointPage-mark')];
    expect(marks.map(mark => mark.getAttribute('d')).every(Boolean)).toBe(true);
  });

  it('shows the log of a replica, and opens its job', async () => {
    const bad = replica('job-2-long-id', { router: 'ejected', reason: 'takes no connection' });
    const logRows = vi.fn<IAiInfraApi['logRows']>(() =>
      Promise.resolve({
        rank: 0,
        first: 0,
        rows: [{ text: 'model <b>loaded</b>', line: 0, repeat: 1, left_out: 0 }],
        total_rows: 1,
        total_lines: 1,
        total_bytes: 20,
        complete: true
      })
    );
    open([endpoint('e1', { versions: [version(1, { replicas: [bad] })] })], { logRows });
    page.model.show({ endpoint: 'e1', tab: 'replicas' });
    await drawn(() => expect(find('tbody')?.textContent).toContain('takes no connection'));
    expect(find('tbody')?.textContent).toContain('fails');
    named('Log of job-2-lo')?.click();
    await drawn(() => expect(find('pre')?.textContent).toBe('model <b>loaded</b>'));
    expect(logRows).toHaveBeenCalledWith({ id: 'job-2-long-id', rank: 0, first: -200, count: 200 });
    named('Open job job-2-lo')?.click();
    expect(executed).toEqual([[CommandIDs.openJob, { id: 'job-2-long-id' }]]);
    await drawn(() => expect(named('Hide the log of job-2-lo')).not.toBeNull());
    named('Hide the log of job-2-lo')?.click();
    await drawn(() => expect(find('pre')).toBeNull());
  });

  it('tells what has happened, the newest first, and again when something has', async () => {
    const event = { at: 1000, reason: '', detail: {} };
    const events = [{ ...event, kind: 'added' }];
    const asked = vi.fn<IAiInfraApi['endpoint']>(() =>
      Promise.resolve({ item: endpoint('e1'), events: [...events] })
    );
    open([endpoint('e1')], { endpoint: asked });
    page.model.show({ endpoint: 'e1', tab: 'history' });
    await drawn(() => expect(find('tbody')?.textContent).toContain('deployed'));
    events.push({ ...event, kind: 'rolled-back', reason: 'too slow' });
    all = [endpoint('e1', { shadow: 2 })];
    model.refresh();
    await drawn(() => expect(model.find('e1')?.shadow).toBe(2));
    all = [endpoint('e1', { versions: [version(1), version(2)] })];
    model.refresh();
    await drawn(() => expect(find('tbody tr')?.textContent).toContain('rolled backtoo slow'));
    expect(asked).toHaveBeenCalledTimes(2);
  });

  it('says that there is no such endpoint, and leads back', async () => {
    open([endpoint('e1')]);
    page.model.show({ endpoint: 'gone' });
    await drawn(() =>
      expect(find('.aiinfra-EndpointPage-empty')?.textContent).toContain('no such')
    );
    pressed('‹ All endpoints');
    await drawn(() => expect(rows()).toHaveLength(1));
  });
});

describe('trying an endpoint', () => {
  const good: IEndpointAnswer = {
    status: 200,
    statusText: 'OK',
    milliseconds: 4.2,
    version: '1',
    kind: 'application/json',
    text: '{"outputs":[[3.5]],"version":"1"}'
  };
  const body = (): HTMLTextAreaElement | null =>
    named('Request, as JSON') as HTMLTextAreaElement | null;
  const value = (place: number): HTMLInputElement | null =>
    named(`x, value ${place}`) as HTMLInputElement | null;
  const answer = (): string => find('.aiinfra-EndpointPage-answer')?.textContent ?? '';

  it('has a form by the schema, sends what it comes to, and shows what is answered', async () => {
    const call = vi.fn<IAiInfraApi['callEndpoint']>(() => Promise.resolve(good));
    open([endpoint('e1', { name: 'adder' })], { callEndpoint: call });
    page.model.show({ endpoint: 'e1', tab: 'try' });
    await drawn(() => expect(body()?.value).toBe('{"inputs": [[1, 2.5]]}'));
    expect([value(1)?.value, value(2)?.value]).toEqual(['1', '2.5']);
    write(value(1), '4');
    expect(body()?.value).toBe('{"inputs": [[4, 2.5]]}');
    expect(page.model.view.body).toBe('{"inputs": [[4, 2.5]]}');
    write(body(), '{"inputs": [[5, 6]]}');
    expect([value(1)?.value, value(2)?.value]).toEqual(['5', '6']);
    pressed('Send');
    await drawn(() => expect(answer()).toContain('200 OK'));
    expect(call.mock.calls[0]?.slice(0, 2)).toEqual(['adder', 'predict']);
    expect(call.mock.calls[0]?.[2].body).toBe('{"inputs": [[5, 6]]}');
    expect(answer()).toContain('4.2 ms');
    expect(answer()).toContain('version 1');
    expect(answer()).toContain('"outputs": [[3.5]]');
  });

  it('says what is no number and no JSON, and sends neither', async () => {
    open([endpoint('e1')]);
    page.model.show({ endpoint: 'e1', tab: 'try' });
    await drawn(() => expect(value(1)?.value).toBe('1'));
    write(value(1), '');
    expect(value(1)?.getAttribute('aria-invalid')).toBe('true');
    expect(body()?.value).toBe('{"inputs": [[1, 2.5]]}');
    write(body(), '{');
    expect(body()?.getAttribute('aria-invalid')).toBe('true');
    const send = [...page.node.querySelectorAll('button')].find(
      node => node.textContent === 'Send'
    );
    expect(send?.disabled).toBe(true);
    pressed('Example');
    await drawn(() => expect(body()?.value).toBe('{"inputs": [[1, 2.5]]}'));
    expect(send?.disabled).toBe(false);
  });

  it('shows a refusal as an answer, can be stopped, and says that none came', async () => {
    const refused = { ...good, status: 400, statusText: 'Bad Request', text: '{"error":"no"}' };
    const call = vi
      .fn<IAiInfraApi['callEndpoint']>()
      .mockResolvedValueOnce(refused)
      .mockImplementationOnce(
        (_name, _path, { signal }) =>
          new Promise((_resolve, reject) =>
            signal?.addEventListener('abort', () =>
              reject(new RequestError('unreachable', 'aborted'))
            )
          )
      )
      .mockRejectedValueOnce(new RequestError('unreachable', 'the line is cut'));
    open([endpoint('e1')], { callEndpoint: call });
    page.model.show({ endpoint: 'e1', tab: 'try' });
    await drawn(() => expect(body()?.value).not.toBe(''));
    pressed('Send');
    await drawn(() => expect(answer()).toContain('400 Bad Request'));
    pressed('Send');
    await drawn(() => expect(answer()).toContain('waiting'));
    pressed('Stop');
    await drawn(() => expect(answer()).toContain('It was stopped'));
    pressed('Send');
    await drawn(() => expect(answer()).toContain('No answer: the line is cut'));
  });

  it('has what to write elsewhere, with a key where one is wanted', async () => {
    open([endpoint('e1', { name: 'adder', keys: [key('k', { ends_at: 5 })] })]);
    page.model.show({ endpoint: 'e1', tab: 'try' });
    const snippet = (): string => page.node.querySelector('pre')?.textContent ?? '';
    await drawn(() => expect(snippet()).toContain("curl 'http://127.0.0.1:4000/adder/predict'"));
    expect(snippet()).toContain('Bearer $ENDPOINT_KEY');
    pressed('Python');
    await drawn(() => expect(snippet()).toContain('requests.post('));
    pressed('Through Jupyter');
    await drawn(() => expect(snippet()).toContain('http://lab/aiinfra/endpoints/adder/predict'));
    expect(page.model.kept).toMatchObject({ language: 'python', way: 'jupyter' });
  });
});

describe('the keys of an endpoint', () => {
  it('are made and rotated, and shown this once', async () => {
    const addEndpointKey = vi.fn<IAiInfraApi['addEndpointKey']>(() =>
      Promise.resolve({ secret: 'aie_first', key: key('k1', { name: 'anna' }) })
    );
    const rotateEndpointKey = vi.fn<IAiInfraApi['rotateEndpointKey']>(() =>
      Promise.resolve({ secret: 'aie_second', key: key('k2', { name: 'anna' }) })
    );
    open([endpoint('e1'), endpoint('e2')], { addEndpointKey, rotateEndpointKey });
    page.model.show({ endpoint: 'e1', tab: 'keys' });
    await drawn(() => expect(page.node.textContent).toContain('Anybody who reaches'));
    const form = named('A new key') as HTMLFormElement;
    write(form.querySelector('input'), 'anna');
    all = [endpoint('e1', { keys: [key('k1', { name: 'anna' })] }), endpoint('e2')];
    form.requestSubmit();
    const secret = (): string => find('.aiinfra-EndpointPage-secret')?.textContent ?? '';
    await drawn(() => expect(secret()).toContain('aie_first'));
    expect(addEndpointKey).toHaveBeenCalledWith('e1', {
      name: 'anna',
      scopes: ['predict'],
      per_second: null
    });
    await drawn(() => expect(find('tbody')?.textContent).toContain('until it is revoked'));
    named('Rotate anna')?.click();
    await drawn(() => expect(secret()).toContain('aie_second'));
    expect(rotateEndpointKey).toHaveBeenCalledWith('e1', 'k1');
    expect(JSON.stringify(page.model.kept)).not.toContain('aie_');
    page.model.show({ endpoint: 'e2', tab: 'keys' });
    await drawn(() => expect(secret()).toBe(''));
    page.model.show({ endpoint: 'e1', tab: 'keys' });
    await drawn(() => expect(find('tbody')).not.toBeNull());
    expect(page.node.textContent).not.toContain('aie_');
  });

  it('are revoked once that is confirmed, and say when they end', async () => {
    const revokeEndpointKey = vi.fn<IAiInfraApi['revokeEndpointKey']>(() =>
      Promise.resolve(key('k1', { ends_at: 1 }))
    );
    const soon = Date.now() / 1000 + 3600;
    const keys = [key('k1', { ends_at: soon }), key('k2', { ends_at: 5 })];
    open([endpoint('e1', { keys })], { revokeEndpointKey });
    page.model.show({ endpoint: 'e1', tab: 'keys' });
    await drawn(() => expect(named('Revoke key-k1')).not.toBeNull());
    expect(named('Rotate key-k1')).toBeNull();
    expect(named('Revoke key-k2')).toBeNull();
    expect(find('tbody')?.textContent).toContain('no more');
    named('Revoke key-k1')?.click();
    await drawn(() => expect(document.querySelector('.jp-Dialog .jp-mod-warn')).not.toBeNull());
    document.querySelector<HTMLElement>('.jp-Dialog .jp-mod-warn')?.click();
    await drawn(() => expect(revokeEndpointKey).toHaveBeenCalledWith('e1', 'k1'));
  });
});

it('has no fault that axe finds, in any of its parts', async () => {
  const keys = [key('k1')];
  open([canary('e1', { keys }), endpoint('e2')], {
    endpoint: () =>
      Promise.resolve({
        item: canary('e1'),
        events: [{ at: 1, kind: 'added', reason: '', detail: {} }]
      })
  });
  const check = async (): Promise<void> => {
    const { violations } = await axe.run(page.node, {
      rules: { 'color-contrast': { enabled: false }, region: { enabled: false } }
    });
    expect(violations.map(({ id, nodes }) => [id, nodes.map(({ html }) => html)])).toEqual([]);
  };
  await drawn(() => expect(rows()).toHaveLength(2));
  await check();
  for (const tab of ['overview', 'try', 'replicas', 'keys', 'settings', 'history'] as const) {
    page.model.show({ endpoint: 'e1', tab });
    await drawn(() => expect(find('.aiinfra-tab[aria-selected=true]')).not.toBeNull());
    await drawn(() => expect(find('table, pre')).not.toBeNull());
    await check();
  }
});
