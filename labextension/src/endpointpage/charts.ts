/** How fast the versions of an endpoint answer, how often, and how often they fail: live. */

import type { TranslationBundle } from '@jupyterlab/translation';

import type { EndpointItem } from '../api/types';
import { KEPT_SECONDS, type IPoint } from '../models/endpointrates';
import type { IEndpointsModel } from '../tokens';
import { h } from '../widgets/dom';
import { LineChart, type IChartOptions } from './chart';
import { markText, millisecondsText, percentsOf, rateText } from './words';

const LEAST_SECONDS = 60;

type Series = 'perSecond' | 'p50' | 'p95' | 'errorsPerSecond';

type Texts = Pick<IChartOptions, 'textOf' | 'markOf'>;

export class Charts {
  constructor(options: { endpoints: IEndpointsModel; trans: TranslationBundle }) {
    const { endpoints, trans } = options;
    this._endpoints = endpoints;
    const onPoint = (at: number | null): void => this._charts.forEach(([, each]) => each.mark(at));
    const rate = (value: number | null): string => rateText(value, trans);
    const time = (value: number | null): string => millisecondsText(value, trans);
    const ofRate: Texts = { textOf: rate, markOf: markText };
    const ofTime: Texts = { textOf: time, markOf: time };
    const all: [Series, string, Texts][] = [
      ['perSecond', trans.__('Requests a second'), ofRate],
      ['p95', trans.__('Latency, p95'), ofTime],
      ['p50', trans.__('Latency, median'), ofTime],
      ['errorsPerSecond', trans.__('Errors a second'), ofRate]
    ];
    this._charts = all.map(([series, title, texts]) => [
      series,
      new LineChart({ title, ...texts, trans, onPoint })
    ]);
    this.node.append(...this._charts.map(([, chart]) => chart.node));
  }

  readonly node = h('div', { class: 'aiinfra-EndpointPage-charts' });

  update(item: EndpointItem): void {
    const end = Date.now() / 1000;
    const percents = percentsOf(item);
    const found = item.versions
      .map(({ number }) => ({ number, points: this._endpoints.rates.points(item.id, number) }))
      .filter(({ number, points }) => percents.has(number) || points.some(isSomething));
    // Not more of the past than is known, or there would be little to see of it.
    const first = Math.min(end, ...found.flatMap(({ points }) => points[0]?.at ?? []));
    const start = Math.max(end - KEPT_SECONDS, Math.min(first, end - LEAST_SECONDS));
    for (const [series, chart] of this._charts) {
      const lines = found.map(({ number, points }) => ({
        number,
        points: points.map(point => ({ at: point.at, value: point[series] }))
      }));
      chart.update(lines, start, end);
    }
  }

  dispose(): void {
    this._charts.forEach(([, chart]) => chart.dispose());
  }

  private _endpoints: IEndpointsModel;
  private _charts: [Series, LineChart][];
}

function isSomething({ perSecond }: IPoint): boolean {
  return perSecond !== null && perSecond > 0;
}
