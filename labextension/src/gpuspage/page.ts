/** What all GPUs do and did, in JupyterLab's main area. */

import type { TranslationBundle } from '@jupyterlab/translation';
import type { Message } from '@lumino/messaging';
import { Widget } from '@lumino/widgets';

import { GpuStrips } from '../gpus/strip';
import type { Board } from '../gpus/wire';
import type { IAiInfraApi, IAiInfraModels, IAiInfraStream } from '../tokens';
import { h } from '../widgets/dom';
import { numberText, titleOf, topOf } from './axis';
import { Chart } from './chart';
import { coloursOf, type IColours } from './colours';
import { Controls } from './controls';
import { isEmpty, type ICurves, type INames } from './curves';
import { HeatMap } from './heatmap';
import { GpusPageModel } from './model';
import { LEFT, RIGHT } from './plot';
import { curveTables, processTable } from './tables';
import { Tiles } from './tiles';
import { momentText } from './time';
import { dragged, panned, SERIES, zoomed, type IWindow, type SeriesName } from './view';

/** From one drawing of what is live to the next at least; several pools tell at other moments. */
const PAUSE_MILLISECONDS = 500;
const PAN_SHARE = 0.2;
const ID_LENGTH = 8;

export interface IPageOptions {
  api: IAiInfraApi;
  stream: IAiInfraStream;
  models: IAiInfraModels;
  trans: TranslationBundle;
  openJob: (id: string) => void;
  attachPool: () => void;
}

export class GpusPage extends Widget {
  constructor(options: IPageOptions) {
    super();
    const { trans, models } = options;
    this._options = options;
    this.addClass('aiinfra-GpusPage');
    this._names = namesOf(models, trans);
    this.model = new GpusPageModel({ ...options, names: this._names });
    this._controls = new Controls({
      model: this.model,
      models,
      trans,
      onTable: isTable => this._showTable(isTable)
    });
    this._tiles = new Tiles(trans);
    const events = {
      onPoint: (at: number | null): void => this._point(at),
      onDrag: (from: number, to: number): void => this._zoomTo(dragged(from, to, nowSeconds())),
      onDoubleClick: (): void => this.model.show({ window: null })
    };
    this.charts = SERIES.map(series => new Chart(series, trans, events));
    this.heat = new HeatMap(trans, events);
    this._build();
    [...this.charts, this.heat].forEach(({ plot }) => (plot.onResize = () => this._onPlotResize()));
    this.model.changed.connect(() => this._schedule(PAUSE_MILLISECONDS));
    this.model.viewChanged.connect(() => this._schedule(0));
    document.addEventListener('visibilitychange', this._onVisibility);
    this._schedule(0);
  }

  readonly model: GpusPageModel;
  readonly charts: Chart[];
  readonly heat: HeatMap;

  /** How often the page was brought up to date. */
  get rendered(): number {
    return this._rendered;
  }

  override dispose(): void {
    if (this.isDisposed) {
      return;
    }
    document.removeEventListener('visibilitychange', this._onVisibility);
    clearTimeout(this._timer);
    cancelAnimationFrame(this._frame);
    this.charts.forEach(chart => chart.dispose());
    this.heat.dispose();
    this._strips.forEach(({ strips }) => strips.dispose());
    this.model.dispose();
    super.dispose();
  }

  protected override onAfterShow(_message: Message): void {
    this._follow();
  }

  protected override onAfterAttach(_message: Message): void {
    this._follow();
  }

  protected override onBeforeHide(_message: Message): void {
    this.model.active = false;
  }

  protected override onBeforeDetach(_message: Message): void {
    this.model.active = false;
  }

  protected override onActivateRequest(_message: Message): void {
    // Without a jump to where they are.
    this._plots.focus({ preventScroll: true });
  }

  private _build(): void {
    const { trans } = this._options;
    const plots = this._plots;
    plots.setAttribute(
      'aria-label',
      trans.__(
        'Charts. Arrow keys move in time, plus and minus zoom, 0 shows all, Shift and an arrow key mark a moment; “Show as table” has them in words.'
      )
    );
    plots.addEventListener('keydown', this._onKey);
    const charts = h('div', { class: 'aiinfra-GpusPage-charts' });
    charts.append(...this.charts.map(({ node }) => node));
    const choice = h('select', { 'aria-label': trans.__('What the rows show') });
    choice.append(...SERIES.map(series => h('option', { value: series }, titleOf(series, trans))));
    choice.addEventListener('change', () => this.model.show({ heat: choice.value as SeriesName }));
    this._heatChoice = choice;
    this._heatPart.append(
      h(
        'div',
        { class: 'aiinfra-GpusPage-chartHead' },
        h('span', { class: 'aiinfra-GpusPage-chartName' }, trans.__('Each GPU')),
        choice,
        this._scale,
        this._heatText
      ),
      this.heat.node
    );
    plots.append(this._empty, charts, this._heatPart, this._more);
    this._processes.append(this._processesHead, this._processesBody);
    this._processes.addEventListener('toggle', () => this._drawProcesses());
    const now = h('h2', { class: 'aiinfra-GpusPage-title' }, trans.__('Now'));
    this.node.append(
      this._controls.node,
      this._notice,
      h(
        'div',
        { class: 'aiinfra-GpusPage-body' },
        this._tiles.node,
        plots,
        this._tablePart,
        h('section', { 'aria-label': trans.__('Now') }, now, this._nowPart),
        this._processes
      )
    );
  }

  /** Watch while this is to be seen, and only then. */
  private _follow(): void {
    const isSeen = this.isVisible && !document.hidden;
    this.model.active = isSeen;
    if (isSeen) {
      this._schedule(0);
    }
  }

  private _onVisibility = (): void => this._follow();

  private _schedule(pause: number): void {
    if (this.isDisposed || !this.model.active) {
      return;
    }
    const wait = Math.max(0, this._renderedAt + pause - performance.now());
    if (wait === 0) {
      clearTimeout(this._timer);
      this._timer = undefined;
      this._frame ||= requestAnimationFrame(() => {
        this._frame = 0;
        this._render();
      });
    } else if (this._frame === 0) {
      this._timer ??= setTimeout(() => {
        this._timer = undefined;
        this._schedule(0);
      }, wait);
    }
  }

  private _render(): void {
    if (this.isDisposed || !this.model.active) {
      return;
    }
    this._rendered += 1;
    this._renderedAt = performance.now();
    const boards = this._boards();
    this._controls.update();
    this._drawNotice();
    this._tiles.update(boards);
    this._drawPlots(boards);
    this._drawNow();
    this._drawProcesses();
  }

  private _boards(): Board[] {
    return this.model.sources.flatMap(({ board }) => board ?? []);
  }

  private _drawNotice(): void {
    const { trans } = this._options;
    const { problems, away } = this.model;
    const said = problems.map(({ message, hint }) => [message, hint].filter(Boolean).join('. '));
    const text = away
      ? trans.__('Server not reachable; showing what was known.')
      : said.join(' · ');
    if (this._notice.textContent !== text) {
      this._notice.textContent = text;
    }
    this._notice.hidden = text === '';
  }

  /** Draw the charts, where they would be others than they are. */
  private _drawPlots(boards: readonly Board[]): void {
    const { model } = this;
    const curves = model.curves();
    const shown = model.shown();
    this._drawEmpty(curves, boards);
    const [first] = this.charts;
    const width = first?.plot.size[0] ?? 0;
    if (width > 0) {
      model.room = (width - LEFT - RIGHT) / 2;
    }
    if (this._isTable) {
      this._drawTable(curves, shown);
      return;
    }
    if (curves === null) {
      return;
    }
    const colours = coloursOf(this.node);
    const limits = model.limits();
    const key = JSON.stringify([shown, limits, width, model.view.heat]);
    const isSame = curves === this._curves && colours === this._colours;
    if (isSame && key === this._drawnKey) {
      return;
    }
    [this._curves, this._colours, this._drawnKey] = [curves, colours, key];
    this.charts.forEach(chart => chart.draw(curves, shown, limits, colours));
    this._drawHeat(curves, shown, colours);
    const { trans } = this._options;
    this._more.hidden = curves.hidden === 0;
    this._more.textContent = trans._n(
      '%1 more is not drawn: those that work most are.',
      '%1 more are not drawn: those that work most are.',
      curves.hidden
    );
  }

  private _drawHeat(curves: ICurves, shown: IWindow, colours: IColours): void {
    const { view } = this.model;
    this._heatPart.hidden = curves.rows.length === 0;
    if (this._heatChoice && this._heatChoice.value !== view.heat) {
      this._heatChoice.value = view.heat;
    }
    if (curves.rows.length > 0) {
      const limits = this.model.limits();
      const top = topOf(view.heat, curves, limits);
      this._scaleTop.textContent = numberText(view.heat, top, this._options.trans);
      this.heat.draw(curves, view.heat, shown, limits, colours);
    }
  }

  private _drawEmpty(curves: ICurves | null, boards: readonly Board[]): void {
    const { trans } = this._options;
    const { model } = this;
    const gpus = boards.reduce((sum, board) => sum + board.gpus.length, 0);
    let text = '';
    let isAttach = false;
    if (!model.arePoolsKnown && model.view.job === null) {
      text = trans.__('loading…');
    } else if (!model.hasPools && model.view.job === null) {
      text = trans.__('No pool is attached: there are no GPUs to look at yet.');
      isAttach = true;
    } else if (curves === null && !model.isKnown) {
      text = trans.__('Waiting for the first readings…');
    } else if (curves === null && model.isLoading) {
      text = trans.__('loading…');
    } else if (boards.length > 0 && gpus === 0 && (curves === null || isEmpty(curves))) {
      text =
        model.view.job === null
          ? trans.__('No GPU on these machines.')
          : trans.__('This job has no GPU now.');
    } else if (curves !== null && isEmpty(curves) && !model.isLoading) {
      text = trans.__(
        'Nothing was recorded in this time. GPUs are read while somebody looks, and while jobs run on their pool.'
      );
    }
    if (text !== this._emptyText) {
      this._emptyText = text;
      this._empty.replaceChildren(text, ...(isAttach ? [this._attachButton()] : []));
    }
    this._empty.hidden = text === '';
    this._plots.classList.toggle('aiinfra-mod-empty', text !== '');
    this._plots.setAttribute('aria-busy', String(model.isLoading));
  }

  private _attachButton(): HTMLElement {
    const { trans, attachPool } = this._options;
    const button = h('button', { type: 'button', class: 'aiinfra-GpusPage-toggle' });
    button.textContent = trans.__('Attach a Pool…');
    button.addEventListener('click', attachPool);
    return button;
  }

  private _showTable(isTable: boolean): void {
    this._isTable = isTable;
    this._plots.hidden = isTable;
    this._tablePart.hidden = !isTable;
    this._tableAt = -Infinity;
    this._curves = null;
    this._schedule(0);
  }

  /** In words, and no oftener than it can be read. */
  private _drawTable(curves: ICurves | null, shown: IWindow): void {
    const isRead = this._tablePart.contains(document.activeElement);
    const pause = isRead ? 30_000 : 5_000;
    if (curves === null || performance.now() - this._tableAt < pause) {
      return;
    }
    this._tableAt = performance.now();
    this._tablePart.replaceChildren(...curveTables(curves, shown, this._options.trans));
  }

  /** The GPUs as they are, below their pools where there are several. */
  private _drawNow(): void {
    const { sources } = this.model;
    const isSame =
      sources.length === this._strips.length &&
      sources.every(({ live }, place) => live === this._strips[place]?.live);
    if (!isSame) {
      this._strips.forEach(({ strips }) => strips.dispose());
      this._strips = sources.map(({ pool, live }) => {
        const node = h('div', {});
        const { trans, openJob, models } = this._options;
        const strips = new GpuStrips(node, {
          trans,
          heads: 'always',
          onJob: openJob,
          names: id => models.jobs.find(id)?.name
        });
        return { pool, live, node, strips };
      });
      this._nowPart.replaceChildren(
        ...this._strips.map(({ pool, node }) =>
          sources.length > 1
            ? h('div', {}, h('h3', { class: 'aiinfra-GpusPage-pool' }, pool), node)
            : node
        )
      );
    }
    for (const { live, strips } of this._strips) {
      if (live.board !== null) {
        strips.draw(live.board, live.trail);
      }
    }
  }

  private _drawProcesses(): void {
    const { trans, openJob } = this._options;
    const boards = this._boards();
    const key = boards.map(({ key: each, revision }) => `${each} ${revision}`).join();
    if (key === this._processesKey && this._processes.open === this._processesOpen) {
      return;
    }
    [this._processesKey, this._processesOpen] = [key, this._processes.open];
    const nameOf = (job: string): string => this._names.nameOf(job);
    const count = boards.reduce(
      (sum, { gpus }) => sum + gpus.reduce((each, gpu) => each + (gpu.processes?.length ?? 0), 0),
      0
    );
    this._processes.hidden = count === 0;
    this._processesHead.textContent = trans.__('Processes on GPUs (%1)', count);
    if (this._processes.open) {
      const made = processTable(boards, { trans, onJob: openJob, nameOf });
      this._processesBody.replaceChildren(...(made ? [made.node] : []));
    }
  }

  /** Mark a moment in all charts. Many pointer events in a frame are one mark. */
  private _point(at: number | null): void {
    this._at = at;
    this._pointing ||= requestAnimationFrame(() => {
      this._pointing = 0;
      this.charts.forEach(chart => chart.point(this._at));
      this.heat.plot.mark(this._at);
      const text =
        this.heat.textAt(this._at, nowSeconds()) ||
        (this._at === null ? '' : momentText(this._at, this._curves?.width ?? 1, nowSeconds()));
      if (this._heatText.textContent !== text) {
        this._heatText.textContent = text;
      }
    });
  }

  private _zoomTo(window: IWindow | null): void {
    if (window !== null) {
      this.model.show({ window });
    }
  }

  private _onKey = (event: KeyboardEvent): void => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target !== this._plots) {
      return;
    }
    const { model } = this;
    const shown = model.shown();
    const now = nowSeconds();
    const middle = this._at ?? (shown.start + shown.end) / 2;
    const side = event.key === 'ArrowLeft' ? -1 : event.key === 'ArrowRight' ? 1 : 0;
    if (side !== 0 && event.shiftKey) {
      const width = this._curves?.width ?? 1;
      // The first is the newest moment, or the oldest.
      const from = this._at ?? (side < 0 ? shown.end + width / 2 : shown.start - width / 2);
      this._point(Math.min(shown.end - width / 2, Math.max(shown.start, from + side * width)));
    } else if (side !== 0) {
      this._zoomTo(panned(shown, side * PAN_SHARE, now));
    } else if (event.key === '+' || event.key === '=') {
      this._zoomTo(zoomed(shown, 0.5, middle, now));
    } else if (event.key === '-') {
      this._zoomTo(zoomed(shown, 2, middle, now));
    } else if (event.key === '0' || event.key === 'Escape') {
      this._point(null);
      model.show({ window: null });
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  };

  private _onPlotResize(): void {
    this._drawnKey = '';
    this._schedule(0);
  }

  private _options: IPageOptions;
  private _names: INames;
  private _controls: Controls;
  private _tiles: Tiles;
  private _notice = h('div', { class: 'aiinfra-GpusPage-notice', role: 'status', hidden: '' });
  private _plots = h('div', { class: 'aiinfra-GpusPage-plots', tabindex: '0', role: 'group' });
  private _empty = h('div', { class: 'aiinfra-GpusPage-empty', role: 'status', hidden: '' });
  private _emptyText = '';
  private _heatPart = h('div', { class: 'aiinfra-GpusPage-heat', hidden: '' });
  private _scaleTop = h('span', {});
  private _scale = h(
    'span',
    { class: 'aiinfra-GpusPage-scale', 'aria-hidden': 'true' },
    h('span', {}, '0'),
    h('span', { class: 'aiinfra-GpusPage-colours' }),
    this._scaleTop
  );
  private _heatText = h('span', { class: 'aiinfra-GpusPage-legend' });
  private _heatChoice: HTMLSelectElement | null = null;
  private _more = h('div', { class: 'aiinfra-GpusPage-quiet', hidden: '' });
  private _tablePart = h('div', { class: 'aiinfra-GpusPage-tables', tabindex: '0', hidden: '' });
  private _nowPart = h('div', { class: 'aiinfra-GpusPage-now' });
  private _processes = h('details', { class: 'aiinfra-GpusPage-processes', hidden: '' });
  private _processesHead = h('summary');
  private _processesBody = h('div');
  private _processesKey = '';
  private _processesOpen = false;
  private _strips: {
    pool: string;
    live: GpusPageModel['sources'][number]['live'];
    node: HTMLElement;
    strips: GpuStrips;
  }[] = [];
  private _isTable = false;
  private _tableAt = -Infinity;
  private _curves: ICurves | null = null;
  private _colours: IColours | null = null;
  private _drawnKey = '';
  private _at: number | null = null;
  private _pointing = 0;
  private _rendered = 0;
  private _renderedAt = -Infinity;
  private _timer: ReturnType<typeof setTimeout> | undefined;
  private _frame = 0;
}

function namesOf({ jobs }: IAiInfraModels, trans: TranslationBundle): INames {
  return {
    userOf: job => jobs.find(job)?.user ?? null,
    nameOf: job => jobs.find(job)?.name || job.slice(0, ID_LENGTH),
    rank: rank => trans.__('rank %1', rank)
  };
}

function nowSeconds(): number {
  return Date.now() / 1000;
}
