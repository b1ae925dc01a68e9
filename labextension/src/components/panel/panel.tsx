/** The sidebar: what is said above its sections, and the sections. */

import type { ITranslator, TranslationBundle } from '@jupyterlab/translation';
import { CommandToolbarButton, ReactWidget, SidePanel } from '@jupyterlab/ui-components';
import type { CommandRegistry } from '@lumino/commands';
import { DisposableSet, type IDisposable } from '@lumino/disposable';
import { MessageLoop } from '@lumino/messaging';
import { Widget, type AccordionPanel, type PanelLayout } from '@lumino/widgets';
import React from 'react';

import type { JobCosts } from '../../models/jobcosts';
import type { JobList } from '../../models/joblist';
import {
  CommandIDs,
  type IAiInfraApi,
  type IAiInfraModels,
  type IAiInfraStream
} from '../../tokens';
import { useSignal } from '../usesignal';
import { BudgetsSection } from './budgets';
import { JobsSection } from './jobs';
import { PoolsSection } from './pools';
import { SchedulesSection } from './schedules';

export interface IPanelOptions {
  stream: IAiInfraStream;
  models: IAiInfraModels;
  api: Pick<IAiInfraApi, 'budget'>;
  list: JobList;
  costs: JobCosts;
  commands: CommandRegistry;
  translator: ITranslator;
}

/** Make the panel. Each section keeps its model up to date while it is in sight. */
export function createPanel(options: IPanelOptions): Widget {
  const { stream, models, api, list, costs, commands, translator } = options;
  const trans = translator.load('jupyter_aiinfra');
  const panel = new SidePanel({ translator });
  panel.addClass('aiinfra-Panel-content');
  for (const id of [CommandIDs.attachPool, CommandIDs.openEndpoints, CommandIDs.refresh]) {
    panel.toolbar.addItem(id, new CommandToolbarButton({ commands, id, label: '' }));
  }
  panel.toolbar.node.setAttribute('aria-label', trans.__('Pools and jobs'));
  const banner = ReactWidget.create(<Banner stream={stream} trans={trans} />);
  (panel.layout as PanelLayout).insertWidget(1, banner);

  const pools = new Section({
    label: trans.__('Pools'),
    watch: () => models.pools.watch(),
    draw: isVisible => (
      <PoolsSection models={models} commands={commands} trans={trans} isVisible={isVisible} />
    )
  });
  const jobs = new Section({
    label: trans.__('Jobs'),
    // What a budget says of a job can be answered as far as the budget is known.
    watch: () => DisposableSet.from([models.jobs.watch(), models.budgets.watch(), costs.watch()]),
    draw: isVisible => (
      <JobsSection
        models={models}
        list={list}
        costs={costs}
        commands={commands}
        trans={trans}
        isVisible={isVisible}
      />
    )
  });
  const budgets = new Section({
    label: trans.__('Budgets'),
    watch: () => models.budgets.watch(),
    draw: () => <BudgetsSection models={models} api={api} commands={commands} trans={trans} />
  });
  const schedules = new Section({
    label: trans.__('Schedules'),
    watch: () => models.schedules.watch(),
    draw: isVisible => (
      <SchedulesSection models={models} commands={commands} trans={trans} isVisible={isVisible} />
    )
  });
  [pools, jobs, schedules, budgets].forEach(section => panel.addWidget(section));
  (panel.content as AccordionPanel).setRelativeSizes([4, 5, 4, 4]);
  followSize(panel.content);
  return panel;
}

/** The sections lie where they were put; a banner that comes or goes leaves them another size. */
function followSize(widget: Widget): void {
  const observer = new ResizeObserver(() => {
    if (widget.isVisible) {
      MessageLoop.postMessage(widget, Widget.ResizeMessage.UnknownSize);
    }
  });
  observer.observe(widget.node);
  widget.disposed.connect(() => observer.disconnect());
}

/** What is shown stays when the server is gone; that it is old is said here. */
export function Banner({
  stream,
  trans
}: {
  stream: IAiInfraStream;
  trans: TranslationBundle;
}): React.JSX.Element {
  useSignal(stream.stateChanged);
  return (
    // In the page all the time, or what is said there later would not be announced.
    <div className="aiinfra-Panel-banner" role="status">
      {stream.state === 'lost' && trans.__('Server not reachable, trying again…')}
    </div>
  );
}

/** A section of the panel, which watches while it can be seen. */
export class Section extends ReactWidget {
  constructor(options: {
    label: string;
    watch: () => IDisposable;
    draw: (isVisible: boolean) => React.JSX.Element;
  }) {
    super();
    this.addClass('aiinfra-Section');
    this.title.label = options.label;
    this._watch = options.watch;
    this._draw = options.draw;
  }

  override dispose(): void {
    this._settle(false);
    super.dispose();
  }

  protected override render(): React.JSX.Element {
    return this._draw(this._watching !== null);
  }

  protected override onAfterAttach(msg: Parameters<ReactWidget['onAfterAttach']>[0]): void {
    super.onAfterAttach(msg);
    this._settle(this.isVisible);
  }

  protected override onAfterShow(): void {
    this._settle(this.isVisible);
  }

  protected override onBeforeHide(): void {
    this._settle(false);
  }

  protected override onBeforeDetach(msg: Parameters<ReactWidget['onBeforeDetach']>[0]): void {
    this._settle(false);
    super.onBeforeDetach(msg);
  }

  private _settle(isVisible: boolean): void {
    if (isVisible === (this._watching !== null)) {
      return;
    }
    if (isVisible) {
      this._watching = this._watch();
    } else {
      this._watching?.dispose();
      this._watching = null;
    }
    this.update();
  }

  private _watch: () => IDisposable;
  private _draw: (isVisible: boolean) => React.JSX.Element;
  private _watching: IDisposable | null = null;
}
