/** The buttons above a job's page. What they do is done by commands of other plugins. */

import type { TranslationBundle } from '@jupyterlab/translation';
import {
  addIcon,
  closeIcon,
  copyIcon,
  launchIcon,
  refreshIcon,
  stopIcon,
  ToolbarButton,
  type LabIcon
} from '@jupyterlab/ui-components';
import type { CommandRegistry } from '@lumino/commands';
import type { ISignal } from '@lumino/signaling';
import type { Widget } from '@lumino/widgets';

import { isActive } from '../jobstate';
import { CommandIDs } from '../tokens';
import { copyText } from '../widgets/dom';
import type { JobPageModel } from './pagemodel';

/** What is used of a toolbar. */
export interface IToolbar {
  addItem(name: string, widget: Widget): boolean;
  readonly disposed: ISignal<unknown, void>;
}

interface IButton {
  name: string;
  label: string;
  tooltip: string;
  icon: LabIcon;
  onClick: () => void;
  enabled: () => boolean;
}

/** Fill a toolbar for a job; the buttons are kept true to what is known of it. */
export function fillToolbar(
  toolbar: IToolbar,
  context: { model: JobPageModel; commands: CommandRegistry; trans: TranslationBundle }
): void {
  const { model, commands } = context;
  const buttons = jobButtons(context).map(({ name, enabled, ...props }) => {
    const button = new ToolbarButton({ ...props, enabled: enabled() });
    toolbar.addItem(name, button);
    return { button, enabled };
  });
  const update = (): void => {
    buttons.forEach(({ button, enabled }) => (button.enabled = enabled()));
  };
  model.changed.connect(update);
  commands.commandChanged.connect(update);
  toolbar.disposed.connect(() => {
    model.changed.disconnect(update);
    commands.commandChanged.disconnect(update);
  });
}

function jobButtons({
  model,
  commands,
  trans
}: {
  model: JobPageModel;
  commands: CommandRegistry;
  trans: TranslationBundle;
}): IButton[] {
  const args = { id: model.id };
  const does = (command: string): { onClick: () => void; enabled: () => boolean } => ({
    onClick: () => void commands.execute(command, args),
    enabled: () => !model.gone && commands.hasCommand(command) && commands.isEnabled(command, args)
  });
  const over = (): boolean => model.detail !== null && !isActive(model.detail.item);
  const cancel = does(CommandIDs.cancelJob);
  const remove = does(CommandIDs.removeJob);
  return [
    {
      name: 'cancel',
      label: trans.__('Cancel'),
      tooltip: trans.__('Stop the job; also while the kernel is busy'),
      icon: stopIcon,
      ...cancel,
      enabled: () => !over() && model.detail?.item.desired !== 'stop' && cancel.enabled()
    },
    {
      name: 'rerun',
      label: trans.__('Run again'),
      tooltip: trans.__('Launch a new job with the same code, data and options'),
      icon: refreshIcon,
      ...does(CommandIDs.rerunJob)
    },
    {
      name: 'remove',
      label: trans.__('Remove'),
      tooltip: trans.__('Remove the job with its logs and files, once it is over'),
      icon: closeIcon,
      ...remove,
      enabled: () => over() && remove.enabled()
    },
    {
      name: 'insert',
      label: trans.__('Insert as cell'),
      tooltip: trans.__('Insert what this job ran below the active cell of the active notebook'),
      icon: addIcon,
      ...does(CommandIDs.insertCell)
    },
    {
      name: 'tracking',
      label: trans.__('MLflow run'),
      tooltip: trans.__('Open the run of this job in MLflow, in a new tab'),
      icon: launchIcon,
      onClick: () => openAddress(model.detail?.tracking_url ?? null),
      enabled: () => isWebAddress(model.detail?.tracking_url ?? null)
    },
    {
      name: 'copy-id',
      label: trans.__('Copy id'),
      tooltip: trans.__('Copy the id of the job: %1', model.id),
      icon: copyIcon,
      onClick: () => void copyText(model.id),
      enabled: () => true
    }
  ];
}

/** Only what a browser fetches: an address may come out of a database that others write, too. */
export function isWebAddress(address: string | null): address is string {
  return address !== null && /^https?:\/\//i.test(address);
}

function openAddress(address: string | null): void {
  if (isWebAddress(address)) {
    window.open(address, '_blank', 'noopener,noreferrer');
  }
}
