/** The measure of a series: how its numbers are written, and how high its axis goes. */

import type { TranslationBundle } from '@jupyterlab/translation';

import { memoryText, unknownText, valueText } from '../gpus/text';
import type { ICurves } from './curves';
import type { SeriesName } from './view';

const GIB = 2 ** 30;

/** What GPUs have at most; `null` where that is unknown. */
export interface ILimits {
  memory: number | null;
  power: number | null;
}

export function titleOf(series: SeriesName, trans: TranslationBundle): string {
  switch (series) {
    case 'utilization':
      return trans.__('Utilization');
    case 'memory':
      return trans.__('Memory');
    case 'power':
      return trans.__('Power');
    case 'temperature':
      return trans.__('Temperature');
  }
}

export function numberText(series: SeriesName, value: number, trans: TranslationBundle): string {
  if (Number.isNaN(value)) {
    return unknownText(trans);
  }
  switch (series) {
    case 'utilization':
      return valueText(value, '%', trans);
    case 'memory':
      return memoryText(value, null, trans);
    case 'power':
      return valueText(value, 'W', trans);
    case 'temperature':
      return valueText(value, '°C', trans);
  }
}

/** How high the axis goes: to what there can be, and to what there is where that is more. */
export function topOf(series: SeriesName, curves: ICurves, limits: ILimits): number {
  if (series === 'utilization') {
    return 100;
  }
  let most = 0;
  for (const line of curves.lines[series]) {
    for (const value of line.most) {
      most = value > most ? value : most;
    }
  }
  const limit = series === 'temperature' ? 90 : limits[series];
  const reach = Math.max(most, limit ?? 0);
  return series === 'memory'
    ? Math.max(GIB, roundUp(reach / GIB) * GIB)
    : Math.max(10, roundUp(reach));
}

/** Some round numbers from 0 up to the top. */
export function marks(series: SeriesName, top: number): number[] {
  const unit = series === 'memory' ? GIB : 1;
  const step = roundUp(top / unit / 4) * unit;
  const found = [];
  for (let mark = 0; mark <= top * 1.001; mark += step) {
    found.push(mark);
  }
  return found;
}

/** The next of 1, 2, 2.5, 4, 5, 8, … times a power of ten. */
function roundUp(value: number): number {
  if (value <= 0) {
    return 1;
  }
  const power = 10 ** Math.floor(Math.log10(value));
  const steps = [1, 2, 2.5, 3, 4, 5, 6, 8, 10];
  return (steps.find(step => step * power >= value * 0.9999) ?? 10) * power;
}
