/* eslint-disable jupyter/no-untranslated-string -- loaded by anywidget, outside of JupyterLab's translations */
import type { JobCostItem } from '../api/types';
import type { Trail } from '../gpus/history';
import type { Board } from '../gpus/wire';
import { copyText, h } from './dom';
import { count, plural, sizeText } from './format';
import { HeaderView, type IHeaderOptions } from './header';
import { LogState, plainText, type IChange } from './log';
import { LogPane } from './logpane';
import { manifestNode } from './manifest';
import { launcherSlot, type IDelta, type IHeader, type IManifest, type IModel } from './protocol';
import { RankGpus, type IGpuUse } from './rankgpus';
import { RankTabs, type ILogTab } from './ranktabs';

const EVENTS = ['header', 'ranks', 'manifest', 'log', 'delta', 'cost'].map(
  name => `change:${name}`
);
const SENT = 'sent';
const COPIED_MILLISECONDS = 1500;
let views = 0;

/** What a page that can do more than look may add to a view. */
export interface IViewOptions extends IHeaderOptions {
  /** Stands at the end of the first line. */
  tools?: HTMLElement;
  /** Told of the rank whose log is looked at now, the first one too; `null` for none. */
  onLook?: (rank: number | null) => void;
}

/** One view of a job in a page; any number of them may look at the same model. */
export class JobView {
  constructor(model: IModel, node: HTMLElement, options: IViewOptions = {}) {
    const id = `aiinfra-job-${++views}`;
    this._model = model;
    this._node = node;
    this._header = new HeaderView(options);
    this._onLook = options.onLook;
    if (options.tools) {
      this._header.addTools(options.tools);
    }
    this._pane = new LogPane(`${id}-log`);
    this._tabs = new RankTabs({ id, panel: this._pane.panel, onSelect: key => this._select(key) });
    this._copy.addEventListener('click', () => void this._onCopy());
    this._bar.append(this._tabs.node, this._copy);
    this._foot.append(this._status, this._where);
    const gpus = this._gpus.node;
    node.replaceChildren(this._header.node, this._bar, gpus, this._pane.node, this._foot);
    EVENTS.forEach(event => model.on(event, this._onChange));
    this._timer = setInterval(() => this._header.tick(performance.now()), 1000);
    this._look();
    this._onChange();
  }

  /** Stop listening. The nodes are the page's to remove. */
  dispose(): void {
    clearInterval(this._timer);
    EVENTS.forEach(event => this._model.off(event, this._onChange));
    this._gpus.dispose();
  }

  /** Show the GPUs of the job's ranks as they are now. */
  drawGpus(board: Board, trail: Trail): void {
    this._gpus.draw(this._model.get('header').id, board, trail);
  }

  /** Show what the ranks did with their GPUs, now that they do no more. */
  endGpus(uses: readonly IGpuUse[]): void {
    this._gpus.end(uses);
  }

  private _onChange = (): void => {
    const header = this._model.get('header');
    if (!header.state) {
      return; // made before its job
    }
    if (header !== this._drawn) {
      this._drawn = header;
      this._node.className = `aiinfra-job aiinfra-${header.state}`;
      this._header.update(header, performance.now());
      this._where.replaceChildren('log: ', h('code', { class: 'aiinfra-text' }, header.log));
    }
    const cost = this._model.get('cost');
    this._header.setCost(cost && isTold(cost) ? cost : null);
    const changes = this._takeLog();
    this._drawTabs(header);
    this._drawLog(changes);
  };

  /** Take the delta first: with it, the keyframe that came along holds nothing new. */
  private _takeLog(): IChange[] {
    const delta = this._model.get('delta');
    const fits = isDelta(delta) ? this._log.apply(delta) : [];
    const changes = [...(fits ?? []), ...this._log.load(this._model.get('log'))];
    const missed = isDelta(delta) && delta.seq > this._log.seq;
    if (missed && !this._asked) {
      // A kernel that runs a cell may not hear this; then the next keyframe mends it.
      this._model.send({ type: 'resync' });
    }
    this._asked = missed;
    return changes;
  }

  private _drawTabs(header: IHeader): void {
    const isSpread = (header.nodes?.length ?? 0) > 1;
    const tabs: ILogTab[] = this._model.get('ranks').map(({ rank, failed, progress, node }) => ({
      key: String(rank),
      label: progress?.slow ? `rank ${rank} (slow)` : `rank ${rank}`,
      bad: failed,
      ...(isSpread && node && { group: node })
    }));
    const manifest = this._model.get('manifest');
    const launchers = [...this._log.ranks].filter(([rank, log]) => rank < 0 && log.counts.seen);
    for (const [rank] of launchers.sort(([one], [other]) => other - one)) {
      tabs.push({ key: String(rank), label: launcherLabel(rank, header), bad: false });
    }
    if (manifest.count) {
      tabs.push({ key: SENT, label: `sent: ${plural(manifest.count, 'name')}`, bad: false });
    }
    this._tabs.update(tabs, this._selected);
    this._tabs.node.hidden = tabs.length < 2;
    this._bar.hidden = tabs.length < 2 && !this._log.ranks.size;
    this._status.textContent = this._statusText(header, manifest);
  }

  private _drawLog(changes: IChange[]): void {
    if (this._selected === SENT) {
      return;
    }
    const rank = Number(this._selected);
    const log = this._log.ranks.get(rank);
    const source = log?.counts.same_as_first ? 0 : rank;
    const drawn = this._log.ranks.get(source);
    const change = changes.filter(({ rank: changed }) => changed === source);
    const steps = change.flatMap(({ splices }) => splices ?? []);
    if (drawn && source === this._source && change.every(({ splices }) => splices)) {
      if (change.length) {
        this._pane.change(drawn, steps);
      }
      return;
    }
    this._source = drawn ? source : null;
    this._pane.show(drawn, drawn ? sameNote(rank, source) : this._emptyNote());
  }

  private _select(key: string): void {
    this._selected = key;
    this._source = null;
    this._copy.hidden = key === SENT;
    this._look();
    this._drawTabs(this._model.get('header'));
    if (key === SENT) {
      this._pane.showNode(manifestNode(this._model.get('manifest')));
    } else {
      this._drawLog([]);
      this._pane.follow();
    }
  }

  private _look(): void {
    const rank = this._selected === SENT ? null : Number(this._selected);
    this._onLook?.(rank);
  }

  private _emptyNote(): string {
    return this._model.get('header').ticking ? 'no output yet' : 'no output';
  }

  private _statusText(header: IHeader, manifest: IManifest): string {
    if (this._selected === SENT) {
      return `${plural(manifest.count, 'name')}, ${sizeText(manifest.size_bytes)}`;
    }
    const rank = Number(this._selected);
    const status = this._model.get('ranks').find(one => one.rank === rank);
    const summary = this._log.ranks.get(rank)?.counts.summary ?? 'no output';
    const label = rank < 0 ? launcherLabel(rank, header) : `rank ${rank}`;
    const node = header.world > 1 ? status?.node : '';
    const far = status?.progress ? `step ${count(status.progress.step)}` : '';
    return [label, status?.state, far, summary, node].filter(Boolean).join(' · ');
  }

  private async _onCopy(): Promise<void> {
    const log = this._log.ranks.get(this._source ?? Number(this._selected));
    const done = log !== undefined && (await copyText(plainText(log)));
    this._copy.textContent = done ? 'Copied' : 'Not copied';
    setTimeout(() => (this._copy.textContent = 'Copy'), COPIED_MILLISECONDS);
  }

  private _model: IModel;
  private _onLook: ((rank: number | null) => void) | undefined;
  private _node: HTMLElement;
  private _header: HeaderView;
  private _gpus = new RankGpus();
  private _tabs: RankTabs;
  private _pane: LogPane;
  private _bar = h('div', { class: 'aiinfra-bar' });
  private _copy = h('button', { class: 'aiinfra-copy', type: 'button' }, 'Copy');
  private _foot = h('div', { class: 'aiinfra-foot' });
  private _status = h('span');
  private _where = h('span', { class: 'aiinfra-where' });
  private _timer: ReturnType<typeof setInterval>;
  private _log = new LogState();
  private _drawn: IHeader | null = null;
  private _selected = '0';
  private _source: number | null = null;
  private _asked = false;
}

function isDelta(delta: IDelta | Record<string, never>): delta is IDelta {
  return 'seq' in delta;
}

function isTold(cost: JobCostItem | Record<string, never>): cost is JobCostItem {
  return 'job' in cost;
}

function launcherLabel(rank: number, header: IHeader): string {
  const nodes = header.nodes ?? [];
  const name = nodes.length > 1 ? nodes[launcherSlot(rank)]?.name : undefined;
  return name ? `launcher ${name}` : 'launcher';
}

function sameNote(rank: number, source: number): string {
  return rank === source ? '' : `rank ${rank} printed the same as rank ${source}, shown here`;
}
