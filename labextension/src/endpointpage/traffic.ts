/** Which part of the requests each version gets, divided by sliders. */

import type { TranslationBundle } from '@jupyterlab/translation';

import type { EndpointItem } from '../api/types';
import { telling } from '../telling';
import type { IEndpointsModel } from '../tokens';
import { h } from '../widgets/dom';
import { button, quiet, swatch } from './parts';
import { moved, rounded } from './shares';
import { percentText, percentsOf } from './words';

export interface ITrafficOptions {
  endpoints: IEndpointsModel;
  trans: TranslationBundle;
}

interface IRow {
  number: number;
  slider: HTMLInputElement;
  said: HTMLOutputElement;
}

/** What is moved and not yet asked for stays as it was moved, whatever the server tells. */
export class Traffic {
  constructor(options: ITrafficOptions) {
    this._options = options;
    const { trans } = options;
    this._send = button(trans.__('Divide'), {
      kind: 'main',
      title: trans.__('Divide the requests like this from now on'),
      onClick: () => void this._divide()
    });
    this._back = button(trans.__('Reset'), { onClick: () => this._reset() });
    const foot = h('div', { class: 'aiinfra-EndpointPage-row' }, this._send, this._back);
    this.node.append(h('h3', {}, trans.__('Traffic')), this._rows, this._note, foot);
    this._foot = foot;
  }

  readonly node = h('section', { class: 'aiinfra-EndpointPage-part' });

  update(item: EndpointItem): void {
    const percents = percentsOf(item);
    const numbers = item.versions
      .filter(({ number, wanted, state }) =>
        percents.has(number) ? true : wanted > 0 && state === 'ready' && number !== item.shadow
      )
      .map(({ number }) => number);
    const key = JSON.stringify([item.id, numbers]);
    const isOther = key !== this._key;
    this._item = item;
    if (isOther) {
      this._key = key;
      this._draft = null;
      this._drawn = numbers.map(number => this._row(number));
      this._rows.replaceChildren(...this._drawn.map(row => this._nodeOf(row)));
    }
    this._told = numbers.map(number => percents.get(number) ?? 0);
    this._draw();
  }

  private get _isFixed(): boolean {
    return this._drawn.length < 2 || this._item?.rollout !== null;
  }

  private _row(number: number): IRow {
    const { trans } = this._options;
    const slider = h('input', { type: 'range', min: '0', max: '100', step: '1' });
    slider.setAttribute('aria-label', trans.__('Part of version %1 in percent', number));
    const row = { number, slider, said: h('output') };
    slider.addEventListener('input', () => {
      const at = this._drawn.indexOf(row);
      const before = this._draft ?? rounded(this._told);
      this._draft = moved(before, at, Number(slider.value));
      this._draw();
    });
    return row;
  }

  private _nodeOf({ number, slider, said }: IRow): HTMLElement {
    const { trans } = this._options;
    return h(
      'div',
      { class: 'aiinfra-EndpointPage-share' },
      h('span', {}, swatch(number), trans.__('Version %1', number)),
      slider,
      said
    );
  }

  private _draw(): void {
    const { trans } = this._options;
    const shown = this._draft ?? this._told;
    this._drawn.forEach(({ slider, said }, place) => {
      const part = shown[place] ?? 0;
      const value = String(Math.round(part));
      if (slider.value !== value) {
        slider.value = value;
      }
      slider.disabled = this._isFixed;
      const text = percentText(part);
      slider.setAttribute('aria-valuetext', text);
      if (said.value !== text) {
        said.value = text;
      }
    });
    const text =
      this._drawn.length < 2
        ? trans.__('Only one version runs: it gets all requests.')
        : this._item?.rollout !== null
          ? trans.__('A change is under way and divides them: promote it or roll it back first.')
          : '';
    if (this._note.textContent !== text) {
      this._note.textContent = text;
    }
    this._note.hidden = text === '';
    this._foot.hidden = this._isFixed;
    const isSame = this._draft === null || this._draft.join() === rounded(this._told).join();
    this._send.disabled = isSame || this._isSending;
    this._back.disabled = isSame || this._isSending;
  }

  private _reset(): void {
    this._draft = null;
    this._draw();
  }

  private async _divide(): Promise<void> {
    const { endpoints, trans } = this._options;
    const [item, draft] = [this._item, this._draft];
    if (item === null || draft === null) {
      return;
    }
    // Versions that are asked by header only stay in what is sent: they would lose that.
    const byHeader = item.traffic.filter(({ weight, header }) => weight === 0 && header !== null);
    const weights = Object.fromEntries([
      ...byHeader.map(({ version }) => [version, 0] as const),
      ...this._drawn.map(({ number }, place) => [number, draft[place] ?? 0] as const)
    ]);
    this._isSending = true;
    this._draw();
    const title = trans.__('The traffic was not divided');
    const answer = await telling(title, trans, () => endpoints.split(item.id, weights));
    this._isSending = false;
    if (answer === null || this._item?.id !== item.id) {
      this._draw();
      return;
    }
    if (this._draft === draft) {
      this._draft = null;
    }
    this.update(answer);
  }

  private _options: ITrafficOptions;
  private _item: EndpointItem | null = null;
  private _key = '';
  private _drawn: IRow[] = [];
  /** In percent, as the server tells. */
  private _told: number[] = [];
  private _draft: number[] | null = null;
  private _isSending = false;
  private _rows = h('div', { class: 'aiinfra-EndpointPage-shares' });
  private _note = quiet('');
  private _foot: HTMLElement;
  private _send: HTMLButtonElement;
  private _back: HTMLButtonElement;
}
