/** Tells of runs of schedules that end while the page looks on. */

import { Notification as Toast } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';

import type { RunItem } from './api/types';
import { newestFirst } from './models/runs';
import { isRunActive } from './models/runwords';
import type { IRunsModel } from './tokens';

/** A failure is worth reading to the end. */
const FAILURE_MILLISECONDS = 15_000;
const SHORT_MILLISECONDS = 5_000;

export interface IRunTellerOptions {
  runs: IRunsModel;
  trans: TranslationBundle;
  open: (run: string) => void;
  /** Of which ends JupyterLab is to tell. */
  wanted: () => 'never' | 'failures' | 'all';
  /** Tell of it in another way, too. */
  onTold: (told: { text: string; run: string; tag: string }) => void;
}

/** What was over before it began to look is not told. */
export class RunTeller {
  constructor(options: IRunTellerOptions, before: readonly RunItem[]) {
    this._options = options;
    this._look(before);
    this.look();
  }

  /** See which runs have ended; to be called when the runs have changed. */
  look(): void {
    this._look(this._options.runs.runs ?? []);
  }

  private _look(all: readonly RunItem[]): void {
    const { runs } = this._options;
    // After a gap it is not known what ended when: only what was seen going on is told then.
    const isGap = this._resets !== runs.resets;
    const newest = this._newest;
    for (const run of all) {
      if (isRunActive(run)) {
        this._live.add(run.id);
      } else if (this._live.delete(run.id) || (!isGap && isNewer(run, newest))) {
        this._tell(run);
      }
    }
    this._resets = runs.resets;
    this._newest = all[0] ?? newest;
  }

  private _tell(run: RunItem): void {
    const { trans, open, wanted, onTold } = this._options;
    const how = wanted();
    const isBad = run.state === 'failed' || run.state === 'lost' || run.state === 'missed';
    if (run.state === 'skipped' || how === 'never' || (how === 'failures' && !isBad)) {
      return;
    }
    const text = endText(run, trans);
    onTold({ text, run: run.id, tag: `aiinfra-${run.id}` });
    const actions = [{ label: trans.__('Open'), callback: () => open(run.id) }];
    switch (run.state) {
      case 'succeeded':
        Toast.success(text, { actions, autoClose: SHORT_MILLISECONDS });
        break;
      case 'cancelled':
      case 'missed':
        Toast.warning(text, { actions, autoClose: SHORT_MILLISECONDS });
        break;
      default:
        Toast.error(text, { actions, autoClose: FAILURE_MILLISECONDS });
    }
  }

  private _options: IRunTellerOptions;
  private _live = new Set<string>();
  private _newest: RunItem | null = null;
  private _resets = -1;
}

/** A run that was asked for and was over between two looks. */
function isNewer(run: RunItem, newest: RunItem | null): boolean {
  return newest === null || (run.id !== newest.id && newestFirst(run, newest) < 0);
}

function endText(run: RunItem, trans: TranslationBundle): string {
  const { schedule_name: name, reason, state } = run;
  const said = reason ? `: ${reason}` : '';
  switch (state) {
    case 'succeeded':
      return trans.__('The run of “%1” has succeeded', name);
    case 'cancelled':
      return trans.__('The run of “%1” was cancelled', name);
    case 'lost':
      return trans.__('The run of “%1” is lost%2', name, said);
    case 'missed':
      return trans.__('“%1” was not run in time%2', name, said);
    default:
      return trans.__('The run of “%1” has failed%2', name, said);
  }
}
