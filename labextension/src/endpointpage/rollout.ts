/** A change that is under way: its steps, its gates, and what it waits for. */

import type { TranslationBundle } from '@jupyterlab/translation';

import type { EndpointItem, EndpointRollout } from '../api/types';
import { momentText } from '../cost/jobline';
import { Redrawn } from '../costpage/redraw';
import { h } from '../widgets/dom';
import { facts, swatch } from './parts';
import { percentText, rolloutText } from './words';

export class RolloutView {
  constructor(trans: TranslationBundle) {
    this._trans = trans;
    this.node.setAttribute('aria-label', trans.__('What is under way'));
  }

  readonly node = h('section', { class: 'aiinfra-EndpointPage-part', hidden: '' });

  update(item: EndpointItem): void {
    const { rollout } = item;
    // Why the last one was given up is told where nothing else is under way.
    const [newest] = [...item.versions].sort((one, other) => other.number - one.number);
    const failed = rollout === null && newest?.state === 'failed' ? newest : null;
    this.node.hidden = rollout === null && failed === null;
    this._redrawn.draw(JSON.stringify([rollout, failed?.number, failed?.reason]), () => {
      if (rollout !== null) {
        return this._make(rollout);
      }
      return failed === null ? [] : this._makeFailed(failed.number, failed.reason);
    });
  }

  private _make(rollout: EndpointRollout): HTMLElement[] {
    const trans = this._trans;
    const { old, new: next, kind, steps, percent, reason, since } = rollout;
    const title = h('h3', {}, trans.__('From version %1 to %2', old, next));
    title.prepend(swatch(next));
    const list = h('ol', { class: 'aiinfra-EndpointPage-steps' });
    list.setAttribute('aria-label', trans.__('Steps'));
    const at = percent === null ? -1 : steps.indexOf(percent);
    list.append(
      ...steps.map((step, place) => {
        const state = place < at ? 'done' : place === at ? 'now' : 'to come';
        const node = h('li', { 'data-state': state }, percentText(step));
        if (place === at) {
          node.setAttribute('aria-current', 'step');
        }
        return node;
      })
    );
    return [
      title,
      list,
      h('p', { class: 'aiinfra-EndpointPage-reason', role: 'status' }, reason),
      facts([
        [trans.__('How'), rolloutText(kind, trans)],
        [trans.__('Gates'), gatesText(rollout.gates, trans)],
        [trans.__('Since'), momentText(since)]
      ])
    ];
  }

  private _makeFailed(number: number, reason: string | null): HTMLElement[] {
    const trans = this._trans;
    const title = h('h3', {}, trans.__('Version %1 was given up', number));
    title.prepend(swatch(number));
    const said = reason ?? trans.__('why is not known');
    return [title, h('p', { class: 'aiinfra-EndpointPage-problem' }, said)];
  }

  private _trans: TranslationBundle;
  private _redrawn = new Redrawn(this.node);
}

/** `at most 2 % errors · 95 % within 200 ms`. */
export function gatesText(
  { error_rate: errors, p95_ms: slow, agreement }: EndpointRollout['gates'],
  trans: TranslationBundle
): string {
  const parts = [
    errors === null ? '' : trans.__('at most %1 errors', percentText(errors * 100)),
    slow === null ? '' : trans.__('95 of 100 within %1 ms', slow),
    agreement === null ? '' : trans.__('at least %1 the same answers', percentText(agreement * 100))
  ];
  return parts.filter(Boolean).join(' · ') || trans.__('none');
}
