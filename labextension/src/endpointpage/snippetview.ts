/** What to write elsewhere to send the same request, in some languages. */

import type { TranslationBundle } from '@jupyterlab/translation';

import type { EndpointItem } from '../api/types';
import { Redrawn } from '../costpage/redraw';
import type { IAiInfraApi } from '../tokens';
import { h } from '../widgets/dom';
import { button, copyButton, quiet } from './parts';
import { snippet, type ICall } from './snippets';
import { LANGUAGES, WAYS, type IView, type Language, type Way } from './view';

export interface ISnippetViewOptions {
  api: Pick<IAiInfraApi, 'endpointUrl'>;
  trans: TranslationBundle;
  show: (change: Partial<IView>) => void;
}

const LANGUAGE_NAMES: Readonly<Record<Language, string>> = {
  curl: 'curl',
  python: 'Python',
  javascript: 'JavaScript'
};

export class SnippetView {
  constructor(options: ISnippetViewOptions) {
    this._options = options;
  }

  readonly node = h('section', { class: 'aiinfra-EndpointPage-part' });

  /** Show how to send this; `null` is no request, and what was shown stays. */
  update(item: EndpointItem, { language, way }: IView, body: string | null): void {
    this._text = body ?? this._text;
    if (this._text === null) {
      return;
    }
    const text = snippet(language, this._call(item, way, this._text));
    const key = keyOf(item, way);
    this._redrawn.draw(JSON.stringify([text, language, way, key]), () =>
      this._make(text, { language, way, key })
    );
  }

  private _call(item: EndpointItem, way: Way, body: string): ICall {
    const { name, url } = item;
    const isThrough = way === 'jupyter' || url === null;
    const address = isThrough ? this._options.api.endpointUrl(name, 'predict') : `${url}/predict`;
    return { url: address, body, key: keyOf(item, way) };
  }

  private _make(
    text: string,
    { language, way, key }: { language: Language; way: Way; key: ICall['key'] }
  ): HTMLElement[] {
    const { trans, show } = this._options;
    const wayNames: Record<Way, string> = {
      direct: trans.__('At its address'),
      jupyter: trans.__('Through Jupyter')
    };
    const languages = LANGUAGES.map(each =>
      toggle(LANGUAGE_NAMES[each], each === language, () => show({ language: each }))
    );
    const ways = WAYS.map(each => toggle(wayNames[each], each === way, () => show({ way: each })));
    const label = trans.__('Call from %1', LANGUAGE_NAMES[language]);
    const pre = h('pre', { tabindex: '0', role: 'region', 'aria-label': label }, text);
    pre.dataset['focus'] = 'snippet';
    const note =
      key?.scheme === 'token'
        ? trans.__('JUPYTER_TOKEN is the token of this Jupyter server; no key is needed.')
        : key !== null
          ? trans.__('ENDPOINT_KEY is a key of this endpoint.')
          : '';
    return [
      h('h3', {}, trans.__('From elsewhere')),
      h(
        'div',
        { class: 'aiinfra-EndpointPage-row' },
        group(trans.__('Language'), languages),
        group(trans.__('Way'), ways),
        copyButton(() => text, trans.__('Copy the call'), trans)
      ),
      pre,
      ...(note === '' ? [] : [quiet(note)])
    ];
  }

  private _options: ISnippetViewOptions;
  private _text: string | null = null;
  private _redrawn = new Redrawn(this.node);
}

/** What authorizes a call; at an address that is not known yet it goes through Jupyter. */
function keyOf({ url, keys }: EndpointItem, way: Way): ICall['key'] {
  if (way === 'jupyter' || url === null) {
    return { scheme: 'token', variable: 'JUPYTER_TOKEN' };
  }
  // Once there was a key, nobody may call without one, also after the last is revoked.
  return keys.length > 0 ? { scheme: 'Bearer', variable: 'ENDPOINT_KEY' } : null;
}

function toggle(text: string, isOn: boolean, onClick: () => void): HTMLButtonElement {
  const node = button(text, { name: `toggle ${text}`, onClick });
  node.setAttribute('aria-pressed', String(isOn));
  return node;
}

function group(label: string, buttons: HTMLButtonElement[]): HTMLElement {
  const node = h('span', { class: 'aiinfra-EndpointPage-group', role: 'group' });
  node.setAttribute('aria-label', label);
  node.append(...buttons);
  return node;
}
