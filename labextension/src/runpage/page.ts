/** The page of one run, in JupyterLab's main area. */

import type { IEditorLanguageRegistry } from '@jupyterlab/codemirror';
import type { IRenderMimeRegistry } from '@jupyterlab/rendermime';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { Message } from '@lumino/messaging';
import { Panel, Widget } from '@lumino/widgets';

import { fill, note } from '../jobpage/sections';
import { isRunActive, runStateText } from '../models/runwords';
import type { IAiInfraApi, IAiInfraStream, IBudgetsModel, IGpusModel, IRunsModel } from '../tokens';
import { h } from '../widgets/dom';
import { TabBar } from '../widgets/tabs';
import { compareNode } from './compare';
import { RunHead } from './head';
import { JOB_PARTS, JobParts, type JobPart } from './jobparts';
import { RunPageModel } from './model';
import { NotebookView } from './notebookview';
import { attemptsNode, findingsText, parametersNode, resultsNode } from './sections';

const SECTIONS = [
  'notebook',
  ...JOB_PARTS,
  'parameters',
  'results',
  'attempts',
  'compare'
] as const;
export type RunSection = (typeof SECTIONS)[number];

const TICK_MILLISECONDS = 1_000;

export interface IRunPageOptions {
  api: IAiInfraApi;
  stream: IAiInfraStream;
  runs: IRunsModel;
  gpus: IGpusModel;
  budgets?: IBudgetsModel | undefined;
  rendermime: IRenderMimeRegistry;
  languages: IEditorLanguageRegistry | null;
  trans: TranslationBundle;
  id: string;
  follow: boolean;
  wrap: boolean;
  openJob: (id: string) => void;
  openSchedule: (id: string) => void;
  openGpus: (job: string) => void;
  openCost: (job: string) => void;
}

let pages = 0;

export class RunPage extends Panel {
  constructor(options: IRunPageOptions) {
    super();
    this._options = options;
    const { api, stream, runs, trans, id, rendermime, languages, follow } = options;
    const name = `aiinfra-run-${++pages}`;
    this.runId = id;
    this.model = new RunPageModel({ api, stream, runs, id });
    // The looks of the page of a job are these, too.
    ['aiinfra-job', 'aiinfra-JobPage', 'aiinfra-RunPage'].forEach(each => this.addClass(each));
    this._head = new RunHead({
      trans,
      onSchedule: options.openSchedule,
      onFailed: () => this.showFailed()
    });
    this.notebook = new NotebookView({ rendermime, languages, trans, follow });
    this._parts = new JobParts({
      ...options,
      id: name,
      onGpus: options.openGpus,
      onCost: options.openCost
    });
    this._side.node.append(this._parts.node, this._other);
    this._side.addClass('aiinfra-RunPage-side');
    this._panel.addClass('aiinfra-JobPage-panel');
    this._panel.id = `${name}-panel`;
    this._panel.node.setAttribute('role', 'tabpanel');
    this._tabs = new TabBar({
      id: name,
      panel: this._panel.node,
      onSelect: key => this.open(key as RunSection),
      label: trans.__('Parts of the run')
    });
    this._tabs.node.classList.add('aiinfra-JobPage-sections');
    this._build();
    this.node.addEventListener('keydown', this._onKey);
    this.notebook.followingChanged.connect(() => this._drawBar());
    this.model.changed.connect(() => this._onChange());
    this._timer = setInterval(() => this._tick(), TICK_MILLISECONDS);
    this.open('notebook');
    this._onChange();
  }

  readonly runId: string;
  readonly model: RunPageModel;
  readonly notebook: NotebookView;

  get section(): RunSection {
    return this._section;
  }

  /** Show one part. What costs a request is asked for each time it is opened. */
  open(section: RunSection): void {
    this._section = section;
    const part = JOB_PARTS.find(each => each === section) ?? null;
    const isNotebook = section === 'notebook';
    this.notebook.setHidden(!isNotebook);
    this._side.setHidden(isNotebook);
    this._bar.hidden = !isNotebook;
    this._other.hidden = part !== null;
    this._openPart();
    this._drawTabs();
    this._drawOther(true);
  }

  /** Bring the cell that failed into sight. */
  showFailed(): void {
    this.open('notebook');
    this.notebook.reveal(this.notebook.failed);
  }

  override dispose(): void {
    if (!this.isDisposed) {
      clearInterval(this._timer);
      this._parts.dispose();
      this.model.dispose();
      super.dispose();
    }
  }

  protected override onAfterShow(message: Message): void {
    super.onAfterShow(message);
    this._watch(true);
  }

  protected override onAfterAttach(message: Message): void {
    super.onAfterAttach(message);
    this._watch(this.isVisible);
  }

  protected override onBeforeHide(message: Message): void {
    super.onBeforeHide(message);
    this._watch(false);
  }

  protected override onBeforeDetach(message: Message): void {
    super.onBeforeDetach(message);
    this._watch(false);
  }

  protected override onResize(message: Widget.ResizeMessage): void {
    super.onResize(message);
    this._parts.resize();
  }

  protected override onActivateRequest(_message: Message): void {
    (this._section === 'notebook' ? this.notebook.node : this._other).focus({
      preventScroll: true
    });
  }

  private _build(): void {
    const top = new Widget();
    top.addClass('aiinfra-RunPage-top');
    this._follow.addEventListener('click', () => this.notebook.follow(!this.notebook.following));
    this._bar.append(this._findings, this._follow);
    top.node.append(this._notice, this._head.node, this._tabs.node, this._bar);
    this._empty.addClass('aiinfra-RunPage-empty');
    this._panel.addWidget(this._empty);
    this._panel.addWidget(this.notebook);
    this._panel.addWidget(this._side);
    this.addWidget(top);
    this.addWidget(this._panel);
  }

  private _watch(visible: boolean): void {
    this.model.setSeen(visible);
    this._seen = visible;
    this._openPart();
  }

  /** What is out of sight watches nothing. */
  private _openPart(): void {
    const part = JOB_PARTS.find(each => each === this._section) ?? null;
    this._parts.open(this._seen ? part : null);
    this._parts.node.hidden = part === null;
  }

  private _onChange(): void {
    const { run, notebook, job } = this.model;
    const { trans } = this._options;
    this._drawState(run?.state ?? null);
    this._parts.show(job);
    const content = notebook.notebook;
    const { progress } = notebook;
    this.notebook.draw({ notebook: content, cell: progress?.live ? progress.cell : null });
    this._drawEmpty();
    this._head.node.hidden = run === null;
    if (run !== null) {
      const at = isRunActive(run) ? -1 : this.notebook.failed;
      this._head.update({ run, progress, cost: job?.cost ?? null, failed: at < 0 ? null : at + 1 });
      const name = run.schedule_name || run.schedule;
      this.title.label = trans.__('%1 (%2)', name, runStateText(run.state, trans));
      this._showFailedOnce(run.state, at);
    } else {
      this.title.label = this.runId;
    }
    this.title.caption = trans.__('Run %1', this.runId);
    this._drawNotice();
    this._drawBar();
    this._drawTabs();
    this._drawOther(false);
  }

  /** Who opens a run that has failed, or sees it fail, has the cell in view. */
  private _showFailedOnce(state: string, at: number): void {
    if (state === 'failed' && at >= 0 && this._shownFailed !== at && this.isVisible) {
      this._shownFailed = at;
      if (this._section === 'notebook') {
        this.notebook.reveal(at);
      }
    }
  }

  /** The state is a class of the whole, which gives the head its colour. */
  private _drawState(state: string | null): void {
    if (state !== this._state) {
      this.removeClass(`aiinfra-${this._state}`);
      if (state !== null) {
        this.addClass(`aiinfra-${state}`);
      }
      this._state = state;
    }
  }

  private _drawEmpty(): void {
    const { trans } = this._options;
    const { run, notebook, gone } = this.model;
    const shows = this._section === 'notebook' && notebook.notebook === null;
    this._empty.setHidden(!shows);
    if (shows) {
      const text =
        run === null && !gone
          ? trans.__('loading…')
          : (notebook.problem?.message ??
            (run !== null && isRunActive(run)
              ? trans.__('Waiting for the notebook…')
              : trans.__('There is no notebook of this run.')));
      if (this._empty.node.textContent !== text) {
        this._empty.node.replaceChildren(note(text));
      }
    }
    this.notebook.setHidden(this._section !== 'notebook' || notebook.notebook === null);
  }

  private _drawNotice(): void {
    const { trans } = this._options;
    const { gone, away, problem, run } = this.model;
    let text = '';
    if (gone) {
      text = run
        ? trans.__('This run has been removed; showing what was known.')
        : trans.__('There is no run %1 in the record: it has been removed.', this.runId);
    } else if (away) {
      text = trans.__('Server not reachable; showing what was known.');
    } else if (problem && this.model.notebook.notebook !== null) {
      text = [problem.message, problem.hint].filter(Boolean).join('. ');
    } else if (problem && run === null) {
      text = [problem.message, problem.hint].filter(Boolean).join('. ');
    }
    if (this._notice.textContent !== text) {
      this._notice.textContent = text;
    }
    this._notice.hidden = text === '';
  }

  private _drawBar(): void {
    const { trans } = this._options;
    const { run, notebook } = this.model;
    const isLive = run !== null && isRunActive(run);
    this._follow.hidden = !isLive;
    this._follow.textContent = trans.__('Follow');
    this._follow.title = trans.__('Keep the cell that runs in sight');
    this._follow.setAttribute('aria-pressed', String(this.notebook.following));
    const found = findingsText(notebook.progress?.findings ?? [], trans);
    this._findings.textContent = found;
    this._bar.hidden = this._section !== 'notebook' || (!isLive && found === '');
  }

  private _drawTabs(): void {
    const { trans } = this._options;
    const labels: Record<RunSection, string> = {
      notebook: trans.__('Notebook'),
      log: trans.__('Log'),
      gpus: this._parts.hasGpus ? trans.__('GPUs') : trans.__('Nodes'),
      cost: trans.__('Cost'),
      parameters: trans.__('Parameters'),
      results: trans.__('Results'),
      attempts: trans.__('Attempts'),
      compare: trans.__('Compare')
    };
    const tabs = SECTIONS.map(key => ({ key, label: labels[key], bad: false }));
    this._tabs.update(tabs, this._section);
    this._other.setAttribute('aria-label', labels[this._section]);
    this._parts.node.setAttribute('aria-label', labels[this._section]);
  }

  private _drawOther(opened: boolean): void {
    const { api, trans, openJob } = this._options;
    const { run, notebook } = this.model;
    const section = this._section;
    if (section === 'notebook' || JOB_PARTS.includes(section as JobPart)) {
      this._drawEmpty();
      return;
    }
    if (run === null) {
      this._other.replaceChildren(note(trans.__('loading…')));
      return;
    }
    const findings = notebook.progress?.findings ?? [];
    const key = JSON.stringify([section, run.state, run.jobs, run.job, run.outputs, findings]);
    if (!opened && key === this._drawn) {
      return; // what is selected in it stays
    }
    this._drawn = key;
    const place = h('div', { class: 'aiinfra-JobPage-section' });
    this._other.replaceChildren(place);
    switch (section) {
      case 'parameters':
        void fill(place, () => parametersNode(run, api, trans), trans);
        break;
      case 'compare':
        void fill(place, () => compareNode(this.model, trans), trans);
        break;
      case 'results':
        place.append(resultsNode(run, { api, findings, trans }));
        break;
      case 'attempts':
        place.append(attemptsNode(run, { trans, openJob }));
        break;
    }
  }

  private _tick(): void {
    const { away, gone, run } = this.model;
    if (this.isVisible && !away && !gone && run !== null && isRunActive(run)) {
      const now = Date.now() / 1000;
      this._head.tick(now);
      this.notebook.tick(Date.now());
      this._parts.tick();
    }
  }

  private _onKey = (event: KeyboardEvent): void => {
    const find = (event.ctrlKey || event.metaKey) && event.key.toLowerCase() === 'f';
    if (find && this._section === 'log' && !event.shiftKey && !event.altKey) {
      event.preventDefault();
      event.stopPropagation();
      this._parts.search();
    }
  };

  private _options: IRunPageOptions;
  private _section: RunSection = 'notebook';
  private _state: string | null = null;
  private _seen = false;
  private _drawn: string | null = null;
  private _shownFailed = -1;
  private _head: RunHead;
  private _parts: JobParts;
  private _tabs: TabBar;
  private _panel = new Panel();
  private _side = new Widget();
  private _empty = new Widget();
  private _notice = h('div', { class: 'aiinfra-JobPage-notice', role: 'status', hidden: '' });
  private _bar = h('div', { class: 'aiinfra-RunPage-bar' });
  private _findings = h('span', { class: 'aiinfra-quiet' });
  private _follow = h('button', { type: 'button', class: 'aiinfra-JobPage-button' });
  private _other = h('div', { class: 'aiinfra-JobPage-other', tabindex: '0', role: 'region' });
  private _timer: ReturnType<typeof setInterval>;
}
