/** What is wrong with what stands in the form that deploys, as far as can be told without asking. */

import type { ISource } from './kernel';
import { numberOf, sourceWord, wordsOf, type IDeployTexts } from './line';

export type DeployField = keyof IDeployTexts;
export type DeployFault =
  | 'missing'
  | 'not a name'
  | 'not a number'
  | 'not a share'
  | 'not a percentage'
  | 'not a header'
  | 'not a header name'
  | 'not an origin'
  | 'no URI'
  | 'itself'
  | 'fewer';

export type Faults = Partial<Record<DeployField, DeployFault>>;

export interface IFaultOptions {
  /** What is chosen of the kernel's names. */
  source: ISource | null;
  notebook: string;
  isNew: boolean;
  /** Where it is to run. */
  pool: string;
}

const NAME = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;
const HEADER = /^[A-Za-z0-9-]+$/;

export function faultsOf(
  texts: IDeployTexts,
  { source, notebook, isNew, pool }: IFaultOptions
): Faults {
  const found: Faults = {};
  if (sourceWord(texts, notebook) === '') {
    found[texts.source === 'other' ? 'other' : 'source'] = 'missing';
  } else if (texts.source === 'other' && !/^(runs|models):\/.|[/\\.]/.test(texts.other.trim())) {
    found.other = 'no URI';
  }
  if (texts.name.trim() === '') {
    found.name = 'missing';
  } else if (!NAME.test(texts.name.trim())) {
    found.name = 'not a name';
  }
  if (source?.kind === 'module' && source.calls === 0 && texts.example.trim() === '') {
    found.example = 'missing';
  }
  if (texts.fallback !== '' && texts.fallback === pool) {
    found.fallback = 'itself';
  }
  if (!/^\d*$/.test(texts.gpus.trim())) {
    found.gpus = 'not a number';
  }
  return { ...found, ...(isNew ? newFaults(texts) : changeFaults(texts)) };
}

/** Percentages, each of which may be left out. */
function shareFaults(texts: IDeployTexts, fields: readonly DeployField[]): Faults {
  const found: Faults = {};
  for (const field of fields) {
    const share = numberOf(texts[field]);
    if (texts[field].trim() !== '' && (share === null || share < 0 || share > 100)) {
      found[field] = 'not a share';
    }
  }
  return found;
}

function newFaults(texts: IDeployTexts): Faults {
  const found: Faults = {};
  if (texts.pool === '') {
    found.pool = 'missing';
  }
  const least = Number(texts.least.trim() || 'none');
  const most = texts.most.trim() === '' ? least : Number(texts.most.trim());
  if (!Number.isInteger(least) || least < 0) {
    found.least = 'not a number';
  }
  if (!Number.isInteger(most) || most < 1) {
    found.most = 'not a number';
  } else if (most < least) {
    found.most = 'fewer';
  }
  if (texts.sticky.trim() !== '' && !HEADER.test(texts.sticky.trim())) {
    found.sticky = 'not a header name';
  }
  Object.assign(found, shareFaults(texts, ['tolerance', 'sample']));
  if (wordsOf(texts.origins).some(word => word !== '*' && !/^https?:\/\/[^/]+$/.test(word))) {
    found.origins = 'not an origin';
  }
  return found;
}

function changeFaults(texts: IDeployTexts): Faults {
  const found: Faults = {};
  if (texts.how === 'canary' && !/^\d+(\.\d+)?(,\d+(\.\d+)?)*%?$/.test(bare(texts.percent))) {
    found.percent = 'not a percentage';
  }
  if (texts.how === 'header' && !/^[^=\s]+=.+$/.test(texts.header.trim())) {
    found.header = 'not a header';
  }
  if (texts.ungated !== '') {
    return found;
  }
  Object.assign(found, shareFaults(texts, ['errors', 'agreement']));
  if (texts.p95.trim() !== '' && !(Number(numberOf(texts.p95) ?? -1) > 0)) {
    found.p95 = 'not a number';
  }
  return found;
}

function bare(text: string): string {
  return text.replaceAll(/\s/g, '');
}
