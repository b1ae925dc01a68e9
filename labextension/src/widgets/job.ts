import type { IModel } from './protocol';
import { KernelGpus, type IGpuTraitsModel } from './rankgpus';
import { JobView } from './view';

/** Draw a job; anywidget calls this for each place where the widget is shown. */
function render({ model, el }: { model: IModel & IGpuTraitsModel; el: HTMLElement }): () => void {
  const view = new JobView(model, el.appendChild(document.createElement('div')));
  const gpus = new KernelGpus(model, (board, trail) => view.drawGpus(board, trail));
  return () => {
    gpus.dispose();
    view.dispose();
  };
}

export default { render };
