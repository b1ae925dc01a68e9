/** The head of a run's page: what it is, how far it is, what it costs, and why it failed. */

import type { TranslationBundle } from '@jupyterlab/translation';

import type { JobCostItem, RunItem } from '../api/types';
import { costLine } from '../cost/jobline';
import { Meter } from '../cost/meter';
import { timeText } from '../jobpage/timeline';
import type { RunProgress } from '../models/schedulewire';
import {
  isNotRun,
  isRunActive,
  runDurationText,
  runStateText,
  runTriggerText
} from '../models/runwords';
import { h } from '../widgets/dom';

export interface IRunHeadOptions {
  trans: TranslationBundle;
  onSchedule: (schedule: string) => void;
  /** Bring the cell that failed into sight. */
  onFailed: () => void;
}

/** What the head is drawn of. */
export interface IHeadFacts {
  run: RunItem;
  progress: RunProgress | null;
  cost: JobCostItem | null;
  /** The cell that failed, counted from 1; `null` for none. */
  failed: number | null;
}

export class RunHead {
  constructor(options: IRunHeadOptions) {
    this._options = options;
    const { trans, onFailed } = options;
    this._name.addEventListener('click', () => {
      if (this._facts) {
        options.onSchedule(this._facts.run.schedule);
      }
    });
    this._name.title = trans.__('Show this schedule');
    this._show.addEventListener('click', onFailed);
    this._bar.append(this._filled);
    this._progress.append(this._bar, this._progressText);
    this._error.append(this._reason, this._show);
    this.node.append(
      h('div', { class: 'aiinfra-head' }, this._state, this._name, this._about, this._elapsed),
      this._progress,
      this._cost,
      this._said,
      this._error
    );
  }

  readonly node = h('div', { class: 'aiinfra-RunHead' });

  update(facts: IHeadFacts): void {
    this._facts = facts;
    const { trans } = this._options;
    const { run } = facts;
    const { state, schedule_name: name, stopping } = run;
    write(this._state, stopping ? trans.__('stopping') : runStateText(state, trans));
    write(this._name, name || run.schedule);
    write(this._about, aboutText(run, trans));
    this._drawProgress(facts);
    this._drawReason(facts);
    this._meter.take(facts.cost);
    this.tick(Date.now() / 1000);
  }

  /** Draw the time that has passed, and what that costs. */
  tick(now: number): void {
    if (this._facts === null) {
      return;
    }
    const { trans } = this._options;
    const { run } = this._facts;
    write(this._elapsed, isNotRun(run) ? '' : runDurationText(run, now, trans));
    const { item, cost } = this._meter;
    const runs = isRunActive(run);
    say(this._cost, item === null ? '' : costLine(item, { cost, runs, trans }));
  }

  private _drawProgress({ run, progress }: IHeadFacts): void {
    const { trans } = this._options;
    const shows = run.state === 'running' && progress !== null && progress.live;
    this._progress.hidden = !shows;
    if (!shows) {
      return;
    }
    const { cell, cells } = progress;
    const share = cell === null || cells === null || cells === 0 ? 0 : (cell - 1) / cells;
    this._filled.style.width = `${(share * 100).toFixed(1)}%`;
    const text =
      cell === null
        ? trans.__('starting the kernel…')
        : cells === null
          ? trans.__('cell %1', cell)
          : trans.__('cell %1 of %2', cell, cells);
    write(this._progressText, text);
    this._bar.setAttribute('aria-valuenow', String(Math.round(share * 100)));
    this._bar.setAttribute('aria-label', trans.__('Cells done'));
  }

  private _drawReason({ run, failed }: IHeadFacts): void {
    const { trans } = this._options;
    const isBad = run.state === 'failed' || run.state === 'lost';
    const reason = run.reason ?? '';
    this._error.hidden = !isBad;
    write(this._reason, reason === '' ? trans.__('It is not known why.') : reason);
    this._show.hidden = failed === null;
    write(this._show, failed === null ? '' : trans.__('Show cell %1', failed));
    say(this._said, isBad ? '' : reason);
  }

  private _options: IRunHeadOptions;
  private _facts: IHeadFacts | null = null;
  private _meter = new Meter();
  private _state = h('span', { class: 'aiinfra-state', role: 'status' });
  private _name = h('button', { type: 'button', class: 'aiinfra-name aiinfra-RunHead-name' });
  private _about = h('span', { class: 'aiinfra-facts' });
  private _elapsed = h('span', { class: 'aiinfra-elapsed' });
  private _progress = h('div', { class: 'aiinfra-RunHead-progress', hidden: '' });
  private _bar = h('div', {
    class: 'aiinfra-RunHead-bar',
    role: 'progressbar',
    'aria-valuemin': '0',
    'aria-valuemax': '100'
  });
  private _filled = h('div', { class: 'aiinfra-RunHead-filled' });
  private _progressText = h('span', { class: 'aiinfra-RunHead-cell', role: 'status' });
  private _cost = h('div', { class: 'aiinfra-cost', hidden: '' });
  private _said = h('div', { class: 'aiinfra-message', hidden: '' });
  private _error = h('div', { class: 'aiinfra-error aiinfra-RunHead-error', role: 'alert' });
  private _reason = h('span', {});
  private _show = h('button', { type: 'button', class: 'aiinfra-JobPage-button' });
}

/** `version 3 · by the clock, for 26 Nov 2026, 02:00:00 · attempt 2`. */
export function aboutText(run: RunItem, trans: TranslationBundle): string {
  const { version, trigger, slot, attempt, slots, last_slot: last, created_at: made } = run;
  const how = runTriggerText(trigger, trans);
  const many = slots > 1 && last !== null && slot !== null;
  const when =
    slot === null
      ? trans.__('%1, %2', how, timeText(made))
      : trans.__('%1, for %2', how, timeText(slot));
  return [
    trans.__('version %1', version),
    many ? trans.__('%1 slots, %2 to %3', slots, timeText(slot), timeText(last)) : when,
    attempt > 1 ? trans.__('attempt %1', attempt) : '',
    trans.__('run %1', run.id)
  ]
    .filter(Boolean)
    .join(' · ');
}

function write(node: HTMLElement, text: string): void {
  if (node.textContent !== text) {
    node.textContent = text;
  }
}

function say(node: HTMLElement, text: string): void {
  write(node, text);
  node.hidden = text === '';
}
