import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { Signal, type ISignal } from '@lumino/signaling';

import { IAiInfraSettings, type ISettingValues } from '../tokens';

/** As in `schema/settings.json`; a test compares them. */
export const DEFAULTS: Readonly<ISettingValues> = {
  notifyWhenDone: true,
  notifyOfBudgets: true,
  notifyOfRuns: 'failures',
  notifyInBrowser: 'when hidden',
  showStatusBar: true,
  showGpusInStatusBar: true,
  showCostInStatusBar: true,
  followLog: true,
  wrapLines: false,
  cellToolbar: true,
  lintLaunchLine: true
};

/** The settings, the keyboard shortcuts beside them, and a typed reader of both's values. */
const plugin: JupyterFrontEndPlugin<IAiInfraSettings> = {
  id: 'jupyter-aiinfra:settings',
  description: 'Provides the settings of AI Infra.',
  autoStart: true,
  provides: IAiInfraSettings,
  optional: [ISettingRegistry],
  // Settings are loaded in the background: nothing of JupyterLab's start waits for them.
  activate: (_app: JupyterFrontEnd, registry: ISettingRegistry | null): IAiInfraSettings =>
    new Settings(registry, plugin.id)
};

class Settings implements IAiInfraSettings {
  readonly ready: Promise<void>;

  constructor(registry: ISettingRegistry | null, id: string) {
    this.ready = registry === null ? Promise.resolve() : this._load(registry, id);
  }

  get changed(): ISignal<IAiInfraSettings, void> {
    return this._changed;
  }

  get<K extends keyof ISettingValues>(key: K): ISettingValues[K] {
    return this._values[key];
  }

  private async _load(registry: ISettingRegistry, id: string): Promise<void> {
    let loaded: ISettingRegistry.ISettings;
    try {
      loaded = await registry.load(id);
    } catch {
      // A schema that is not installed, or a settings service that is down: JupyterLab reports
      // both by itself, and the defaults serve.
      return;
    }
    const take = (): void => {
      // The registry has held the values against the schema.
      this._values = { ...DEFAULTS, ...(loaded.composite as Partial<ISettingValues>) };
      this._changed.emit();
    };
    take();
    loaded.changed.connect(take);
  }

  private _values: ISettingValues = { ...DEFAULTS };
  private _changed = new Signal<IAiInfraSettings, void>(this);
}

export default plugin;
