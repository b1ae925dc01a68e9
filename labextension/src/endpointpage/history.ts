/** What has happened to an endpoint. */

import type { TranslationBundle } from '@jupyterlab/translation';

import { Redrawn } from '../costpage/redraw';
import { timeText } from '../jobpage/timeline';
import { h } from '../widgets/dom';
import type { EndpointPageModel } from './model';
import { quiet, table } from './parts';
import { eventText } from './words';

export class History {
  constructor(trans: TranslationBundle) {
    this._trans = trans;
  }

  readonly node = h('div');

  update({ events, eventsProblem }: EndpointPageModel): void {
    const trans = this._trans;
    const problem = eventsProblem && [eventsProblem.message, eventsProblem.hint].filter(Boolean);
    this._redrawn.draw(JSON.stringify([events, problem]), () => {
      const said = problem === null ? [] : [h('p', { role: 'alert' }, problem.join('. '))];
      if (events === null) {
        return problem === null ? [quiet(trans.__('loading…'))] : said;
      }
      const rows = [...events]
        .reverse()
        .map(event => [timeText(event.at), eventText(event, trans), event.reason]);
      const heads = [trans.__('Time'), trans.__('What'), trans.__('Why')];
      return [
        ...said,
        table(
          trans.__('History'),
          heads.map(text => ({ text })),
          rows
        )
      ];
    });
  }

  private _trans: TranslationBundle;
  private _redrawn = new Redrawn(this.node);
}
