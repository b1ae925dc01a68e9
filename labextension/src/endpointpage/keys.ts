/** The keys of those who call an endpoint. What a new key is, is shown once and kept nowhere. */

import { Dialog, showDialog } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';

import type { EndpointItem, EndpointKey, EndpointSecret } from '../api/types';
import { momentText } from '../cost/jobline';
import { Redrawn } from '../costpage/redraw';
import { timeText } from '../jobpage/timeline';
import { telling } from '../telling';
import type { IEndpointsModel } from '../tokens';
import { h } from '../widgets/dom';
import { button, copyButton, quiet, table } from './parts';

const SCOPES = ['predict', 'metrics'] as const;

export interface IKeysOptions {
  endpoints: IEndpointsModel;
  trans: TranslationBundle;
}

export class Keys {
  constructor(options: IKeysOptions) {
    this._options = options;
    this.node.append(this._secret, this._list, this._form());
  }

  readonly node = h('div');

  update(item: EndpointItem): void {
    const { trans } = this._options;
    if (this._item?.id !== item.id) {
      this._hide();
    }
    this._item = item;
    const now = Date.now() / 1000;
    const keys = [...item.keys].sort((one, other) => other.created_at - one.created_at);
    const over = keys.map(key => isOver(key, now));
    this._redrawn.draw(JSON.stringify([item.id, keys, over]), () => {
      if (keys.length === 0) {
        return [
          quiet(
            trans.__(
              'Anybody who reaches its address may call it. With the first key, nobody may without one.'
            )
          )
        ];
      }
      const rows = keys.map(key => this._cells(key, now));
      return [table(trans.__('Keys'), this._heads(), rows)];
    });
  }

  private _heads(): { text: string; isNumber?: boolean; isUnseen?: boolean }[] {
    const { trans } = this._options;
    return [
      { text: trans.__('Key') },
      { text: trans.__('For') },
      { text: trans.__('A second at most'), isNumber: true },
      { text: trans.__('Made') },
      { text: trans.__('Holds') },
      { text: trans.__('What can be done'), isUnseen: true }
    ];
  }

  private _cells(key: EndpointKey, now: number): (Node | string)[] {
    const { trans } = this._options;
    const {
      id,
      name,
      scopes,
      per_second: most,
      created_at: at,
      created_by: by,
      ends_at: end
    } = key;
    const actions = h('span', { class: 'aiinfra-EndpointPage-row' });
    if (end === null) {
      const rotate = button(trans.__('Rotate'), {
        name: `rotate ${id}`,
        label: trans.__('Rotate %1', name),
        title: trans.__('Make a key in place of this one, which holds for an hour more'),
        onClick: () => void this._rotate(key)
      });
      actions.append(rotate);
    }
    if (!isOver(key, now)) {
      const revoke = button(trans.__('Revoke…'), {
        name: `revoke ${id}`,
        label: trans.__('Revoke %1', name),
        onClick: () => void this._revoke(key)
      });
      actions.append(revoke);
    }
    const holds =
      end === null
        ? trans.__('until it is revoked')
        : isOver(key, now)
          ? trans.__('no more')
          : trans.__('until %1', momentText(end));
    const title = h('span', { title: id }, name);
    const maker = by ?? trans.__('unknown');
    const who = h('span', { class: 'aiinfra-EndpointPage-who', title: maker }, maker);
    return [
      title,
      scopes.join(', '),
      most === null ? trans.__('any') : String(most),
      h('span', {}, `${timeText(at)} · `, who),
      holds,
      actions
    ];
  }

  private _form(): HTMLElement {
    const { trans } = this._options;
    const name = h('input', {
      ...{ type: 'text', required: '', maxlength: '63', pattern: '[a-z0-9\\-]+' },
      title: trans.__('Small letters, digits and -'),
      placeholder: trans.__('anna')
    });
    const most = h('input', {
      type: 'number',
      min: '0',
      step: 'any',
      placeholder: trans.__('any')
    });
    const scopes = SCOPES.map(scope => {
      const box = h('input', { type: 'checkbox', value: scope });
      box.checked = scope === 'predict';
      return box;
    });
    const labels = scopes.map(box => h('label', {}, box, box.value));
    const make = h(
      'button',
      { type: 'submit', class: 'aiinfra-EndpointPage-button aiinfra-mod-main' },
      trans.__('Make a key')
    );
    const form = h(
      'form',
      { class: 'aiinfra-EndpointPage-form', 'aria-label': trans.__('A new key') },
      h('label', {}, trans.__('Name'), name),
      h('label', {}, trans.__('A second at most'), most),
      h(
        'span',
        { class: 'aiinfra-EndpointPage-row', role: 'group', 'aria-label': trans.__('For') },
        ...labels
      ),
      make
    );
    form.addEventListener('submit', event => {
      event.preventDefault();
      const chosen = scopes.filter(({ checked }) => checked).map(({ value }) => value);
      make.disabled = true;
      void this._make(name.value, chosen, most.value).then(isMade => {
        make.disabled = false;
        if (isMade) {
          name.value = '';
        }
      });
    });
    return form;
  }

  private _make(name: string, scopes: string[], most: string): Promise<boolean> {
    const { endpoints, trans } = this._options;
    const { id } = this._item ?? { id: '' };
    const request = { name, scopes, per_second: most.trim() === '' ? null : Number(most) };
    return this._shown(trans.__('The key was not made'), id, () => endpoints.addKey(id, request));
  }

  private async _rotate({ id: key }: EndpointKey): Promise<void> {
    const { endpoints, trans } = this._options;
    const { id } = this._item ?? { id: '' };
    await this._shown(trans.__('The key was not rotated'), id, () => endpoints.rotateKey(id, key));
  }

  private async _revoke({ id: key, name }: EndpointKey): Promise<void> {
    const { endpoints, trans } = this._options;
    const { id } = this._item ?? { id: '' };
    const { button: pressed } = await showDialog({
      title: trans.__('Revoke “%1”?', name),
      body: trans.__('Who calls with this key is refused from now on. It cannot be had back.'),
      buttons: [
        Dialog.cancelButton({ label: trans.__('Cancel') }),
        Dialog.warnButton({ label: trans.__('Revoke') })
      ]
    });
    if (pressed.accept) {
      const title = trans.__('The key was not revoked');
      await telling(title, trans, () => endpoints.revokeKey(id, key));
    }
  }

  /** Do what makes a key, and show what it is, this once. */
  private async _shown(
    title: string,
    id: string,
    work: () => Promise<EndpointSecret>
  ): Promise<boolean> {
    const { trans } = this._options;
    const made = await telling(title, trans, work);
    // Of another endpoint by now, nobody would know whose key it is.
    if (made !== null && this._item?.id === id) {
      const { secret, key } = made;
      const text = h('code', { class: 'aiinfra-EndpointPage-url' }, secret);
      const hide = button(trans.__('Hide'), { onClick: () => this._hide() });
      this._secret.replaceChildren(
        h('p', {}, trans.__('The key of “%1”. Copy it now: it is not shown again.', key.name)),
        h(
          'div',
          { class: 'aiinfra-EndpointPage-row' },
          text,
          copyButton(() => secret, trans.__('Copy the key'), trans),
          hide
        )
      );
      this._secret.hidden = false;
    }
    return made !== null;
  }

  private _hide(): void {
    this._secret.replaceChildren();
    this._secret.hidden = true;
  }

  private _options: IKeysOptions;
  private _item: EndpointItem | null = null;
  private _secret = h('div', { class: 'aiinfra-EndpointPage-secret', role: 'alert', hidden: '' });
  private _list = h('div');
  private _redrawn = new Redrawn(this._list);
}

function isOver({ ends_at: end }: EndpointKey, now: number): boolean {
  return end !== null && end <= now;
}
