/** From what stands in the form of a schedule to what the server is asked for. */

import type { Policy, Trigger, Values } from '../api/types';
import { FORMS, type Texts, type WhenKind } from './scheduletexts';
import { isZone, lengthOf, momentOf } from './zonetime';

export type ScheduleFault =
  'missing' | 'not a number' | 'not a length' | 'not a moment' | 'not a zone' | 'not JSON';

/** What says when it runs. */
export const WHEN_FIELDS = ['when', 'cron', 'every', 'at', 'after', 'on', 'path', 'zone'] as const;

type Faults = Partial<Record<string, ScheduleFault>>;

const LENGTHS = ['window', 'jitter', 'cellTime', 'runTime'] as const;
const NUMBERS = ['retries', 'parallel', 'keepCount', 'gpus'] as const;

const of = (texts: Texts, field: string): string => (texts[field] ?? '').trim();
const linesOf = (texts: Texts, field: string): string[] =>
  of(texts, field)
    .split('\n')
    .map(each => each.trim())
    .filter(Boolean);
const wordsOf = (texts: Texts, field: string): string[] =>
  of(texts, field)
    .split(/[\s,]+/)
    .filter(Boolean);

/** What cannot be read, of all but the parameters. What `isWhenAsWas` is not read. */
export function partFaults(texts: Texts, isWhenAsWas: boolean): Faults {
  const found: Faults = isWhenAsWas ? {} : whenFaults(texts);
  for (const field of LENGTHS) {
    if (of(texts, field) !== '' && lengthOf(of(texts, field)) === null) {
      found[field] = 'not a length';
    }
  }
  if (of(texts, 'retries') !== '0' && lengthOf(of(texts, 'backoff')) === null) {
    found['backoff'] = 'not a length';
  }
  for (const field of NUMBERS) {
    if (of(texts, field) !== '' && !/^\d+$/.test(of(texts, field))) {
      found[field] = 'not a number';
    }
  }
  if (of(texts, 'until') !== '' && momentOf(of(texts, 'until'), of(texts, 'zone')) === null) {
    found['until'] = 'not a moment';
  }
  return found;
}

/** Whether any of these is wrong. */
export function hasPart(faults: Faults): boolean {
  return Object.keys(faults).length > 0;
}

function whenFaults(texts: Texts): Faults {
  const found: Faults = {};
  const zone = of(texts, 'zone');
  if (!isZone(zone)) {
    found['zone'] = 'not a zone';
  }
  switch (of(texts, 'when') as WhenKind) {
    case 'cron':
    case 'after':
    case 'file': {
      const field = of(texts, 'when') === 'file' ? 'path' : of(texts, 'when');
      if (of(texts, field) === '') {
        found[field] = 'missing';
      }
      break;
    }
    case 'every':
      if (lengthOf(of(texts, 'every')) === null) {
        found['every'] = 'not a length';
      }
      break;
    case 'at':
      if (linesOf(texts, 'at').length === 0) {
        found['at'] = 'missing';
      } else if (isZone(zone) && linesOf(texts, 'at').some(each => momentOf(each, zone) === null)) {
        found['at'] = 'not a moment';
      }
      break;
  }
  return found;
}

/** What makes it run; it has to be free of faults. */
export function triggersOf(texts: Texts): Trigger[] {
  const zone = of(texts, 'zone');
  switch (of(texts, 'when') as WhenKind) {
    case 'cron':
      return [{ kind: 'cron', lines: linesOf(texts, 'cron') }];
    case 'every':
      return [{ kind: 'every', seconds: lengthOf(of(texts, 'every')) }];
    case 'at': {
      const times = linesOf(texts, 'at').map(each => momentOf(each, zone));
      return [{ kind: 'at', times: times.filter(each => each !== null) }];
    }
    case 'after':
      return [
        {
          kind: 'after',
          schedule: of(texts, 'after'),
          on: of(texts, 'on') === 'end' ? 'end' : 'success'
        }
      ];
    case 'file':
      return [{ kind: 'file', path: of(texts, 'path') }];
    default:
      return [];
  }
}

/** What is done where life is not as planned; over what it was. */
export function policyOf(texts: Texts, first: Texts, old: Policy | undefined): Policy {
  const length = (field: string): number | null => lengthOf(of(texts, field));
  const isEndAsWas = texts['until'] === first['until'] && texts['zone'] === first['zone'];
  const overlap = of(texts, 'overlap') as NonNullable<Policy['overlap']>;
  return {
    ...old,
    catch_up: of(texts, 'catchUp') as NonNullable<Policy['catch_up']>,
    window_seconds: of(texts, 'catchUp') === 'none' ? null : length('window'),
    overlap,
    parallel: overlap === 'parallel' ? Number(of(texts, 'parallel') || 1) : (old?.parallel ?? 1),
    retries: Number(of(texts, 'retries') || 0),
    backoff_seconds: length('backoff') ?? old?.backoff_seconds ?? 60,
    jitter_seconds: length('jitter') ?? 0,
    ends_at: isEndAsWas ? (old?.ends_at ?? null) : momentOf(of(texts, 'until'), of(texts, 'zone')),
    except_days: linesOf(texts, 'except')
  };
}

/** How its runs run; over what it was, of which the form shows only some. */
export function optionsOf(texts: Texts, old: Values | undefined): Values {
  const length = (field: string): number | undefined => lengthOf(of(texts, field)) ?? undefined;
  const word = (field: string): string | undefined => of(texts, field) || undefined;
  const number = (field: string): number | undefined =>
    of(texts, field) === '' ? undefined : Number(of(texts, field));
  const list = (words: string[]): string[] | undefined => (words.length > 0 ? words : undefined);
  const forms = FORMS.filter(form => texts[`form:${form}`]);
  const isUsual = forms.length === 1 && forms[0] === 'ipynb';
  const given: Values = {
    kernel: word('kernel'),
    environment: word('environment'),
    gpus: number('gpus'),
    files: list(linesOf(texts, 'files')),
    outputs: list(linesOf(texts, 'outputs')),
    forms: isUsual ? undefined : forms,
    keep_count: number('keepCount'),
    cell_seconds: length('cellTime'),
    run_seconds: length('runTime'),
    fired_by: of(texts, 'firedBy') === 'pool' ? 'pool' : undefined,
    notify: notifyOf(texts)
  };
  const all = Object.entries({ ...old, ...given });
  return Object.fromEntries(all.filter(([, value]) => value !== undefined));
}

function notifyOf(texts: Texts): Values | undefined {
  const all = [
    ['failure', wordsOf(texts, 'notifyFailure')],
    ['success', wordsOf(texts, 'notifySuccess')],
    ['missed', wordsOf(texts, 'notifyMissed')]
  ] as const;
  const some = all.filter(([, names]) => names.length > 0);
  return some.length > 0 ? Object.fromEntries(some) : undefined;
}
