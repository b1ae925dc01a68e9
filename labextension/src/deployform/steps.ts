/** What becomes of a version that was deployed, step by step. */

import type { TranslationBundle } from '@jupyterlab/translation';

import type { EndpointItem } from '../api/types';
import { percentText, percentsOf, replicasText } from '../endpointpage/words';

export type StepState = 'done' | 'now' | 'to come' | 'failed';

export interface IStep {
  name: 'replicas' | 'requests';
  state: StepState;
  text: string;
  /** Why, or what it waits for. */
  why: string;
}

export function stepsOf(item: EndpointItem, number: number, trans: TranslationBundle): IStep[] {
  const version = item.versions.find(each => each.number === number);
  const { rollout } = item;
  const begun = rollout?.new === number && rollout.begun;
  // One that got requests had replicas that answered: what it failed by is a gate.
  const isFailed = version?.state === 'failed' || version === undefined;
  const hasAnswered = version?.state === 'ready' || begun || (version?.requests ?? 0) > 0;
  const why = version?.reason ?? '';
  return [
    {
      name: 'replicas',
      state: hasAnswered ? 'done' : isFailed ? 'failed' : 'now',
      text: hasAnswered
        ? trans.__('Its replicas answer its example')
        : isFailed
          ? trans.__('Its replicas do not answer')
          : trans.__(
              'Its replicas start: %1 answer',
              replicasText(version ? [version] : [], trans)
            ),
      why: !hasAnswered && isFailed ? why : ''
    },
    requestStep(item, number, { isFailed: isFailed && hasAnswered, hasAnswered, why }, trans)
  ];
}

function requestStep(
  item: EndpointItem,
  number: number,
  { isFailed, hasAnswered, why }: { isFailed: boolean; hasAnswered: boolean; why: string },
  trans: TranslationBundle
): IStep {
  const { rollout, shadow, traffic } = item;
  const name = 'requests';
  if (isFailed) {
    return { name, state: 'failed', text: trans.__('It was given up, and gets none'), why };
  }
  if (!hasAnswered) {
    return { name, state: 'to come', text: trans.__('Then it gets requests'), why: '' };
  }
  if (shadow === number) {
    return { name, state: 'done', text: trans.__('It gets copies of requests'), why: '' };
  }
  if (rollout?.new === number) {
    const part = rollout.percent === null ? trans.__('none yet') : percentText(rollout.percent);
    const text = trans.__('It gets requests: %1', part);
    return { name, state: 'now', text, why: rollout.reason };
  }
  const percent = percentsOf(item).get(number);
  if (percent !== undefined) {
    const text =
      percent >= 100
        ? trans.__('It gets all requests')
        : trans.__('It gets requests: %1', percentText(percent));
    return { name, state: 'done', text, why: '' };
  }
  return traffic.some(({ version, header }) => version === number && header !== null)
    ? { name, state: 'done', text: trans.__('It gets the requests with its header'), why: '' }
    : { name, state: 'done', text: trans.__('It gets no requests'), why: '' };
}

/** Whether there is nothing more to come. */
export function isOver(steps: readonly IStep[]): boolean {
  return steps.every(({ state }) => state === 'done') || steps.some(s => s.state === 'failed');
}
