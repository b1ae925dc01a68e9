/** The page of endpoints, and of one of them, in JupyterLab's main area. */

import type { TranslationBundle } from '@jupyterlab/translation';
import type { CommandRegistry } from '@lumino/commands';
import type { Message } from '@lumino/messaging';
import { Widget } from '@lumino/widgets';

import type { EndpointItem } from '../api/types';
import type { IAiInfraApi, IEndpointsModel } from '../tokens';
import { h } from '../widgets/dom';
import { TabBar } from '../widgets/tabs';
import { Charts } from './charts';
import { Head } from './head';
import { History } from './history';
import { Keys } from './keys';
import { EndpointList } from './list';
import { EndpointPageModel } from './model';
import { button } from './parts';
import { Replicas } from './replicas';
import { RolloutView } from './rollout';
import { Samples } from './samples';
import { SettingsView } from './settings';
import { Traffic } from './traffic';
import { TryIt } from './tryit';
import { Versions } from './versions';
import { TABS, type IView, type Tab } from './view';

export interface IEndpointPageOptions {
  api: IAiInfraApi;
  endpoints: IEndpointsModel;
  commands: CommandRegistry;
  trans: TranslationBundle;
}

let pages = 0;

export class EndpointPage extends Widget {
  constructor(options: IEndpointPageOptions) {
    super();
    this._options = options;
    const { api, endpoints, commands, trans } = options;
    this.addClass('aiinfra-EndpointPage');
    this.model = new EndpointPageModel({ api, endpoints });
    const show = (change: Partial<IView>): void => this.model.show(change);
    const id = `aiinfra-endpoints-${++pages}`;
    this._panel.id = `${id}-panel`;
    this._tabs = new TabBar({
      id,
      panel: this._panel,
      onSelect: tab => show({ tab: tab as Tab }),
      label: trans.__('Parts of the endpoint')
    });
    const shared = { api, endpoints, commands, trans, show };
    this._head = new Head({ ...shared, onBack: () => show({ endpoint: null }) });
    this._list = new EndpointList(shared);
    this._rollout = new RolloutView(trans);
    this._traffic = new Traffic(shared);
    this._charts = new Charts(shared);
    this._versions = new Versions(shared);
    this._samples = new Samples(shared);
    this._replicas = new Replicas(shared);
    this._replicas.onShow = (): void => this._onChanged();
    this._keys = new Keys(shared);
    this._settings = new SettingsView(shared);
    this._try = new TryIt(shared);
    this._history = new History(trans);
    this._back = button(trans.__('‹ All endpoints'), { onClick: () => show({ endpoint: null }) });
    this._build();
    this.model.changed.connect(this._onChanged);
    document.addEventListener('visibilitychange', this._follow);
    this.node.addEventListener('pointerdown', this._onPress);
    document.addEventListener('pointerup', this._onRelease);
    document.addEventListener('pointercancel', this._onRelease);
  }

  readonly model: EndpointPageModel;

  override dispose(): void {
    if (!this.isDisposed) {
      document.removeEventListener('visibilitychange', this._follow);
      document.removeEventListener('pointerup', this._onRelease);
      document.removeEventListener('pointercancel', this._onRelease);
      cancelAnimationFrame(this._frame);
      this._list.dispose();
      this._charts.dispose();
      this.model.dispose();
      super.dispose();
    }
  }

  protected override onAfterShow(_message: Message): void {
    this._follow();
  }

  protected override onAfterAttach(_message: Message): void {
    this._follow();
  }

  protected override onBeforeHide(_message: Message): void {
    this._turn(false);
  }

  protected override onBeforeDetach(_message: Message): void {
    this._turn(false);
  }

  protected override onActivateRequest(_message: Message): void {
    this._focus();
  }

  private _build(): void {
    const { trans } = this._options;
    this._search.addEventListener('input', () => this.model.show({ find: this._search.value }));
    this._search.placeholder = trans.__('Find…');
    const label = trans.__('Find endpoints by name, state, pool or note');
    this._search.title = label;
    this._search.setAttribute('aria-label', label);
    this._bar.append(this._search, this._found);
    this._empty.append(this._back, this._emptyText);
    this._overview.append(
      this._rollout.node,
      this._traffic.node,
      this._charts.node,
      this._versions.node
    );
    this._panel.append(
      this._overview,
      this._try.node,
      this._samples.node,
      this._replicas.node,
      this._keys.node,
      this._settings.node,
      this._history.node
    );
    this.node.append(
      this._notice,
      this._head.node,
      this._bar,
      this._tabs.node,
      this._empty,
      this._list.node,
      this._panel
    );
  }

  /** Ask while this is to be seen, and only then. */
  private _follow = (): void => {
    this._turn(this.isVisible && !document.hidden);
    this._onChanged();
  };

  private _turn(isOn: boolean): void {
    this.model.active = isOn;
    this._isOn = isOn;
  }

  private _onPress = (): void => {
    this._isPressed = true;
  };

  private _onRelease = (): void => {
    if (this._isPressed) {
      this._isPressed = false;
      this._onChanged();
    }
  };

  /**
   * Nothing is made anew under a pointer that is down, or it would be no click, nor behind an open
   * menu, which gives the focus back to where it was opened.
   */
  private get _isHeld(): boolean {
    return this._isPressed || document.querySelector('.lm-Menu') !== null;
  }

  /** Many changes at once are drawn once. */
  private _onChanged = (): void => {
    if (!this.isDisposed && this._isOn) {
      this._frame ||= requestAnimationFrame(() => {
        this._frame = 0;
        if (!this.isDisposed && this._isOn && !this._isHeld) {
          this._render();
        }
      });
    }
  };

  private _render(): void {
    const { view, endpoint } = this.model;
    // What had the focus may be hidden by what follows.
    const isFocusLost = view.endpoint !== this._shown && this.node.contains(document.activeElement);
    this._shown = view.endpoint;
    const isList = view.endpoint === null;
    this._bar.hidden = !isList;
    this._list.node.hidden = !isList;
    this._tabs.node.hidden = endpoint === null;
    this._panel.hidden = endpoint === null;
    this._head.update(endpoint);
    let found = 0;
    if (isList) {
      if (this._search.value !== view.find) {
        this._search.value = view.find;
      }
      found = this._list.update(view);
      const text = this._options.trans._n('%1 endpoint', '%1 endpoints', found);
      if (this._found.textContent !== text) {
        this._found.textContent = text;
      }
    } else if (endpoint !== null) {
      this._drawTab(endpoint, view);
    }
    this._drawEmpty(found);
    this._drawNotice();
    if (isFocusLost) {
      this._focus();
    }
  }

  private _focus(): void {
    const node = this.model.endpoint === null ? this._search : this._panel;
    node.focus({ preventScroll: true });
  }

  private _drawTab(item: EndpointItem, view: IView): void {
    const { trans } = this._options;
    const { tab } = view;
    const labels: Record<Tab, string> = {
      overview: trans.__('Overview'),
      try: trans.__('Try it'),
      samples: trans.__('Samples'),
      replicas: trans.__('Replicas'),
      keys: trans.__('Keys'),
      settings: trans.__('Settings'),
      history: trans.__('History')
    };
    const tabs = TABS.map(key => ({ key, label: labels[key], bad: false }));
    this._tabs.update(tabs, tab);
    this._overview.hidden = tab !== 'overview';
    this._try.node.hidden = tab !== 'try';
    this._samples.node.hidden = tab !== 'samples';
    this._replicas.node.hidden = tab !== 'replicas';
    this._keys.node.hidden = tab !== 'keys';
    this._settings.node.hidden = tab !== 'settings';
    this._history.node.hidden = tab !== 'history';
    // Of another endpoint, what was written or shown of the one before is forgotten in any tab.
    this._keys.update(item);
    this._try.update(item, view);
    this._settings.update(item);
    if (tab === 'overview') {
      this._rollout.update(item);
      this._traffic.update(item);
      this._charts.update(item);
      this._versions.update(item);
    } else if (tab === 'samples') {
      this._samples.update(item);
    } else if (tab === 'replicas') {
      this._replicas.update(item);
    } else if (tab === 'history') {
      this._history.update(this.model);
    }
  }

  private _drawEmpty(found: number): void {
    const { trans, endpoints } = this._options;
    const { view, endpoint } = this.model;
    const all = endpoints.endpoints;
    let text = '';
    if (view.endpoint !== null) {
      text =
        endpoint !== null
          ? ''
          : all === null
            ? trans.__('loading…')
            : trans.__('There is no such endpoint, or it has been removed.');
    } else if (found === 0) {
      text =
        all === null
          ? trans.__('loading…')
          : all.length === 0
            ? trans.__(
                'Nothing is served. “Deploy…” in the toolbar of a notebook, or “%promote endpoint FUNCTION --name NAME --pool POOL” in a cell, has a model answer at a URL.'
              )
            : trans.__('No endpoint has this in its name, state, pool or note.');
    }
    this._back.hidden = view.endpoint === null || endpoint !== null;
    if (this._emptyText.textContent !== text) {
      this._emptyText.textContent = text;
    }
    this._empty.hidden = text === '';
  }

  private _drawNotice(): void {
    const { problem } = this._options.endpoints;
    const text = problem === null ? '' : [problem.message, problem.hint].filter(Boolean).join('. ');
    if (this._notice.textContent !== text) {
      this._notice.textContent = text;
    }
    this._notice.hidden = text === '';
  }

  private _options: IEndpointPageOptions;
  private _tabs: TabBar;
  private _head: Head;
  private _list: EndpointList;
  private _rollout: RolloutView;
  private _traffic: Traffic;
  private _charts: Charts;
  private _versions: Versions;
  private _samples: Samples;
  private _replicas: Replicas;
  private _keys: Keys;
  private _settings: SettingsView;
  private _try: TryIt;
  private _history: History;
  private _notice = h('div', { class: 'aiinfra-EndpointPage-notice', role: 'status', hidden: '' });
  private _bar = h('div', { class: 'aiinfra-EndpointPage-bar' });
  private _search = h('input', { type: 'search', class: 'aiinfra-EndpointPage-search' });
  private _found = h('span', { class: 'aiinfra-EndpointPage-quiet', role: 'status' });
  private _emptyText = h('span', { role: 'status' });
  private _back: HTMLButtonElement;
  private _empty = h('div', { class: 'aiinfra-EndpointPage-empty', hidden: '' });
  private _panel = h('div', {
    class: 'aiinfra-EndpointPage-panel',
    role: 'tabpanel',
    tabindex: '0'
  });
  private _overview = h('div');
  /** The endpoint that is drawn; `null`: the list. */
  private _shown: string | null = null;
  private _isPressed = false;
  private _isOn = false;
  private _frame = 0;
}
