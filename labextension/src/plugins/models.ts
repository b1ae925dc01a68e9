import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';

// Others ask for this token as they start, and they are small.
// eslint-disable-next-line jupyter/prefer-lazy-imports
import { GpusModel } from '../gpus/live';
import { BudgetsModel } from '../models/budgets';
// eslint-disable-next-line jupyter/prefer-lazy-imports
import { JobsModel } from '../models/jobs';
import { PoolsModel } from '../models/pools';
// eslint-disable-next-line jupyter/prefer-lazy-imports
import { RunsModel } from '../models/runs';
import { SchedulesModel } from '../models/schedules';
import { JobSelection } from '../models/selection';
import { SpendModel } from '../models/spend';
import { IAiInfraApi, IAiInfraModels, IAiInfraStream } from '../tokens';

/** The pools, jobs, GPUs and budgets of this page, one model for all that shows them. */
const plugin: JupyterFrontEndPlugin<IAiInfraModels> = {
  id: 'jupyter-aiinfra:models',
  description: 'Provides the pools, jobs, GPUs, budgets and the cost as this page knows them.',
  autoStart: true,
  provides: IAiInfraModels,
  requires: [IAiInfraApi, IAiInfraStream],
  activate: (_app: JupyterFrontEnd, api: IAiInfraApi, stream: IAiInfraStream): IAiInfraModels => {
    const jobs = new JobsModel({ api, stream });
    return {
      jobs,
      pools: new PoolsModel({ stream }),
      gpus: new GpusModel({ api, stream }),
      selection: new JobSelection(jobs),
      budgets: new BudgetsModel({ api, stream }),
      spend: new SpendModel({ api, jobs }),
      schedules: new SchedulesModel({ api, stream }),
      runs: new RunsModel({ api, stream })
    };
  }
};

export default plugin;
