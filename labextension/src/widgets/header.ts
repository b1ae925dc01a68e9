/* eslint-disable jupyter/no-untranslated-string -- loaded by anywidget, outside of JupyterLab's translations */
import type { JobCostItem } from '../api/types';
import { costLine, priceLine } from '../cost/jobline';
import { Meter } from '../cost/meter';
import { NoticeView, type INoticeActions } from '../cost/notice';
import { ENGLISH, type IWords } from '../cost/text';
import { coloured, h } from './dom';
import { durationText, plural } from './format';
import type { IErrorBox, IHeader } from './protocol';

export interface IHeaderOptions {
  /** Puts cost and notices into words; English without it. */
  trans?: IWords;
  /** What can be done about a notice; without them the commands to type are named. */
  actions?: INoticeActions | undefined;
}

/** The first line of the view, the sentences below it, what it costs, and what went wrong. */
export class HeaderView {
  constructor({ trans = ENGLISH, actions }: IHeaderOptions = {}) {
    this._trans = trans;
    this._notice = new NoticeView({ trans, actions });
    this.node = h('div', {}, this._head, this._attempts, this._trouble, this._message);
    this.node.append(this._progress, this._cost, this._notice.node, this._error);
    this._cost.append(this._spent, this._price);
    this._head.append(this._state, this._name, this._facts, this._elapsed);
  }

  readonly node: HTMLElement;

  /** Put something at the end of the first line. */
  addTools(tools: HTMLElement): void {
    this._head.append(tools);
  }

  /** Draw a header as of `now` (milliseconds that only grow). */
  update(header: IHeader, now: number): void {
    this._header = header;
    this._since = now - header.elapsed_seconds * 1000;
    this._state.textContent = header.state;
    this._name.textContent = header.name;
    const shape = header.shape || plural(header.world, 'rank');
    const facts = [`pool ${header.pool}`, shape, `job ${header.id}`];
    this._facts.textContent = [...facts, ...(header.tracking ? [header.tracking] : [])].join(' · ');
    // An output of an older version has only some of these.
    say(this._attempts, header.attempts);
    say(this._trouble, header.trouble);
    say(this._message, header.message);
    say(this._progress, header.progress);
    this._notice.update(header.notice ?? null, header.id, !header.ticking);
    this._error.hidden = !header.error;
    this._error.replaceChildren(...(header.error ? errorNodes(header.error) : []));
    this._drawCost();
    this.tick(now);
  }

  /** Say what the job has cost, as it was just told; `null` where nobody has. */
  setCost(item: JobCostItem | null): void {
    this._meter.take(item);
    this._drawCost();
  }

  /** Draw the time that has passed; the kernel does not send it again and again. */
  tick(now: number): void {
    if (this._header) {
      const { ticking, elapsed_seconds } = this._header;
      const seconds = ticking ? (now - this._since) / 1000 : elapsed_seconds;
      this._elapsed.textContent = durationText(Math.max(0, seconds), ticking);
      this._notice.tick();
    }
    if (this._meter.item?.hourly) {
      this._drawCost();
    }
  }

  private _drawCost(): void {
    const { item, cost } = this._meter;
    const trans = this._trans;
    const runs = this._header?.ticking ?? true;
    say(this._spent, item ? costLine(item, { cost, runs, trans }) : '');
    // Beside what is unknown the price says nothing more.
    say(this._price, item && cost.length > 0 ? priceLine(item, trans) : '');
    this._price.title = item?.price?.text ?? '';
    this._price.classList.toggle('aiinfra-old', item?.price?.old ?? false);
    this._cost.hidden = this._spent.hidden;
  }

  private _trans: IWords;
  private _header: IHeader | null = null;
  private _since = 0;
  private _meter = new Meter();
  private _state = h('span', { class: 'aiinfra-state', role: 'status' });
  private _name = h('span', { class: 'aiinfra-name' });
  private _facts = h('span', { class: 'aiinfra-facts' });
  private _elapsed = h('span', { class: 'aiinfra-elapsed' });
  private _head = h('div', { class: 'aiinfra-head' });
  private _attempts = h('div', { class: 'aiinfra-attempts' });
  private _trouble = h('div', { class: 'aiinfra-trouble', role: 'status' });
  private _message = h('div', { class: 'aiinfra-message' });
  private _progress = h('div', { class: 'aiinfra-progress' });
  private _cost = h('div', { class: 'aiinfra-cost' });
  private _spent = h('span', { class: 'aiinfra-spent' });
  private _price = h('span', { class: 'aiinfra-price' });
  private _notice: NoticeView;
  private _error = h('div', { class: 'aiinfra-error', role: 'alert' });
}

function say(node: HTMLElement, text: string | undefined): void {
  if (node.textContent !== (text ?? '')) {
    node.textContent = text ?? '';
  }
  node.hidden = !text;
}

function errorNodes(error: IErrorBox): Node[] {
  const nodes: Node[] = [h('b', {}, error.title)];
  if (error.where) {
    nodes.push(h('span', { class: 'aiinfra-where' }, error.where));
  }
  if (error.traceback) {
    const label = {
      class: 'aiinfra-text',
      tabindex: '0',
      role: 'region',
      'aria-label': 'traceback'
    };
    nodes.push(h('pre', label, ...coloured(error.traceback)));
  }
  return nodes;
}
