/** What a budget or the idle policy says of a job, and what can be done about it. */

import type { Notice } from '../api/types';
import { h } from '../widgets/dom';
import { durationText } from '../widgets/format';
import type { IWords } from './text';

const HOUR = 3600;
/** The policy about idle GPUs, where a budget has its id. */
const IDLE = 'idle';

/** What the buttons do; each rejects with why it was not done. */
export interface INoticeActions {
  /** Let the jobs of a budget go on for so many seconds. */
  snooze(budget: string, seconds: number): Promise<unknown>;
  /** End the jobs that a budget counts. */
  stop(budget: string): Promise<unknown>;
  /** Never look at the job's GPUs again. */
  leaveAlone(): Promise<unknown>;
  /** Whether a budget is known to count more than this job. */
  countsMore(budget: string): boolean;
}

export interface INoticeOptions {
  trans: IWords;
  /** Without them the commands to type are named. */
  actions?: INoticeActions | undefined;
}

interface IButton {
  label: string;
  title: string;
  run: () => Promise<unknown>;
}

/** Hidden while there is nothing to say. */
export class NoticeView {
  constructor(options: INoticeOptions) {
    this._options = options;
    const said = h('span', { class: 'aiinfra-notice-said' }, this._kind, ' ', this._text);
    this._answer.append(this._buttons, this._left);
    this.node.append(said, this._answer, this._problem);
    this.node.hidden = true;
  }

  readonly node = h('div', { class: 'aiinfra-notice', role: 'status' });

  /** Draw what is said of a job; `over` when the job has ended. */
  update(notice: Notice | null, job: string, over: boolean): void {
    this.node.hidden = notice === null;
    const key = JSON.stringify([notice, job, over]);
    if (key === this._drawn) {
      return;
    }
    this._drawn = key;
    this._notice = notice;
    this._problem.textContent = '';
    if (notice === null) {
      this._buttons.replaceChildren();
      return;
    }
    this.node.dataset['kind'] = notice.kind;
    this._kind.textContent = kindText(notice, over, this._options.trans);
    this._text.textContent = notice.text;
    this._buttons.replaceChildren(...this._answers(notice, job, over));
    this.tick();
  }

  /** How long there is to answer a question. */
  tick(): void {
    const { trans } = this._options;
    const until = this._notice?.kind === 'question' ? this._notice.until : null;
    const left = until === null || until === undefined ? null : until - Date.now() / 1000;
    const text =
      left === null
        ? ''
        : left > 0
          ? trans.__('%1 left to answer', durationText(left, true))
          : trans.__('the time to answer is over');
    if (this._left.textContent !== text) {
      this._left.textContent = text;
    }
  }

  private _answers(notice: Notice, job: string, over: boolean): Node[] {
    if (over) {
      return [];
    }
    const { trans, actions } = this._options;
    if (actions === undefined) {
      const command = (text: string): HTMLElement => h('code', { class: 'aiinfra-text' }, text);
      return commandsOf(notice, job).map(command);
    }
    return buttonsOf(notice, actions, trans).map(button => this._button(button));
  }

  private _button({ label, title, run }: IButton): HTMLButtonElement {
    const button = h('button', { type: 'button', class: 'aiinfra-tool', title }, label);
    button.addEventListener('click', () => void this._run(run));
    return button;
  }

  private async _run(run: () => Promise<unknown>): Promise<void> {
    const buttons = [...this._buttons.querySelectorAll('button')];
    buttons.forEach(button => (button.disabled = true));
    this._problem.textContent = '';
    try {
      // What comes of it is told with the next news of the job, which draw this anew.
      await run();
    } catch (error) {
      this._problem.textContent = problemText(error);
    } finally {
      buttons.forEach(button => (button.disabled = false));
    }
  }

  private _options: INoticeOptions;
  private _notice: Notice | null = null;
  private _drawn = '';
  private _kind = h('b', { class: 'aiinfra-notice-kind' });
  private _text = h('span', { class: 'aiinfra-notice-text' });
  private _answer = h('span', { class: 'aiinfra-notice-answer' });
  private _left = h('span', { class: 'aiinfra-notice-left' });
  private _buttons = h('span', { class: 'aiinfra-notice-buttons' });
  private _problem = h('span', { class: 'aiinfra-notice-problem', role: 'alert' });
}

function kindText({ kind, by }: Notice, over: boolean, trans: IWords): string {
  switch (kind) {
    case 'warning':
      return by === IDLE ? trans.__('Idle GPUs') : trans.__('Budget warning');
    case 'question':
      return trans.__('May it go on?');
    case 'stop':
      return over ? trans.__('Stopped') : trans.__('Being stopped');
  }
}

function buttonsOf(notice: Notice, actions: INoticeActions, trans: IWords): IButton[] {
  const { kind, by } = notice;
  if (by === IDLE) {
    return kind === 'stop'
      ? []
      : [
          {
            label: trans.__('Leave it alone'),
            title: trans.__('Never stop this job for idle GPUs, and say no more of them'),
            run: () => actions.leaveAlone()
          }
        ];
  }
  if (kind === 'question') {
    return [
      {
        label: trans.__('Go on for an hour'),
        title: trans.__('The budget does nothing for an hour'),
        run: () => actions.snooze(by, HOUR)
      },
      {
        label: trans.__('Stop'),
        title: trans.__('Stop the jobs that this budget counts, with time to save'),
        run: () => actions.stop(by)
      }
    ];
  }
  if (kind === 'stop' && !actions.countsMore(by)) {
    return []; // this job ends in any case
  }
  return [
    {
      label: trans.__('Snooze for an hour'),
      title:
        kind === 'stop'
          ? trans.__('The budget does nothing for an hour; what it is stopping ends all the same')
          : trans.__('The budget does nothing for an hour'),
      run: () => actions.snooze(by, HOUR)
    }
  ];
}

/** What to type in a notebook. */
function commandsOf({ kind, by }: Notice, job: string): string[] {
  if (kind === 'stop') {
    return []; // it ends in any case
  }
  if (by === IDLE) {
    return [`%idle set ${job} never`];
  }
  const snooze = `%budget snooze ${by} --for 1h`;
  return kind === 'question' ? [snooze, `%budget stop ${by}`] : [snooze];
}

function problemText(error: unknown): string {
  const { message, hint } = error as { message?: unknown; hint?: unknown };
  return [message, hint].filter(text => typeof text === 'string' && text !== '').join('. ');
}
