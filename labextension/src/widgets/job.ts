import type { IModel } from './protocol';
import { JobView } from './view';

/** Draw a job; anywidget calls this for each place where the widget is shown. */
function render({ model, el }: { model: IModel; el: HTMLElement }): () => void {
  const view = new JobView(model, el.appendChild(document.createElement('div')));
  return () => view.dispose();
}

export default { render };
