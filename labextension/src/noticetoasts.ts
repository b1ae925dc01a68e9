/** Tells of what budgets and the idle policy say of jobs, as it is said. */

import { Notification as Toast } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { CommandRegistry } from '@lumino/commands';

import type { JobItem, Notice } from './api/types';
import { isActive } from './jobstate';
import { noticeAnswers } from './models/noticewords';
import { CommandIDs, type IBudgetsModel } from './tokens';

/** A warning is worth reading to the end. */
const WARNING_MILLISECONDS = 15_000;
/** Jobs that are named one by one. */
const MOST_NAMED = 3;

export interface INoticeTellerOptions {
  commands: CommandRegistry;
  budgets: IBudgetsModel;
  trans: TranslationBundle;
  /** Whether JupyterLab is to tell of it. */
  isWanted: () => boolean;
  /** Tell of it in another way, too. */
  onTold: (told: { text: string; job: string; tag: string }) => void;
}

/** One thing that was said, of one job or, by a budget, of several at once. */
interface ISaid {
  notice: Notice;
  jobs: JobItem[];
}

/**
 * Looks at jobs as they change. What was said before it began to look is told only where it is a
 * question: that waits for an answer.
 */
export class NoticeTeller {
  constructor(options: INoticeTellerOptions, before: readonly JobItem[]) {
    this._options = options;
    for (const [key, { notice }] of saidOf(before)) {
      if (notice.kind !== 'question') {
        this._told.add(key);
      }
    }
  }

  look(jobs: readonly JobItem[]): void {
    const said = saidOf(jobs);
    for (const [key, each] of said) {
      if (!this._told.has(key)) {
        this._told.add(key);
        this._tell(key, each);
      }
    }
    // Somebody else has answered, or nobody has in time.
    for (const [key, toast] of this._questions) {
      if (!said.has(key)) {
        this._questions.delete(key);
        Toast.dismiss(toast);
      }
    }
  }

  private _tell(key: string, { notice, jobs }: ISaid): void {
    const { isWanted, onTold, trans } = this._options;
    const [job] = jobs as [JobItem];
    const text = trans.__('%1: %2', namesText(jobs, trans), notice.text);
    onTold({ text, job: job.id, tag: `aiinfra-${key}` });
    if (!isWanted()) {
      return;
    }
    const actions = this._actions(notice, job);
    if (notice.kind === 'question') {
      this._questions.set(key, Toast.warning(text, { actions, autoClose: false }));
    } else {
      Toast.warning(text, { actions, autoClose: WARNING_MILLISECONDS });
    }
  }

  private _actions(notice: Notice, job: JobItem): { label: string; callback: () => void }[] {
    const { commands, budgets, trans } = this._options;
    const answers = noticeAnswers(notice, job, budgets.find(notice.by), trans);
    const open = { label: trans.__('Open'), command: CommandIDs.openJob, args: { id: job.id } };
    return [...answers, open].map(({ label, command, args }) => ({
      label,
      callback: () => void commands.execute(command, args)
    }));
  }

  private _options: INoticeTellerOptions;
  private _told = new Set<string>();
  private _questions = new Map<string, string>();
}

/** What is said of jobs that are not over, by when and by whom. */
function saidOf(jobs: readonly JobItem[]): Map<string, ISaid> {
  const said = new Map<string, ISaid>();
  for (const job of jobs) {
    const { notice } = job;
    if (notice && isActive(job)) {
      const key = keyOf(notice, job);
      const known = said.get(key);
      if (known) {
        known.jobs.push(job);
      } else {
        said.set(key, { notice, jobs: [job] });
      }
    }
  }
  return said;
}

/** A budget that says the same of several jobs at once has decided it once. */
function keyOf({ by, kind, at }: Notice, job: JobItem): string {
  return by === 'idle' ? `${by} ${job.id} ${kind} ${at}` : `${by} ${kind} ${at}`;
}

function namesText(jobs: readonly JobItem[], trans: TranslationBundle): string {
  const named = jobs.map(({ name }) => trans.__('“%1”', name));
  return named.length <= MOST_NAMED
    ? named.join(', ')
    : trans._n('%1 job', '%1 jobs', named.length);
}
