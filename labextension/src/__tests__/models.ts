/** The real models over fakes of what is below them. */

import { GpusModel } from '../gpus/live';
import { BudgetsModel } from '../models/budgets';
import { JobsModel } from '../models/jobs';
import { PoolsModel } from '../models/pools';
import { RunsModel } from '../models/runs';
import { SchedulesModel } from '../models/schedules';
import { JobSelection } from '../models/selection';
import { SpendModel } from '../models/spend';
import type { IAiInfraApi, IAiInfraModels, IAiInfraStream } from '../tokens';

export function makeModels(options: { api: IAiInfraApi; stream: IAiInfraStream }): IAiInfraModels {
  const { api, stream } = options;
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
