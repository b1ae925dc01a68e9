/** Our own icons. Their colours are classes of JupyterLab's icons, which follow the theme. */

import { LabIcon } from '@jupyterlab/ui-components';

const PINS =
  'M8 2h2v3H8zm6 0h2v3h-2zM8 19h2v3H8zm6 0h2v3h-2zM2 8h3v2H2zm0 6h3v2H2zm17-6h3v2h-3zm0 6h3v2h-3z';
const BOARD =
  'M7 5h10a2 2 0 0 1 2 2v10a2 2 0 0 1-2 2H7a2 2 0 0 1-2-2V7a2 2 0 0 1 2-2zm0 2v10h10V7z';
const BARS = 'M8.5 12h1.8v3.5H8.5zm2.6-3.5h1.8v7h-1.8zm2.6 2h1.8v5h-1.8z';

/** A processor with a chart on it; the settings editor finds it by its name. */
export const panelIcon = new LabIcon({
  name: 'aiinfra:panel',
  svgstr: `<svg xmlns="http://www.w3.org/2000/svg" width="16" viewBox="0 0 24 24"><path class="jp-icon3 jp-icon-selectable" fill="#616161" fill-rule="evenodd" d="${PINS}${BOARD}${BARS}"/></svg>`
});

/** A triangle with an exclamation mark: there, but not as it should be. */
export const warningIcon = new LabIcon({
  name: 'aiinfra:warning',
  svgstr: `<svg xmlns="http://www.w3.org/2000/svg" width="16" viewBox="0 0 24 24"><path class="jp-icon3 jp-icon-selectable" fill="#616161" d="M1 21h22L12 2 1 21zm12-3h-2v-2h2v2zm0-4h-2v-4h2v4z"/></svg>`
});

const COIN =
  'M12 2a10 10 0 1 0 0 20 10 10 0 0 0 0-20zm0 2a8 8 0 1 1 0 16 8 8 0 0 1 0-16zm-.9 2.5v1.4c-1.5.3-2.5 1.3-2.5 2.6 0 1.6 1.3 2.2 3 2.6 1.5.4 2 .8 2 1.5 0 .7-.7 1.2-1.7 1.2s-1.8-.5-1.9-1.5H8.3c.1 1.6 1.2 2.6 2.8 2.9v1.3h1.7v-1.3c1.6-.3 2.7-1.2 2.7-2.7 0-1.8-1.5-2.4-3.1-2.8-1.4-.3-1.9-.7-1.9-1.3 0-.7.6-1.1 1.5-1.1s1.5.5 1.6 1.3h1.7c-.1-1.4-1-2.4-2.5-2.7V6.5z';

/** A coin: what it costs. */
export const costIcon = new LabIcon({
  name: 'aiinfra:cost',
  svgstr: `<svg xmlns="http://www.w3.org/2000/svg" width="16" viewBox="0 0 24 24"><path class="jp-icon3 jp-icon-selectable" fill="#616161" fill-rule="evenodd" d="${COIN}"/></svg>`
});

const DIAL =
  'M12 2a10 10 0 1 0 10 10A10 10 0 0 0 12 2zm0 18a8 8 0 1 1 8-8 8 8 0 0 1-8 8zm.8-13h-1.6v5.6l4.5 2.7.8-1.3-3.7-2.2z';

/** A clock: what runs by itself. */
export const scheduleIcon = new LabIcon({
  name: 'aiinfra:schedule',
  svgstr: `<svg xmlns="http://www.w3.org/2000/svg" width="16" viewBox="0 0 24 24"><path class="jp-icon3 jp-icon-selectable" fill="#616161" d="${DIAL}"/></svg>`
});

const SENDER =
  'M12 9a3 3 0 1 0 0 6 3 3 0 0 0 0-6zM7 7 5.6 5.6a9 9 0 0 0 0 12.8L7 17a7 7 0 0 1 0-10zm10 0 1.4-1.4a9 9 0 0 1 0 12.8L17 17a7 7 0 0 0 0-10z';

/** What answers whoever asks: an endpoint. */
export const endpointIcon = new LabIcon({
  name: 'aiinfra:endpoint',
  svgstr: `<svg xmlns="http://www.w3.org/2000/svg" width="16" viewBox="0 0 24 24"><path class="jp-icon3 jp-icon-selectable" fill="#616161" d="${SENDER}"/></svg>`
});
