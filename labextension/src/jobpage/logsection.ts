/** The logs of a job: a tab for each rank, what can be done with a log, and the log itself. */

import type { TranslationBundle } from '@jupyterlab/translation';

import { RequestError } from '../request';
import { copyText, h } from '../widgets/dom';
import { count, sizeText } from '../widgets/format';
import { launcherSlot } from '../widgets/protocol';
import { RankTabs, type ILogTab } from '../widgets/ranktabs';
import type { LogModel } from './logmodel';
import type { JobPageModel } from './pagemodel';
import { patternOf, plainRow, type IHighlight } from './rowview';
import { LogSearcher } from './search';
import { SearchBar } from './searchbar';
import { VirtualLog, type IPlace } from './virtuallog';

/** Rows that Copy takes at most; more are for Download. */
export const MOST_COPIED_ROWS = 100_000;
const SAID_MILLISECONDS = 3_000;
const STATUS_MILLISECONDS = 500;

export interface ILogSectionOptions {
  id: string;
  model: JobPageModel;
  trans: TranslationBundle;
  follow: boolean;
  wrap: boolean;
  /** The rank to begin with; the first one shown when left out. */
  rank?: number | undefined;
}

export class LogSection {
  constructor(options: ILogSectionOptions) {
    const { id, model, trans } = options;
    this._model = model;
    this._trans = trans;
    this._followAtFirst = options.follow;
    this._rank = options.rank ?? null;
    this._searcher = new LogSearcher(model.api);
    this._log = new VirtualLog(trans);
    this._log.wrap = options.wrap;
    this._panel = h('div', {
      class: 'aiinfra-LogSection-panel',
      role: 'tabpanel',
      id: `${id}-log`
    });
    this._tabs = new RankTabs({
      id: `${id}-rank`,
      panel: this._panel,
      onSelect: key => this._select(Number(key)),
      label: trans.__('Logs'),
      listLabel: trans.__('Log'),
      failed: trans.__('failed')
    });
    this._searchBar = new SearchBar({
      trans,
      onFind: (text, matchCase) => this._find(text, matchCase),
      onNext: () => void this._searcher.next(),
      onPrevious: () => this._searcher.previous(),
      onClose: () => this._closeSearch()
    });
    this._panel.append(this._searchBar.node, this._log.node);
    this._foot.append(this._status, this._said);
    const bar = h('div', { class: 'aiinfra-bar' }, this._tabs.node, this._tools());
    this.node = h('div', { class: 'aiinfra-LogSection' }, bar, this._panel, this._foot);
    this._log.followingChanged.connect(() => this._drawTools());
    this._searcher.changed.connect(() => this._onSearch());
    this._searcher.jumped.connect((_sender, row) => this._log.reveal(row));
    this.update();
  }

  readonly node: HTMLElement;

  /** The rank whose log is shown. */
  get rank(): number | null {
    return this._rank;
  }

  /** Draw what the model knows of the ranks. */
  update(): void {
    const { ranks, launchers, header } = this._model;
    const trans = this._trans;
    const isSpread = (header?.nodes?.length ?? 0) > 1;
    const tabs: ILogTab[] = ranks.map(({ rank, failed, node }) => ({
      key: String(rank),
      label: trans.__('rank %1', rank),
      bad: failed,
      ...(isSpread && node && { group: node })
    }));
    for (const rank of launchers) {
      const name = this._launcherNode(rank);
      const label = name ? trans.__('launcher %1', name) : trans.__('launcher');
      tabs.push({ key: String(rank), label, bad: false });
    }
    // Ranks that failed come first.
    const first = ranks[0]?.rank ?? null;
    const rank = this._rank ?? first;
    if (rank !== null && rank !== this._shown) {
      this._show(rank);
    }
    this._tabs.update(tabs, String(this._rank ?? ''));
    this._tabs.node.hidden = tabs.length < 2;
    this._drawStatus();
  }

  /** Whether the logs are in sight: only then are they watched. */
  set visible(visible: boolean) {
    this._visible = visible;
    this._model.watchLog(visible ? this._rank : null);
    if (visible) {
      this._log.update();
    }
  }

  /** Open the bar to search with. */
  search(): void {
    this._searchBar.open();
    if (this._searchBar.text !== '') {
      this._find(this._searchBar.text, this._searchBar.matchCase);
    }
  }

  /** Draw again, as the space for it has changed. */
  resize(): void {
    this._log.update();
  }

  focus(): void {
    this._log.region.focus();
  }

  dispose(): void {
    clearTimeout(this._saying);
    clearTimeout(this._drawing);
    this._current?.changed.disconnect(this._drawStatusSoon);
    this._searcher.dispose();
    this._searchBar.dispose();
    this._log.dispose();
  }

  private _tools(): HTMLElement {
    const trans = this._trans;
    this._follow = toggle(trans.__('Follow'), trans.__('Stay at the end while lines come'), () =>
      this._log.place.following ? this._log.hold() : this._log.follow()
    );
    this._wrap = toggle(trans.__('Wrap'), trans.__('Break long lines at the edge'), () => {
      this._log.wrap = !this._log.wrap;
      this._drawTools();
    });
    const find = h('button', { type: 'button', title: trans.__('Find in the log (Ctrl+F)') });
    find.append(trans.__('Find'));
    find.addEventListener('click', () => this.search());
    this._copy = h('button', { type: 'button' }, trans.__('Copy'));
    this._copy.title = trans.__('Copy the log, up to %1 rows', count(MOST_COPIED_ROWS));
    this._copy.addEventListener('click', () => void this._onCopy());
    this._download = h('a', { class: 'aiinfra-JobPage-link', download: '', rel: 'noopener' });
    this._download.append(trans.__('Download'));
    const all = [this._follow, this._wrap, find, this._copy, this._download];
    return h('div', { class: 'aiinfra-LogSection-tools' }, ...all);
  }

  private _select(rank: number): void {
    this._show(rank);
    this.update();
  }

  private _show(rank: number): void {
    if (this._shown !== null) {
      this._places.set(this._shown, this._log.place);
    }
    this._rank = this._shown = rank;
    this._current?.changed.disconnect(this._drawStatusSoon);
    const log = this._model.log(rank);
    this._current = log;
    log.changed.connect(this._drawStatusSoon);
    this._log.show(log, this._places.get(rank) ?? this._begin());
    this._log.region.setAttribute('aria-label', this._labelOf(rank));
    this._download.href = this._model.api.logUrl({ id: this._model.id, rank });
    if (this._visible) {
      this._model.watchLog(rank);
    }
    if (this._searchBar.isOpen) {
      this._find(this._searchBar.text, this._searchBar.matchCase);
    }
    this._drawTools();
    this._drawStatus();
  }

  private _begin(): IPlace {
    return { row: 0, offset: 0, following: this._followAtFirst };
  }

  private _labelOf(rank: number): string {
    const trans = this._trans;
    if (rank >= 0) {
      return trans.__('Log of rank %1', rank);
    }
    const name = this._launcherNode(rank);
    return name ? trans.__('Log of the launcher on %1', name) : trans.__('Log of the launcher');
  }

  /** The node of a launcher; nothing where there is but one. */
  private _launcherNode(rank: number): string {
    const nodes = this._model.header?.nodes ?? [];
    return (nodes.length > 1 && nodes[launcherSlot(rank)]?.name) || '';
  }

  private _drawTools(): void {
    this._follow?.setAttribute('aria-pressed', String(this._log.place.following));
    this._wrap?.setAttribute('aria-pressed', String(this._log.wrap));
  }

  /** At a pace at which it can be read, and heard by who cannot see it. */
  private _drawStatusSoon = (): void => {
    this._drawing ??= setTimeout(() => {
      this._drawing = undefined;
      this._drawStatus();
    }, STATUS_MILLISECONDS);
  };

  private _drawStatus(): void {
    const log = this._current;
    const trans = this._trans;
    const parts = [log ? this._summary(log) : trans.__('waiting for the job')];
    const rank = this._model.ranks.find(each => each.rank === this._rank);
    if (rank) {
      parts.unshift(rank.state);
      parts.push(rank.node);
    }
    if (log?.problem) {
      parts.push(log.problem.message, log.problem.hint);
    }
    this._status.textContent = parts.filter(Boolean).join(' · ');
  }

  private _summary(log: LogModel): string {
    const trans = this._trans;
    if (!log.known) {
      return trans.__('loading…');
    }
    const { totalLines: lines, totalRows: rows, totalBytes, complete } = log;
    if (lines === 0) {
      return complete ? trans.__('no output') : trans.__('no output yet');
    }
    const text = trans._n('%2 line', '%2 lines', lines, count(lines));
    const folded = lines > rows ? trans.__('%1 rows', count(rows)) : '';
    return [text, folded, sizeText(totalBytes)].filter(Boolean).join(' · ');
  }

  private _find(text: string, matchCase: boolean): void {
    const log = this._current;
    this._pattern = text === '' ? null : patternOf(text, matchCase);
    this._onSearch();
    if (log) {
      void this._searcher.find(log, { text, matchCase, near: this._log.inSight.first });
    }
  }

  private _onSearch(): void {
    const { row, status } = this._searcher;
    this._searchBar.show(status);
    const highlight: IHighlight | null = this._pattern && { pattern: this._pattern, row };
    this._log.highlight(this._searchBar.isOpen ? highlight : null);
  }

  private _closeSearch(): void {
    this._searchBar.close();
    this._pattern = null;
    this._searcher.clear();
    this.focus();
  }

  private async _onCopy(): Promise<void> {
    const log = this._current;
    if (!log || this._copying) {
      return;
    }
    const trans = this._trans;
    this._copying = true;
    this._say(trans.__('copying…'));
    try {
      const { text, rows, total } = await log.text(MOST_COPIED_ROWS, plainRow);
      if (!(await copyText(text))) {
        this._say(trans.__('The browser did not allow to copy'));
      } else if (rows < total) {
        this._say(trans.__('Copied the first %1 of %2 rows', count(rows), count(total)));
      } else {
        this._say(trans._n('Copied %2 row', 'Copied %2 rows', rows, count(rows)));
      }
    } catch (error) {
      if (!(error instanceof RequestError)) {
        throw error;
      }
      this._say([error.message, error.hint].filter(Boolean).join('. '));
    } finally {
      this._copying = false;
    }
  }

  private _say(text: string): void {
    this._said.textContent = text;
    clearTimeout(this._saying);
    this._saying = setTimeout(() => (this._said.textContent = ''), SAID_MILLISECONDS);
  }

  private _model: JobPageModel;
  private _trans: TranslationBundle;
  private _followAtFirst: boolean;
  /** The rank that is wanted, and the one that is drawn. */
  private _rank: number | null;
  private _shown: number | null = null;
  private _visible = false;
  private _current: LogModel | null = null;
  private _places = new Map<number, IPlace>();
  private _searcher: LogSearcher;
  private _searchBar: SearchBar;
  private _pattern: RegExp | null = null;
  private _log: VirtualLog;
  private _panel: HTMLElement;
  private _tabs: RankTabs;
  private _follow: HTMLButtonElement | undefined;
  private _wrap: HTMLButtonElement | undefined;
  private _copy!: HTMLButtonElement;
  private _download!: HTMLAnchorElement;
  private _foot = h('div', { class: 'aiinfra-foot' });
  private _status = h('span');
  private _said = h('span', { role: 'status' });
  private _copying = false;
  private _saying: ReturnType<typeof setTimeout> | undefined;
  private _drawing: ReturnType<typeof setTimeout> | undefined;
}

function toggle(text: string, title: string, onClick: () => void): HTMLButtonElement {
  const node = h('button', { type: 'button', title, 'aria-pressed': 'false' }, text);
  node.addEventListener('click', onClick);
  return node;
}
