import { GpuBoardView, type IGpusModel } from './gpuboard';

/** Draw GPUs; anywidget calls this for each place where the widget is shown. */
function render({ model, el }: { model: IGpusModel; el: HTMLElement }): () => void {
  const view = new GpuBoardView(model, el.appendChild(document.createElement('div')));
  return () => view.dispose();
}

export default { render };
