/** Makes a run's page; loaded with all it needs when the first one is opened. */

import { MainAreaWidget } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import {
  closeIcon,
  copyIcon,
  editIcon,
  refreshIcon,
  stopIcon,
  ToolbarButton,
  type LabIcon
} from '@jupyterlab/ui-components';
import type { CommandRegistry } from '@lumino/commands';

import { scheduleIcon } from '../icons';
import { isRunActive } from '../models/runwords';
import { CommandIDs } from '../tokens';
import { copyText } from '../widgets/dom';
import { RunPage, type IRunPageOptions } from './page';

export function createRunPage(
  options: Omit<IRunPageOptions, 'openJob' | 'openSchedule' | 'openGpus' | 'openCost'> & {
    commands: CommandRegistry;
  }
): MainAreaWidget<RunPage> {
  const { commands } = options;
  const content = new RunPage({
    ...options,
    openJob: id => void commands.execute(CommandIDs.openJob, { id }),
    openSchedule: schedule => void commands.execute(CommandIDs.openSchedules, { schedule }),
    openGpus: job => void commands.execute(CommandIDs.openGpus, { job }),
    openCost: job => void commands.execute(CommandIDs.openCost, { job })
  });
  content.title.icon = scheduleIcon;
  content.title.closable = true;
  const widget = new MainAreaWidget({ content });
  widget.id = runPageId(options.id);
  fillToolbar(widget, options);
  return widget;
}

/** The id of the page of a run; there is one page a run. */
export function runPageId(run: string): string {
  return `aiinfra-run-${run}`;
}

interface IButton {
  name: string;
  label: string;
  tooltip: string;
  icon: LabIcon;
  onClick: () => void;
  enabled: () => boolean;
}

function fillToolbar(
  widget: MainAreaWidget<RunPage>,
  context: { commands: CommandRegistry; trans: TranslationBundle }
): void {
  const { model } = widget.content;
  const { commands } = context;
  const buttons = runButtons(widget.content, context).map(({ name, enabled, ...props }) => {
    const button = new ToolbarButton({ ...props, enabled: enabled() });
    widget.toolbar.addItem(name, button);
    return { button, enabled };
  });
  const update = (): void => {
    buttons.forEach(({ button, enabled }) => (button.enabled = enabled()));
  };
  model.changed.connect(update);
  commands.commandChanged.connect(update);
  widget.disposed.connect(() => commands.commandChanged.disconnect(update));
}

function runButtons(
  { model }: RunPage,
  { commands, trans }: { commands: CommandRegistry; trans: TranslationBundle }
): IButton[] {
  const does = (
    command: string,
    idOf: () => string | undefined
  ): { onClick: () => void; enabled: () => boolean } => ({
    onClick: () => void commands.execute(command, { id: idOf() }),
    enabled: () => !model.gone && idOf() !== undefined && commands.hasCommand(command)
  });
  const isActive = (): boolean => model.run !== null && isRunActive(model.run);
  const own = (): string => model.id;
  const edit = does(CommandIDs.editSchedule, () => model.run?.schedule);
  return [
    {
      name: 'cancel',
      label: trans.__('Cancel'),
      tooltip: trans.__('Stop the run; what it has shown is kept'),
      icon: stopIcon,
      ...does(CommandIDs.cancelRun, own),
      enabled: () => isActive() && model.run?.stopping === false
    },
    {
      name: 'rerun',
      label: trans.__('Run again'),
      tooltip: trans.__('Run the same version with the same values once more'),
      icon: refreshIcon,
      ...does(CommandIDs.rerunRun, own)
    },
    {
      name: 'edit',
      label: trans.__('Edit schedule…'),
      tooltip: trans.__('Make a new version of its schedule'),
      icon: editIcon,
      ...edit
    },
    {
      name: 'remove',
      label: trans.__('Delete'),
      tooltip: trans.__('Delete the run from the record, once it is over'),
      icon: closeIcon,
      ...does(CommandIDs.removeRun, own),
      enabled: () => model.run !== null && !isActive() && !model.gone
    },
    {
      name: 'copy-id',
      label: trans.__('Copy id'),
      tooltip: trans.__('Copy the id of the run: %1', model.id),
      icon: copyIcon,
      onClick: () => void copyText(model.id),
      enabled: () => true
    }
  ];
}
