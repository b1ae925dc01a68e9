/** The versions of a schedule, what differs between two of them, and going back to one. */

import type { TranslationBundle } from '@jupyterlab/translation';

import type { ScheduleItem, VersionItem } from '../api/types';
import { fill, note } from '../jobpage/sections';
import { timeText } from '../jobpage/timeline';
import type { VersionDiff } from '../models/schedulewire';
import { differencesNode, linesNode } from '../runpage/compare';
import { telling } from '../telling';
import type { IAiInfraApi, ISchedulesModel } from '../tokens';
import { h } from '../widgets/dom';
import { fileName } from './words';

export interface IVersionsOptions {
  api: Pick<IAiInfraApi, 'schedule' | 'versionDiff'>;
  schedules: ISchedulesModel;
  trans: TranslationBundle;
}

export class Versions {
  constructor(options: IVersionsOptions) {
    this._options = options;
    this.node.setAttribute('aria-label', options.trans.__('Versions'));
  }

  readonly node = h('div', {
    class: 'aiinfra-SchedulePage-versions',
    tabindex: '0',
    role: 'region'
  });

  /** Show the versions of this schedule; they are asked for when there is another. */
  update(schedule: ScheduleItem | null): void {
    const key = schedule === null ? '' : `${schedule.id} ${schedule.version.number}`;
    if (key !== this._shown) {
      this._shown = key;
      if (schedule !== null) {
        void fill(this.node, () => this._ask(schedule.id), this._options.trans);
      }
    }
  }

  private async _ask(id: string): Promise<HTMLElement> {
    const { api, trans } = this._options;
    const { versions } = await api.schedule(id);
    const [newest] = versions;
    if (newest === undefined) {
      return note(trans.__('There is no version.'));
    }
    const diff = h('div', { class: 'aiinfra-SchedulePage-diff' });
    const [from, to] = [this._select(versions), this._select(versions)];
    from.setAttribute('aria-label', trans.__('From version'));
    to.setAttribute('aria-label', trans.__('To version'));
    to.value = String(newest.number);
    from.value = String(versions[1]?.number ?? newest.number);
    const show = (): void => {
      const numbers = [Number(from.value), Number(to.value)] as const;
      if (numbers[0] === numbers[1]) {
        diff.replaceChildren(note(trans.__('Choose two versions to see what differs.')));
        return;
      }
      const ask = async (): Promise<HTMLElement> =>
        versionDiffNode(await api.versionDiff(id, ...numbers), trans);
      void fill(diff, ask, trans);
    };
    from.addEventListener('change', show);
    to.addEventListener('change', show);
    const rows = versions.map((version, place) =>
      this._row(id, version, {
        isNewest: version === newest,
        onShow: () => {
          to.value = String(version.number);
          from.value = String(versions[place + 1]?.number ?? version.number);
          show();
        }
      })
    );
    const head = [
      trans.__('Version'),
      trans.__('Made'),
      trans.__('By'),
      trans.__('Notebook'),
      trans.__('Note'),
      ''
    ];
    show();
    return h(
      'div',
      {},
      h(
        'table',
        { class: 'aiinfra-SchedulePage-table' },
        h('thead', {}, h('tr', {}, ...head.map(name => h('th', { scope: 'col' }, name)))),
        h('tbody', {}, ...rows)
      ),
      h(
        'p',
        { class: 'aiinfra-SchedulePage-between' },
        trans.__('What differs from version'),
        from,
        trans.__('to'),
        to
      ),
      diff
    );
  }

  private _select(versions: readonly VersionItem[]): HTMLSelectElement {
    const select = h('select', { class: 'aiinfra-SchedulePage-select' });
    select.append(
      ...versions.map(({ number }) => h('option', { value: String(number) }, String(number)))
    );
    return select;
  }

  private _row(
    id: string,
    version: VersionItem,
    { isNewest, onShow }: { isNewest: boolean; onShow: () => void }
  ): HTMLElement {
    const { trans, schedules } = this._options;
    const { number, created_at: at, created_by: by, notebook, note: text } = version;
    const show = button(trans.__('What changed'), onShow);
    show.setAttribute('aria-label', trans.__('What changed in version %1', number));
    const title = trans.__('The version was not put back');
    const back = button(
      trans.__('Roll back'),
      () => void telling(title, trans, () => schedules.rollback(id, number))
    );
    back.setAttribute('aria-label', trans.__('Roll back to version %1', number));
    back.title = trans.__('Run version %1 once more, as a new version', number);
    const file = h('td', { title: notebook }, fileName(notebook));
    const last = h('td', {}, show);
    if (isNewest) {
      last.append(h('span', { class: 'aiinfra-SchedulePage-quiet' }, trans.__('runs now')));
    } else {
      last.append(back);
    }
    return h(
      'tr',
      {},
      h('th', { scope: 'row' }, String(number)),
      h('td', {}, timeText(at)),
      h('td', {}, by ?? trans.__('unknown')),
      file,
      h('td', {}, text),
      last
    );
  }

  private _options: IVersionsOptions;
  private _shown = '';
}

export function versionDiffNode(
  { cells, fields, files }: VersionDiff,
  trans: TranslationBundle
): HTMLElement {
  if (cells.length === 0 && fields.length === 0 && files.length === 0) {
    return note(trans.__('Nothing differs.'));
  }
  const words = {
    added: trans.__('added'),
    removed: trans.__('removed'),
    changed: trans.__('changed')
  };
  const parts: HTMLElement[] = [];
  if (fields.length > 0) {
    parts.push(h('h3', {}, trans.__('What is set')), differencesNode(fields, trans));
  }
  for (const { index, kind, lines } of cells) {
    parts.push(
      h('h3', {}, trans.__('Cell %1: %2', index + 1, words[kind])),
      linesNode(lines.map(({ op, text }) => ({ op, text: text.replace(/\n$/, '') })))
    );
  }
  if (files.length > 0) {
    const items = files.map(({ path, kind }) =>
      h('li', {}, `${path}: ${kind in words ? words[kind] : kind}`)
    );
    parts.push(h('h3', {}, trans.__('Files')), h('ul', {}, ...items));
  }
  return h('div', { class: 'aiinfra-Diff' }, ...parts);
}

function button(label: string, onClick: () => void): HTMLButtonElement {
  const made = h('button', { type: 'button', class: 'aiinfra-SchedulePage-button' }, label);
  made.addEventListener('click', onClick);
  return made;
}
