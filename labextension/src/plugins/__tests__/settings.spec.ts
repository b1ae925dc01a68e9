import type { JupyterFrontEnd } from '@jupyterlab/application';
import type { ISettingRegistry } from '@jupyterlab/settingregistry';
import { Signal } from '@lumino/signaling';
import { describe, expect, it, vi } from 'vitest';

import schema from '../../../schema/settings.json';
import type { IAiInfraSettings } from '../../tokens';
import plugin, { DEFAULTS } from '../settings';

const app = {} as JupyterFrontEnd;

function activate(registry: Partial<ISettingRegistry> | null): IAiInfraSettings {
  return plugin.activate(app, registry) as IAiInfraSettings;
}

describe('the settings', () => {
  it('have the defaults of their schema', () => {
    const defaults = Object.entries(schema.properties).map(([name, { default: value }]) => [
      name,
      value
    ]);

    expect(Object.fromEntries(defaults)).toEqual(DEFAULTS);
  });

  it('each say in the editor what they are', () => {
    for (const property of Object.values(schema.properties)) {
      expect(property.title).not.toBe('');
      expect(property.description).toMatch(/\.$/);
    }
  });

  it('are the defaults where nobody keeps settings', async () => {
    const settings = activate(null);

    await settings.ready;
    expect(settings.get('notifyInBrowser')).toBe('when hidden');
  });

  it('are the defaults where the schema is not installed', async () => {
    const settings = activate({ load: () => Promise.reject(new Error('no schema')) });

    await expect(settings.ready).resolves.toBeUndefined();
    expect(settings.get('wrapLines')).toBe(false);
  });

  it('are what the user has set, and say so when that changes', async () => {
    const loaded = { composite: { wrapLines: true } } as unknown as ISettingRegistry.ISettings & {
      changed: Signal<object, void>;
      composite: object;
    };
    Object.assign(loaded, { changed: new Signal<object, void>({}) });
    const load = vi.fn(() => Promise.resolve(loaded));
    const settings = activate({ load });
    const changed = vi.fn();
    settings.changed.connect(changed);

    expect(settings.get('wrapLines')).toBe(false);
    await settings.ready;
    expect(load).toHaveBeenCalledWith('jupyter-aiinfra:settings');
    expect(settings.get('wrapLines')).toBe(true);
    expect(settings.get('followLog')).toBe(true);

    Object.assign(loaded, { composite: { wrapLines: false } });
    loaded.changed.emit();
    expect(settings.get('wrapLines')).toBe(false);
    expect(changed).toHaveBeenCalledTimes(2);
  });
});
