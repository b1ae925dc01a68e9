/** What becomes of what was deployed, in a dialog; closing it changes nothing. */

import { Dialog, showDialog } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { Message } from '@lumino/messaging';
import { Widget } from '@lumino/widgets';

import { Redrawn } from '../costpage/redraw';
import { copyButton, quiet } from '../endpointpage/parts';
import type { IEndpointsModel } from '../tokens';
import { h } from '../widgets/dom';
import type { IDeployed } from './draft';
import { isOver, stepsOf, type IStep } from './steps';

export interface IProgressOptions {
  deployed: IDeployed;
  /** Watched as long as the dialog is open. */
  endpoints: IEndpointsModel;
  trans: TranslationBundle;
}

/** Show it; whether its page is wanted. */
export async function showProgress(options: IProgressOptions): Promise<boolean> {
  const { deployed, trans } = options;
  const { name } = deployed.item;
  const watching = options.endpoints.watch();
  try {
    const { button } = await showDialog({
      title:
        deployed.number === 1
          ? trans.__('“%1” is deployed', name)
          : trans.__('Version %2 of “%1”', name, deployed.number),
      body: new Progress(options),
      hasClose: true,
      buttons: [
        Dialog.cancelButton({ label: trans.__('Close') }),
        Dialog.okButton({ label: trans.__('Open the endpoint') })
      ]
    });
    return button.accept;
  } finally {
    watching.dispose();
  }
}

class Progress extends Widget {
  constructor(options: IProgressOptions) {
    super();
    this._options = options;
    this.addClass('aiinfra-DeployProgress');
    const { trans } = options;
    this._list.setAttribute('aria-label', trans.__('What becomes of it'));
    this.node.append(this._url, this._list);
    this._update();
    options.endpoints.changed.connect(this._update);
  }

  protected override onAfterAttach(_message: Message): void {
    // Not before: what a dialog is made with it gives a look of its own.
    this.node.append(this._key(this._options.deployed));
  }

  override dispose(): void {
    this._options.endpoints.changed.disconnect(this._update);
    super.dispose();
  }

  private _update = (): void => {
    const { deployed, endpoints, trans } = this._options;
    const item = endpoints.find(deployed.item.id) ?? deployed.item;
    const steps = stepsOf(item, deployed.number, trans);
    const packaged = deployed.isReplayed
      ? trans.__('Packaged, and held against the calls that were recorded')
      : trans.__('Packaged, and not held against the calls that were recorded');
    const registered = deployed.said.filter(line => /registered/.test(line)).join(' ');
    const all = [
      { name: 'package', state: 'done', text: packaged, why: registered },
      ...steps
    ] as const;
    this._listDrawn.draw(JSON.stringify(all), () => all.map(step => row(step, trans)));
    this._list.setAttribute('aria-busy', String(!isOver(steps)));
    const { url } = item;
    this._urlDrawn.draw(url ?? '', () =>
      url === null
        ? [quiet(trans.__('no address yet'))]
        : [
            h('code', { class: 'aiinfra-EndpointPage-url' }, url),
            copyButton(() => url, trans.__('Copy the address'), trans)
          ]
    );
  };

  /** A key is in this dialog and nowhere else. */
  private _key({ secret, keyProblem }: IDeployed): HTMLElement {
    const { trans } = this._options;
    const place = h('div', { class: 'aiinfra-DeployProgress-key' });
    if (secret !== null) {
      place.append(
        h('p', {}, trans.__('Its key, shown this once: nobody may call without one.')),
        h('code', {}, secret),
        copyButton(() => secret, trans.__('Copy the key'), trans)
      );
    } else if (keyProblem !== null) {
      const said = [keyProblem.message, keyProblem.hint].filter(Boolean).join('. ');
      const text = trans.__('There is no key yet, and whoever reaches it may call it: %1', said);
      place.append(h('p', { class: 'aiinfra-Form-problem', role: 'alert' }, text));
    } else {
      place.hidden = true;
    }
    return place;
  }

  private _options: IProgressOptions;
  private _url = h('div', { class: 'aiinfra-DeployProgress-url' });
  private _list = h('ol', { class: 'aiinfra-DeployProgress-steps', role: 'list' });
  private _listDrawn = new Redrawn(this._list);
  private _urlDrawn = new Redrawn(this._url);
}

function row(
  { state, text, why }: Pick<IStep, 'state' | 'text' | 'why'>,
  trans: TranslationBundle
): HTMLElement {
  const words = {
    done: trans.__('done'),
    now: trans.__('under way'),
    'to come': trans.__('to come'),
    failed: trans.__('failed')
  };
  const node = h(
    'li',
    { 'data-state': state },
    h('span', {}, text),
    h('span', { class: 'aiinfra-Table-unseen' }, `: ${words[state]}`)
  );
  if (why !== '') {
    node.append(h('span', { class: 'aiinfra-DeployProgress-why' }, why));
  }
  if (state === 'now') {
    node.setAttribute('aria-current', 'step');
  }
  return node;
}
