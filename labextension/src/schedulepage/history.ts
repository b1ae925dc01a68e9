/** How runs ended, one behind the other, as small bars: their height is how long they took. */

import type { TranslationBundle } from '@jupyterlab/translation';

import type { RunItem, RunState } from '../api/types';
import { momentText } from '../cost/jobline';
import {
  isRunActive,
  runDurationText,
  runMoment,
  runSeconds,
  runStateText
} from '../models/runwords';

const SVG = 'http://www.w3.org/2000/svg';
const BAR = 4;
const GAP = 1;
const LEAST = 4;

export interface IHistoryOptions {
  /** How many, the newest of them. */
  most: number;
  height: number;
  trans: TranslationBundle;
}

/** The runs given are the newest first; the newest bar stands on the right. */
export function historyNode(
  runs: readonly RunItem[],
  { most, height, trans }: IHistoryOptions
): SVGElement {
  const shown = runs.slice(0, most).reverse();
  const now = Date.now() / 1000;
  const longest = Math.max(1, ...shown.map(run => runSeconds(run, now) ?? 0));
  const svg = document.createElementNS(SVG, 'svg');
  const width = Math.max(1, most * (BAR + GAP) - GAP);
  svg.setAttribute('class', 'aiinfra-History');
  svg.setAttribute('width', String(width));
  svg.setAttribute('height', String(height));
  svg.setAttribute('viewBox', `0 0 ${width} ${height}`);
  svg.setAttribute('role', 'img');
  svg.setAttribute('aria-label', historyText(shown, trans));
  const first = most - shown.length;
  shown.forEach((run, place) => {
    const seconds = runSeconds(run, now);
    const high =
      seconds === null ? LEAST : LEAST + ((height - LEAST) * Math.max(0, seconds)) / longest;
    const bar = document.createElementNS(SVG, 'rect');
    bar.setAttribute('x', String((first + place) * (BAR + GAP)));
    bar.setAttribute('y', (height - high).toFixed(1));
    bar.setAttribute('width', String(BAR));
    bar.setAttribute('height', high.toFixed(1));
    bar.setAttribute('class', `aiinfra-History-bar aiinfra-mod-${run.state}`);
    const title = document.createElementNS(SVG, 'title');
    title.textContent = barText(run, now, trans);
    bar.append(title);
    svg.append(bar);
  });
  return svg;
}

function barText(run: RunItem, now: number, trans: TranslationBundle): string {
  const said = [
    momentText(runMoment(run)),
    runStateText(run.state, trans),
    runSeconds(run, now) === null ? '' : runDurationText(run, now, trans),
    run.reason ?? ''
  ];
  return said.filter(Boolean).join(' · ');
}

/** `last 10 runs: 8 succeeded, 2 failed`. */
export function historyText(runs: readonly RunItem[], trans: TranslationBundle): string {
  if (runs.length === 0) {
    return trans.__('no run yet');
  }
  const counts = new Map<RunState, number>();
  runs.forEach(({ state }) => counts.set(state, (counts.get(state) ?? 0) + 1));
  const words = [...counts].map(([state, count]) => `${count} ${runStateText(state, trans)}`);
  return trans.__('last %1 runs: %2', runs.length, words.join(', '));
}

/** The part of the runs that are over, and were run, that has succeeded; `null` where none is. */
export function successShare(runs: readonly RunItem[]): number | null {
  const over = runs.filter(
    run => !isRunActive(run) && run.state !== 'skipped' && run.state !== 'cancelled'
  );
  const good = over.filter(({ state }) => state === 'succeeded').length;
  return over.length === 0 ? null : good / over.length;
}
