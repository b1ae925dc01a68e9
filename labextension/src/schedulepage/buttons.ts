/** Small buttons of rows, and the menu behind the last of them. */

import type { LabIcon } from '@jupyterlab/ui-components';
import { ellipsesIcon } from '@jupyterlab/ui-components';
import type { CommandRegistry } from '@lumino/commands';
import type { ReadonlyJSONObject } from '@lumino/coreutils';
import { Menu } from '@lumino/widgets';

import { h } from '../widgets/dom';

export interface IMenuItem {
  command: string;
  args: ReadonlyJSONObject;
}

export function iconButton(
  icon: LabIcon,
  label: string,
  { name, onClick, isEnabled = true }: { name: string; onClick: () => void; isEnabled?: boolean }
): HTMLButtonElement {
  const button = h('button', {
    type: 'button',
    class: 'aiinfra-SchedulePage-icon',
    title: label,
    'aria-label': label,
    'data-focus': name
  });
  button.append(icon.element({ tag: 'span', width: '16px', height: '16px' }));
  button.disabled = !isEnabled;
  button.addEventListener('click', onClick);
  return button;
}

/** A button that opens a menu of commands; those that are not there are left out. */
export function menuButton(
  label: string,
  items: readonly IMenuItem[],
  commands: CommandRegistry
): HTMLButtonElement {
  const button = iconButton(ellipsesIcon, label, {
    name: 'menu',
    onClick: () => {
      const menu = new Menu({ commands });
      for (const { command, args } of items) {
        if (commands.hasCommand(command)) {
          menu.addItem({ command, args });
        }
      }
      menu.aboutToClose.connect(() => {
        button.focus();
        // The command of what was chosen is executed after this.
        requestAnimationFrame(() => menu.dispose());
      });
      const { left, bottom } = button.getBoundingClientRect();
      menu.open(left, bottom);
    }
  });
  button.setAttribute('aria-haspopup', 'menu');
  return button;
}
