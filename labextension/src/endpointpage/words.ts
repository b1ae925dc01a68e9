/** Endpoints in words, and what is read from one of them. */

import type { TranslationBundle } from '@jupyterlab/translation';

import type { EndpointEvent, EndpointItem, EndpointVersion } from '../api/types';
import { costText } from '../cost/text';
import { count } from '../widgets/format';

export function stateText(state: EndpointItem['state'], trans: TranslationBundle): string {
  const words: Record<EndpointItem['state'], string> = {
    ready: trans.__('ready'),
    starting: trans.__('starting'),
    degraded: trans.__('degraded'),
    failed: trans.__('failed'),
    asleep: trans.__('asleep'),
    removed: trans.__('removed')
  };
  return words[state];
}

export function versionStateText(
  state: EndpointVersion['state'],
  trans: TranslationBundle
): string {
  const words: Record<EndpointVersion['state'], string> = {
    ready: trans.__('ready'),
    starting: trans.__('starting'),
    failed: trans.__('failed'),
    retired: trans.__('retired')
  };
  return words[state];
}

/** Where replicas run, and what takes the place of those that are lost there. */
export function poolText(
  { pool, fallback_pool: fallback }: Pick<EndpointVersion, 'pool' | 'fallback_pool'>,
  trans: TranslationBundle
): string {
  return fallback === null ? pool : trans.__('%1, else %2', pool, fallback);
}

/** `0.4`, `12.3`, `1,204`; `n/a` where it is not known. */
export function rateText(perSecond: number | null, trans: TranslationBundle): string {
  if (perSecond === null) {
    return trans.__('n/a');
  }
  if (perSecond < 0.05) {
    return perSecond === 0 ? '0' : '< 0.1';
  }
  return perSecond < 99.95 ? perSecond.toFixed(1) : count(Math.round(perSecond));
}

/** `0.42 ms`, `4.2 ms`, `420 ms`, `4.2 s`; `n/a` where there was no answer. */
export function millisecondsText(value: number | null, trans: TranslationBundle): string {
  if (value === null) {
    return trans.__('n/a');
  }
  if (value === 0) {
    return '0 ms';
  }
  if (value === Infinity) {
    return trans.__('longer than is counted');
  }
  if (value >= 999.5) {
    return `${(value / 1000).toFixed(value < 9_950 ? 1 : 0)} s`;
  }
  return `${value.toFixed(value < 0.995 ? 2 : value < 9.95 ? 1 : 0)} ms`;
}

/** A round number of an axis: `0`, `2.5`, `1,000`. */
export function markText(value: number): string {
  return Number(value.toPrecision(3)).toLocaleString('en-US');
}

/** `12 %`, `0.4 %`. */
export function percentText(percent: number): string {
  return `${Number(percent.toFixed(percent < 10 ? 1 : 0))} %`;
}

/** `3 (0.2 %)`; `n/a` where nobody counts. */
export function errorsText(
  errors: number | null,
  requests: number | null,
  trans: TranslationBundle
): string {
  if (errors === null || requests === null) {
    return trans.__('n/a');
  }
  return errors === 0 || requests === 0
    ? count(errors)
    : `${count(errors)} (${percentText((errors / requests) * 100)})`;
}

/** What part of the requests each version gets, in percent; those that get none are not in it. */
export function percentsOf({ traffic }: EndpointItem): Map<number, number> {
  const whole = traffic.reduce((sum, { weight }) => sum + weight, 0);
  return new Map(
    traffic
      .filter(({ weight }) => weight > 0)
      .map(({ version, weight }) => [version, (weight / whole) * 100])
  );
}

/** The version with most of the requests. */
export function mainOf(item: EndpointItem): EndpointVersion | null {
  const [first] = [...percentsOf(item)].sort(
    ([one, part], [other, otherPart]) => otherPart - part || other - one
  );
  const number = first?.[0] ?? item.traffic[0]?.version;
  return item.versions.find(each => each.number === number) ?? null;
}

/** The version that is tried out beside the one that is served; `null` where there is none. */
export function triedOf(item: EndpointItem): number | null {
  if (item.rollout !== null) {
    return item.rollout.new;
  }
  const main = mainOf(item)?.number;
  const others = item.traffic.map(({ version }) => version).filter(number => number !== main);
  return others.length > 0 ? Math.max(...others) : item.shadow;
}

/** Whether there is something to go back to. */
export function canRollBack(item: EndpointItem): boolean {
  const main = mainOf(item)?.number ?? 0;
  return (
    triedOf(item) !== null ||
    item.versions.some(
      ({ number, state }) => number < main && (state === 'ready' || state === 'retired')
    )
  );
}

/** `v3 90 % · v4 10 % · v5 shadow`. */
export function trafficText(item: EndpointItem, trans: TranslationBundle): string {
  const percents = percentsOf(item);
  const parts = [...percents].map(([number, part]) =>
    percents.size === 1 ? `v${number}` : `v${number} ${percentText(part)}`
  );
  for (const { version, weight, header } of item.traffic) {
    if (weight === 0 && header !== null) {
      parts.push(trans.__('v%1 by header', version));
    }
  }
  if (item.shadow !== null) {
    parts.push(trans.__('v%1 shadow', item.shadow));
  }
  return parts.join(' · ') || trans.__('none');
}

/** How many replicas answer, and how many are wanted; `up` is `null` where nobody says. */
export function replicasOf(versions: readonly EndpointVersion[]): {
  up: number | null;
  wanted: number;
} {
  const present = versions.flatMap(({ replicas }) =>
    replicas.filter(each => each.state !== 'gone')
  );
  const told = present.filter(({ router }) => router !== null);
  const up = told.filter(({ router }) => router === 'up').length;
  const wanted = versions.reduce((sum, each) => sum + each.wanted, 0);
  return { up: told.length === 0 && present.length > 0 ? null : up, wanted };
}

export function replicasText(
  versions: readonly EndpointVersion[],
  trans: TranslationBundle
): string {
  const { up, wanted } = replicasOf(versions);
  return trans.__('%1 of %2', up ?? '?', wanted);
}

export function rolloutText(
  kind: 'blue-green' | 'canary' | 'rolling',
  trans: TranslationBundle
): string {
  const words = {
    'blue-green': trans.__('blue-green'),
    canary: trans.__('canary'),
    rolling: trans.__('rolling')
  };
  return words[kind];
}

/** What 1,000 requests of the last day have cost; `n/a` where that is not known. */
export function thousandText({ cost }: ICosted, trans: TranslationBundle): string {
  return costText(cost?.window.per_thousand ?? []) ?? trans.__('n/a');
}

/** The same since the deploy, and why it is not known where it is not. */
export function thousandTitle({ cost }: ICosted, trans: TranslationBundle): string {
  const all = costText(cost?.all.per_thousand ?? []) ?? trans.__('n/a');
  return [
    trans.__('Of the last day: what its replicas cost, by the requests that they answered.'),
    trans.__('Since the deploy: %1.', all),
    cost === null ? trans.__('What its replicas cost is not known.') : cost.window.reason
  ]
    .filter(Boolean)
    .join('\n');
}

type ICosted = Pick<EndpointItem, 'cost'>;

/** What happened, in words. */
export function eventText(event: EndpointEvent, trans: TranslationBundle): string {
  const { kind, detail } = event;
  const text = (name: string): string =>
    typeof detail[name] === 'string' || typeof detail[name] === 'number'
      ? String(detail[name])
      : '?';
  switch (kind) {
    case 'added':
      return trans.__('deployed');
    case 'updated':
      return trans.__('another version');
    case 'rollout':
      return trans.__('the other version begins to get requests');
    case 'promoted':
      return trans.__('version %1 gets all requests', text('to'));
    case 'rolled-back':
      return trans.__('rolled back');
    case 'traffic':
      return trans.__('requests divided by hand');
    case 'scaled':
      return trans.__('from %1 to %2 replicas', text('least'), text('most'));
    case 'configured':
      return trans.__('options changed');
    case 'removed':
      return trans.__('removed');
    case 'restored':
      return trans.__('put back');
    case 'key-added':
      return trans.__('a key made');
    case 'key-revoked':
      return trans.__('a key revoked');
    default:
      return kind;
  }
}
