/** What is spent, in a few numbers. */

import type { TranslationBundle } from '@jupyterlab/translation';

import type { Amount, CostSummary } from '../api/types';
import { costText, grown, hourlyText, shareText } from '../cost/text';
import { h } from '../widgets/dom';
import { idleOf } from './bars';
import type { IAnswer } from './model';

interface ITile {
  node: HTMLElement;
  value: HTMLElement;
  detail: HTMLElement;
}

type Text = [value: string, detail: string];

const MOST_UNMEASURED = 0.99;

export class Tiles {
  constructor(trans: TranslationBundle) {
    this._trans = trans;
    const names = [
      trans.__('Jobs now'),
      trans.__('Jobs today'),
      trans.__('Jobs this month'),
      trans.__('Idle GPU time of jobs')
    ];
    this._tiles = names.map(name => {
      const value = h('dd', { class: 'aiinfra-CostPage-number' });
      const detail = h('dd', { class: 'aiinfra-CostPage-quiet' });
      const node = h('div', { class: 'aiinfra-CostPage-tile' }, h('dt', {}, name), value, detail);
      return { node, value, detail };
    });
    this.node.append(...this._tiles.map(({ node }) => node));
  }

  readonly node = h('dl', { class: 'aiinfra-CostPage-tiles' });

  /** Draw what is spent now, of everything, and what was idle of what is shown. */
  update(now: CostSummary | null, answer: IAnswer | null): void {
    if (now !== this._now) {
      [this._now, this._told] = [now, performance.now()];
    }
    this._answer = answer;
    this.tick();
  }

  /** Go on counting what is spent, between two answers. */
  tick(): void {
    const texts = [...this._nowTexts(this._now), this._idleText(this._answer)];
    this._tiles.forEach(({ value, detail }, place) => {
      const [text = '', more = ''] = texts[place] ?? [];
      if (value.textContent !== text) {
        value.textContent = text;
      }
      if (detail.textContent !== more) {
        detail.textContent = more;
      }
    });
  }

  private _nowTexts(now: CostSummary | null): Text[] {
    const trans = this._trans;
    if (now === null) {
      return Array.from({ length: 3 }, () => ['…', '']);
    }
    const { hourly, today, month, pools, unpriced_jobs: unpriced } = now;
    const jobs = pools.reduce((sum, pool) => sum + pool.jobs, 0);
    const rate: Text =
      jobs === 0
        ? [trans.__('none'), trans.__('no job holds anything')]
        : [
            hourlyText(hourly, trans) ?? trans.__('n/a'),
            unpriced > 0
              ? trans._n(
                  '%1 job, %2 of unknown price',
                  '%1 jobs, %2 of unknown price',
                  jobs,
                  unpriced
                )
              : trans._n('%1 job', '%1 jobs', jobs)
          ];
    const isNarrowed = Object.keys(this._answer?.view.narrowed ?? {}).length > 0;
    const beside = isNarrowed ? trans.__('all, not only what is shown') : '';
    const spent = (amounts: readonly Amount[]): Text => {
      const text = costText(this._grown(amounts, hourly));
      return text === null
        ? [trans.__('n/a'), trans.__('nothing that has a price')]
        : [text, beside];
    };
    return [rate, spent(today), spent(month)];
  }

  /** What is unknown stays so, also while something runs. */
  private _grown(amounts: readonly Amount[], hourly: readonly Amount[]): Amount[] {
    const known = new Set(amounts.map(({ currency }) => currency));
    const rates = hourly.filter(({ currency }) => known.has(currency));
    return grown(amounts, rates, (performance.now() - this._told) / 1000);
  }

  /** Of the time that is shown. */
  private _idleText(answer: IAnswer | null): Text {
    const trans = this._trans;
    if (answer === null) {
      return ['…', ''];
    }
    const { share, known, cost } = idleOf(answer.bill);
    if (share === null) {
      return [
        trans.__('n/a'),
        known === null ? trans.__('no GPU was used in this time') : trans.__('nobody read the GPUs')
      ];
    }
    const said = [
      costText(cost) ?? '',
      known !== null && known < MOST_UNMEASURED
        ? trans.__('measured for %1', shareText(known, trans))
        : trans.__('in the time shown')
    ];
    return [shareText(share, trans), said.filter(Boolean).join(', ')];
  }

  private _trans: TranslationBundle;
  private _tiles: ITile[];
  private _now: CostSummary | null = null;
  private _told = 0;
  private _answer: IAnswer | null = null;
}
