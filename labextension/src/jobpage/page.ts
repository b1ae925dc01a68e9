/** The page of one job, in JupyterLab's main area. */

import type { TranslationBundle } from '@jupyterlab/translation';
import type { Message } from '@lumino/messaging';
import { Widget } from '@lumino/widgets';

import type { INoticeActions } from '../cost/notice';
import type { IAiInfraApi, IAiInfraStream, IBudgetsModel, IGpusModel } from '../tokens';
import { h } from '../widgets/dom';
import { HeaderView } from '../widgets/header';
import { manifestNode } from '../widgets/manifest';
import { TabBar, type ITab } from '../widgets/tabs';
import { silenceText } from '../jobstate';
import { CostSection } from './costsection';
import { GpuSection } from './gpusection';
import { LogSection } from './logsection';
import { JobPageModel } from './pagemodel';
import { ranksNode } from './ranks';
import { codeNode, filesNode, fill, note, planNode } from './sections';
import { timelineNode } from './timeline';

const SECTIONS = [
  'log',
  'ranks',
  'gpus',
  'cost',
  'sent',
  'plan',
  'timeline',
  'files',
  'code'
] as const;
export type Section = (typeof SECTIONS)[number];

export interface IJobPageOptions {
  api: IAiInfraApi;
  stream: IAiInfraStream;
  gpus: IGpusModel;
  budgets?: IBudgetsModel | undefined;
  /** What can be done about what a budget says; without them the commands to type are named. */
  actions?: INoticeActions | undefined;
  /** Set a budget for the job. */
  onBudget?: (() => void) | undefined;
  /** Show the job in the page of all cost. */
  onCost?: (() => void) | undefined;
  /** Show the GPUs of the job in the page of all GPUs. */
  onGpus?: (() => void) | undefined;
  trans: TranslationBundle;
  id: string;
  follow: boolean;
  wrap: boolean;
  rank?: number | undefined;
}

let pages = 0;

/** The head of the job, as the cell's widget has it, and below it one section at a time. */
export class JobPage extends Widget {
  constructor(options: IJobPageOptions) {
    super();
    const { api, stream, gpus, trans, id } = options;
    const name = `aiinfra-page-${++pages}`;
    this.node.classList.add('aiinfra-job', 'aiinfra-JobPage');
    this._trans = trans;
    this._header = new HeaderView({ trans, actions: options.actions });
    this.jobId = id;
    this.model = new JobPageModel({ api, stream, id });
    this._panel = h('div', {
      class: 'aiinfra-JobPage-panel',
      role: 'tabpanel',
      id: `${name}-panel`
    });
    this._tabs = new TabBar({
      id: name,
      panel: this._panel,
      onSelect: key => this.open(key as Section),
      label: trans.__('Parts of the job')
    });
    this._tabs.node.classList.add('aiinfra-JobPage-sections');
    const { model } = this;
    const { follow, wrap, rank } = options;
    this._log = new LogSection({ id: name, model, trans, follow, wrap, rank });
    this._gpus = new GpuSection({
      ...{ id, api, gpus, trans },
      onOpen: options.onGpus,
      onKnown: () => this._drawTabs()
    });
    const { budgets, onBudget = null, onCost = null } = options;
    this._cost = new CostSection({ model, budgets, trans, onBudget, onCost });
    this._use.append(this._gpus.node);
    this._spent.append(this._cost.node);
    this._panel.append(this._log.node, this._use, this._spent, this._other);
    this.node.append(this._notice, this._header.node, this._tabs.node, this._panel);
    this.node.addEventListener('keydown', this._onKey);
    this.model.changed.connect(() => this._onChange());
    this._timer = setInterval(() => this._tick(), 1000);
    this.open('log');
    this._onChange();
  }

  readonly jobId: string;
  readonly model: JobPageModel;

  /** Show one section. What costs a request is asked for each time it is opened. */
  open(section: Section): void {
    this._section = section;
    this._log.node.hidden = section !== 'log';
    this._use.hidden = section !== 'gpus';
    this._spent.hidden = section !== 'cost';
    this._other.hidden = section === 'log' || section === 'gpus' || section === 'cost';
    this._watch(this.isVisible);
    this._drawTabs();
    this._drawSection(true);
  }

  override dispose(): void {
    if (this.isDisposed) {
      return;
    }
    clearInterval(this._timer);
    this._log.dispose();
    this._gpus.dispose();
    this._cost.dispose();
    this.model.dispose();
    super.dispose();
  }

  protected override onAfterShow(_message: Message): void {
    this._watch(true);
  }

  protected override onAfterAttach(_message: Message): void {
    this._watch(this.isVisible);
  }

  protected override onBeforeHide(_message: Message): void {
    this._watch(false);
  }

  protected override onBeforeDetach(_message: Message): void {
    this._watch(false);
  }

  /** A page that is out of sight watches nothing but the job: it is told of the rest again later. */
  private _watch(isVisible: boolean): void {
    this._log.visible = isVisible && this._section === 'log';
    this._gpus.visible = isVisible && this._section === 'gpus';
    this._cost.visible = isVisible && this._section === 'cost';
    this.model.setSeen(isVisible);
  }

  protected override onResize(_message: Widget.ResizeMessage): void {
    this._log.resize();
  }

  protected override onActivateRequest(_message: Message): void {
    if (this._section === 'log') {
      this._log.focus();
    } else {
      const places: Partial<Record<Section, HTMLElement>> = { gpus: this._use, cost: this._spent };
      (places[this._section] ?? this._other).focus();
    }
  }

  private _onChange(): void {
    const { header } = this.model;
    this._drawState(header?.state ?? null);
    this._header.node.hidden = header === null;
    if (header && header !== this._drawn) {
      this._drawn = header;
      this._header.update(header, performance.now());
    }
    this._header.setCost(this.model.cost);
    const trans = this._trans;
    const name = header?.name ?? this.jobId;
    this.title.label = header ? trans.__('%1 (%2)', name, header.state) : name;
    this.title.caption = trans.__('Job %1', this.jobId);
    this._drawNotice();
    this._gpus.update(this.model.detail);
    this._cost.update();
    this._drawTabs();
    this._log.update();
    this._drawSection(false);
  }

  /** The state is a class of the whole, which gives the head its colour. */
  private _drawState(state: string | null): void {
    if (state !== this._state) {
      this.node.classList.remove(`aiinfra-${this._state}`);
      this.node.classList.toggle(`aiinfra-${state}`, state !== null);
      this._state = state;
    }
  }

  private _drawNotice(): void {
    const trans = this._trans;
    const { gone, away, problem, detail } = this.model;
    const silence = detail?.silence ?? null;
    let text = '';
    if (gone) {
      text = detail
        ? trans.__('This job has been removed; showing what was known.')
        : trans.__('There is no job %1 in the record: it has been removed.', this.jobId);
    } else if (away) {
      text = trans.__('Server not reachable; showing what was known.');
    } else if (problem) {
      text = [problem.message, problem.hint].filter(Boolean).join('. ');
    } else if (silence) {
      text = silenceText(silence, trans);
    }
    if (this._notice.textContent !== text) {
      this._notice.textContent = text;
    }
    this._notice.hidden = text === '';
  }

  private _drawTabs(): void {
    const trans = this._trans;
    const labels: Record<Section, string> = {
      log: trans.__('Log'),
      ranks: trans.__('Ranks'),
      // What the nodes do is shown in any case.
      gpus: this._gpus.hasGpus ? trans.__('GPUs') : trans.__('Nodes'),
      cost: trans.__('Cost'),
      sent: trans.__('Sent'),
      plan: trans.__('Plan'),
      timeline: trans.__('Timeline'),
      files: trans.__('Files'),
      code: trans.__('Code')
    };
    const tabs: ITab[] = SECTIONS.map(key => ({ key, label: labels[key], bad: false }));
    this._tabs.update(tabs, this._section);
    this._other.setAttribute('aria-label', labels[this._section]);
    this._use.setAttribute('aria-label', labels.gpus);
    this._spent.setAttribute('aria-label', labels.cost);
  }

  /** Draw the section beside the log: those made of the job itself also when that has changed. */
  private _drawSection(opened: boolean): void {
    const { model, _trans: trans, _other: other } = this;
    const { detail } = model;
    const section = this._section;
    if (section === 'log' || section === 'gpus' || section === 'cost') {
      return; // they draw themselves
    }
    if (!opened && (section === 'plan' || section === 'files')) {
      return;
    }
    if (section === 'plan' || section === 'files') {
      // An answer that comes after another section was opened must find a place of its own.
      const place = h('div', { class: 'aiinfra-JobPage-section' });
      other.replaceChildren(place);
      void fill(place, () => (section === 'plan' ? planNode : filesNode)(model, trans), trans);
      return;
    }
    if (detail === null || model.manifest === null) {
      other.replaceChildren(note(trans.__('loading…')));
      return;
    }
    if (!opened && section !== 'timeline' && section !== 'ranks') {
      if (this._drawnWith === section) {
        return; // it never changes, and what is selected in it stays
      }
    }
    this._drawnWith = section;
    const nodes = {
      ranks: () => ranksNode(model.ranks, trans, model.header?.nodes),
      sent: () =>
        model.manifest?.count
          ? manifestNode(model.manifest)
          : note(trans.__('Nothing was sent with this job but its code.')),
      timeline: () => timelineNode(detail, Date.now() / 1000, trans),
      code: () => codeNode(detail, trans)
    };
    other.replaceChildren(h('div', { class: 'aiinfra-JobPage-section' }, nodes[section]()));
  }

  private _tick(): void {
    if (!this.isVisible || this.model.away || this.model.gone) {
      return; // nobody knows whether it still runs
    }
    this._header.tick(performance.now());
    this._cost.tick();
  }

  private _onKey = (event: KeyboardEvent): void => {
    const find = (event.ctrlKey || event.metaKey) && event.key.toLowerCase() === 'f';
    if (find && !event.shiftKey && !event.altKey) {
      event.preventDefault();
      event.stopPropagation();
      if (this._section !== 'log') {
        this.open('log');
      }
      this._log.search();
    }
  };

  private _trans: TranslationBundle;
  private _section: Section = 'log';
  private _drawnWith: Section | null = null;
  private _state: string | null = null;
  private _drawn: unknown = null;
  private _header: HeaderView;
  private _notice = h('div', { class: 'aiinfra-JobPage-notice', role: 'status' });
  private _tabs: TabBar;
  private _panel: HTMLElement;
  private _other = h('div', { class: 'aiinfra-JobPage-other', tabindex: '0', role: 'region' });
  private _log: LogSection;
  private _gpus: GpuSection;
  private _cost: CostSection;
  private _spent = h('div', { class: 'aiinfra-JobPage-spent', tabindex: '0', role: 'region' });
  private _use = h('div', { class: 'aiinfra-JobPage-use', tabindex: '0', role: 'region' });
  private _timer: ReturnType<typeof setInterval>;
}
