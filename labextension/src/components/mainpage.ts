/** A page of the main area as all of ours are. */

import { MainAreaWidget } from '@jupyterlab/apputils';
import type { LabIcon } from '@jupyterlab/ui-components';
import type { Widget } from '@lumino/widgets';

export interface IMainPage {
  /** Of the page; there is one of it. */
  id: string;
  icon: LabIcon;
  label: string;
  caption: string;
}

/** Put what a page shows into the main area; its tools are its own, and no toolbar is above it. */
export function mainPage<T extends Widget>(
  content: T,
  { id, icon, label, caption }: IMainPage
): MainAreaWidget<T> {
  Object.assign(content.title, { icon, label, caption, closable: true });
  const widget = new MainAreaWidget({ content });
  widget.id = id;
  widget.toolbar.hide();
  return widget;
}
