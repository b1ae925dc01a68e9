/** How the counters of endpoints grow: requests and errors a second, and how long answers take. */

import type { EndpointItem } from '../api/types';

/** What is "now": what was counted in so many seconds. */
const WINDOW_SECONDS = 10;
/** Without news for longer, nobody knows what was in between. */
const GAP_SECONDS = 15;
/** How far back what is drawn goes. */
export const KEPT_SECONDS = 300;

/** What is known of a stretch of time; `null` is not known, or of nothing. */
export interface IRate {
  perSecond: number | null;
  errorsPerSecond: number | null;
  p50: number | null;
  p95: number | null;
  p99: number | null;
}

export interface IPoint extends IRate {
  /** The end of the stretch, in seconds since the epoch. */
  at: number;
}

interface ISample {
  at: number;
  requests: number;
  errors: number;
  bounds: readonly number[];
  counts: readonly number[];
}

const UNKNOWN: IRate = { perSecond: null, errorsPerSecond: null, p50: null, p95: null, p99: null };

/** The last minutes of each version. The router counts from 0 again when it is started anew. */
export class Rates {
  /** Take in what was told at a time. */
  push(item: EndpointItem, at: number): void {
    const versions = this._of(item.id);
    for (const version of item.versions) {
      const { number, requests, errors } = version;
      if (requests === null || errors === null) {
        continue;
      }
      const samples = versions.get(number) ?? [];
      versions.set(number, samples);
      const { latency_buckets_ms: bounds, latency_counts: counts } = version;
      samples.push({ at, requests, errors, bounds, counts });
      const first = samples.findIndex(each => each.at >= at - KEPT_SECONDS - WINDOW_SECONDS);
      samples.splice(0, first);
    }
  }

  /** Forget endpoints that are no longer there. */
  keep(ids: ReadonlySet<string>): void {
    for (const id of this._known.keys()) {
      if (!ids.has(id)) {
        this._known.delete(id);
      }
    }
  }

  /** How a version does now. */
  version(id: string, number: number): IRate {
    return rateOf(lastTwo(this._known.get(id)?.get(number)));
  }

  /** How an endpoint does now, all its versions together. */
  endpoint(id: string): IRate {
    const pairs = [...(this._known.get(id)?.values() ?? [])].flatMap(lastTwo);
    return rateOf(pairs);
  }

  /** How a version did, each time that something was told of it. */
  points(id: string, number: number): IPoint[] {
    const samples = this._known.get(id)?.get(number) ?? [];
    return samples.slice(1).map((sample, place) => ({
      at: sample.at,
      ...rateOf(pairAt(samples, place + 1))
    }));
  }

  private _of(id: string): Map<number, ISample[]> {
    const versions = this._known.get(id) ?? new Map<number, ISample[]>();
    this._known.set(id, versions);
    return versions;
  }

  private _known = new Map<string, Map<number, ISample[]>>();
}

type Pair = readonly [first: ISample, last: ISample];

function lastTwo(samples: readonly ISample[] = []): Pair[] {
  return pairAt(samples, samples.length - 1);
}

/** The sample at a place, and the first one before it that the same window has. */
function pairAt(samples: readonly ISample[], place: number): Pair[] {
  const last = samples[place];
  let first: ISample | undefined;
  for (let at = place - 1; at >= 0 && last !== undefined; at -= 1) {
    const [one, next] = [samples[at], samples[at + 1]];
    if (one === undefined || next === undefined || isBroken(one, next)) {
      break;
    }
    if (first !== undefined && one.at < last.at - WINDOW_SECONDS) {
      break;
    }
    first = one;
  }
  return first === undefined || last === undefined ? [] : [[first, last]];
}

function isBroken(one: ISample, next: ISample): boolean {
  return next.at - one.at > GAP_SECONDS || next.requests < one.requests || next.at <= one.at;
}

/** What all of these together come to. */
function rateOf(pairs: readonly Pair[]): IRate {
  const [some] = pairs;
  if (some === undefined) {
    return UNKNOWN;
  }
  // By the second of each: one that is new was counted for a shorter time.
  const grown = (of: (sample: ISample) => number): number =>
    pairs.reduce((all, [first, last]) => all + (of(last) - of(first)) / (last.at - first.at), 0);
  const sum = (of: (sample: ISample) => number): number =>
    pairs.reduce((all, [first, last]) => all + of(last) - of(first), 0);
  const { bounds } = some[1];
  const counts = some[1].counts.map((_, place) => sum(sample => sample.counts[place] ?? 0));
  return {
    perSecond: grown(({ requests }) => requests),
    errorsPerSecond: grown(({ errors }) => errors),
    p50: quantile(bounds, counts, 0.5),
    p95: quantile(bounds, counts, 0.95),
    p99: quantile(bounds, counts, 0.99)
  };
}

/**
 * The time within which that share of answers came, in milliseconds: read between the bounds of a
 * bucket. `null` where there was no answer, infinite where it is beyond the last bound.
 */
export function quantile(
  bounds: readonly number[],
  counts: readonly number[],
  share: number
): number | null {
  const whole = counts.reduce((all, each) => all + each, 0);
  if (whole <= 0) {
    return null;
  }
  const wanted = share * whole;
  let reached = 0;
  for (const [place, bound] of bounds.entries()) {
    const here = counts[place] ?? 0;
    if (here > 0 && reached + here >= wanted) {
      const below = bounds[place - 1] ?? 0;
      return below + ((wanted - reached) / here) * (bound - below);
    }
    reached += here;
  }
  return Infinity;
}
