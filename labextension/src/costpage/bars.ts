/** What the bars of days stand for. Numbers here are for drawing: amounts are told by the server. */

import type { Amount, CostLine, CostReport } from '../api/types';
import { amountOf } from '../cost/text';

export const GPU_HOURS = 'gpu-hours';
export const NODE_HOURS = 'node-hours';

/** From the bottom up. */
export const PARTS = ['used', 'idle', 'unknown', 'nobody'] as const;
export type Part = (typeof PARTS)[number];

export interface IBar {
  /** A day of UTC: `2026-11-09`. */
  day: string;
  parts: Record<Part, number>;
  whole: number;
}

const HOUR = 3_600;
const NONE: Readonly<Record<Part, number>> = { used: 0, idle: 0, unknown: 0, nobody: 0 };

/** What a report can be drawn as: each currency in it, and hours. Never two currencies in one. */
export function measuresOf({ total }: CostReport): string[] {
  return [
    ...total.cost.map(({ currency }) => currency),
    ...(total.allocated_seconds > 0 ? [GPU_HOURS] : []),
    ...(total.node_seconds > 0 ? [NODE_HOURS] : [])
  ];
}

/** The measure that was chosen, where there is any of it; else what most lines have. */
export function measureOf(report: CostReport, chosen: string | null): string {
  const found = measuresOf(report);
  const lines = (measure: string): number =>
    report.lines.filter(({ cost }) => cost.some(({ currency }) => currency === measure)).length;
  const [most] = [...found].sort((one, other) => lines(other) - lines(one));
  return found.find(each => each === chosen) ?? most ?? GPU_HOURS;
}

/** A bar for each of the days, also where nothing was used. */
export function barsOf(report: CostReport, measure: string, days: readonly string[]): IBar[] {
  const found = new Map(days.map(day => [day, { ...NONE }]));
  for (const line of report.lines) {
    const parts = found.get(line.key ?? '');
    if (parts !== undefined) {
      const more = partsOf(line, measure);
      PARTS.forEach(part => (parts[part] += more[part]));
    }
  }
  return [...found].map(([day, parts]) => ({ day, parts, whole: wholeOf(parts) }));
}

/** All bars together. */
export function sumOf(bars: readonly IBar[]): Record<Part, number> {
  const sum = { ...NONE };
  bars.forEach(({ parts }) => PARTS.forEach(part => (sum[part] += parts[part])));
  return sum;
}

function wholeOf(parts: Readonly<Record<Part, number>>): number {
  return PARTS.reduce((sum, part) => sum + parts[part], 0);
}

function partsOf(line: CostLine, measure: string): Record<Part, number> {
  const [whole, used, idle] = numbersOf(line, measure);
  if (line.unallocated) {
    return { ...NONE, nobody: whole };
  }
  // Rounded to nine places each, they may be more than the whole by a hair.
  return { used, idle, unknown: Math.max(0, whole - used - idle), nobody: 0 };
}

function numbersOf(line: CostLine, measure: string): [whole: number, used: number, idle: number] {
  if (measure === NODE_HOURS) {
    return [line.node_seconds / HOUR, 0, 0];
  }
  if (measure === GPU_HOURS) {
    return [line.allocated_seconds / HOUR, line.used_seconds / HOUR, line.idle_seconds / HOUR];
  }
  const of = (amounts: readonly Amount[]): number =>
    Number(amounts.find(({ currency }) => currency === measure)?.amount ?? 0);
  return [of(line.cost), of(line.used_cost), of(line.idle_cost)];
}

/** What of the jobs' GPU time is known to be idle, and what that part has cost. */
export interface IIdle {
  /** Of the time in which GPUs were read; `null` where they never were. */
  share: number | null;
  /** Which part of the GPU time is known; `null` where there was none. */
  known: number | null;
  cost: Amount[];
}

export function idleOf(report: CostReport): IIdle {
  const lines = report.lines.filter(({ unallocated }) => !unallocated);
  const sum = (part: 'allocated_seconds' | 'used_seconds' | 'idle_seconds'): number =>
    lines.reduce((all, line) => all + line[part], 0);
  const [allocated, used, idle] = [
    sum('allocated_seconds'),
    sum('used_seconds'),
    sum('idle_seconds')
  ];
  const cost = new Map<string, number>();
  lines.forEach(({ idle_cost: parts }) =>
    parts.forEach(({ amount, currency }) =>
      cost.set(currency, (cost.get(currency) ?? 0) + Number(amount))
    )
  );
  const known = used + idle;
  return {
    share: known > 0 ? idle / known : null,
    known: allocated > 0 ? Math.min(1, known / allocated) : null,
    cost: [...cost]
      .sort(([one], [other]) => (one < other ? -1 : 1))
      .map(([currency, amount]) => amountOf(amount, currency))
  };
}

/** Round numbers for an axis from 0 up to `most` at least. */
export function marksOf(most: number): number[] {
  if (most <= 0) {
    return [0, 1];
  }
  const power = 10 ** Math.floor(Math.log10(most / 4));
  const step = ([1, 2, 2.5, 5, 10].find(each => each * power * 4 >= most * 0.9999) ?? 10) * power;
  const count = Math.ceil((most / step) * 0.9999);
  return Array.from({ length: count + 1 }, (_, number) => number * step);
}
