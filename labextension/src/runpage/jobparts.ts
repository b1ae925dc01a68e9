/** What the page of a run shows of the job of its present attempt: log, GPUs and cost. */

import type { TranslationBundle } from '@jupyterlab/translation';

import { CostSection } from '../jobpage/costsection';
import { GpuSection } from '../jobpage/gpusection';
import { LogSection } from '../jobpage/logsection';
import type { JobPageModel } from '../jobpage/pagemodel';
import { note } from '../jobpage/sections';
import type { IAiInfraApi, IBudgetsModel, IGpusModel } from '../tokens';
import { h } from '../widgets/dom';

export const JOB_PARTS = ['log', 'gpus', 'cost'] as const;
export type JobPart = (typeof JOB_PARTS)[number];

export interface IJobPartsOptions {
  id: string;
  api: IAiInfraApi;
  gpus: IGpusModel;
  budgets?: IBudgetsModel | undefined;
  trans: TranslationBundle;
  follow: boolean;
  wrap: boolean;
  onGpus: (job: string) => void;
  onCost: (job: string) => void;
}

/** One job at a time; another attempt is another job. Only the part in sight is watched. */
export class JobParts {
  constructor(options: IJobPartsOptions) {
    this._options = options;
    this._draw();
  }

  readonly node = h('div', { class: 'aiinfra-RunPage-job', tabindex: '0', role: 'region' });

  /** Whether the job has or had GPUs, as far as is known. */
  get hasGpus(): boolean {
    return this._made?.gpus.hasGpus ?? false;
  }

  /** Show the parts of this job, or that there is none yet. */
  show(model: JobPageModel | null): void {
    if (model === this._model) {
      this._made?.log.update();
      this._made?.gpus.update(this._model?.detail ?? null);
      this._made?.cost.update();
      return;
    }
    this._drop();
    this._model = model;
    this._draw();
    this.open(this._part);
  }

  /** Show one part; `null` for none of them. */
  open(part: JobPart | null): void {
    this._part = part;
    this.node.hidden = part === null;
    if (this._made) {
      const { log, gpus, cost } = this._made;
      log.node.hidden = part !== 'log';
      this._use.hidden = part !== 'gpus';
      this._spent.hidden = part !== 'cost';
      log.visible = part === 'log';
      gpus.visible = part === 'gpus';
      cost.visible = part === 'cost';
    }
  }

  tick(): void {
    this._made?.cost.tick();
  }

  resize(): void {
    this._made?.log.resize();
  }

  search(): void {
    this._made?.log.search();
  }

  dispose(): void {
    this._drop();
  }

  private _draw(): void {
    const { id, api, gpus, budgets, trans, follow, wrap, onGpus, onCost } = this._options;
    const model = this._model;
    if (model === null) {
      const text = trans.__('Nothing has been launched yet.');
      this.node.replaceChildren(h('div', { class: 'aiinfra-JobPage-section' }, note(text)));
      return;
    }
    const parts = {
      log: new LogSection({ id: `${id}-${model.id}`, model, trans, follow, wrap }),
      gpus: new GpuSection({
        ...{ id: model.id, api, gpus, trans },
        onOpen: () => onGpus(model.id),
        onKnown: () => undefined
      }),
      cost: new CostSection({
        ...{ model, budgets, trans },
        onBudget: null,
        onCost: () => onCost(model.id)
      })
    };
    this._made = parts;
    this._use.replaceChildren(parts.gpus.node);
    this._spent.replaceChildren(parts.cost.node);
    this.node.replaceChildren(parts.log.node, this._use, this._spent);
    parts.gpus.update(model.detail);
    parts.cost.update();
  }

  private _drop(): void {
    if (this._made) {
      const { log, gpus, cost } = this._made;
      [log, gpus, cost].forEach(each => (each.visible = false));
      log.dispose();
      gpus.dispose();
      cost.dispose();
      this._made = null;
    }
  }

  private _options: IJobPartsOptions;
  private _model: JobPageModel | null = null;
  private _made: { log: LogSection; gpus: GpuSection; cost: CostSection } | null = null;
  private _part: JobPart | null = null;
  private _use = h('div', { class: 'aiinfra-JobPage-use' });
  private _spent = h('div', { class: 'aiinfra-JobPage-spent' });
}
