/** What bars stand for, in words. */

import type { TranslationBundle } from '@jupyterlab/translation';

import { moneyText } from '../cost/text';
import { GPU_HOURS, NODE_HOURS, type Part } from './bars';

/** Of less than so much the cents of an axis matter. */
const FEW = 10;

export function valueText(value: number, measure: string, trans: TranslationBundle): string {
  if (!isHours(measure)) {
    return moneyText(value, measure);
  }
  const number = value.toLocaleString('en-US', { maximumFractionDigits: value < 1 ? 2 : 1 });
  return measure === GPU_HOURS ? trans.__('%1 GPU-h', number) : trans.__('%1 node-h', number);
}

/** A number of the axis. */
export function markText(value: number, measure: string): string {
  const number = Number(value.toPrecision(6));
  if (isHours(measure)) {
    return number.toLocaleString('en-US');
  }
  const text = moneyText(number, measure);
  return number === 0 || number >= FEW ? text.replace('.00', '') : text;
}

export function measureText(measure: string, trans: TranslationBundle): string {
  switch (measure) {
    case GPU_HOURS:
      return trans.__('GPU-hours');
    case NODE_HOURS:
      return trans.__('Hours of nodes without GPUs');
    default:
      return trans.__('Cost in %1', measure);
  }
}

export function partText(part: Part, measure: string, trans: TranslationBundle): string {
  switch (part) {
    case 'used':
      return trans.__('used');
    case 'idle':
      return trans.__('idle');
    case 'unknown':
      return measure === NODE_HOURS ? trans.__('jobs') : trans.__('not measured');
    case 'nobody':
      return trans.__('no job');
  }
}

function isHours(measure: string): boolean {
  return measure === GPU_HOURS || measure === NODE_HOURS;
}
