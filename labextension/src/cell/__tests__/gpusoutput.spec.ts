import { MimeModel, RenderMimeRegistry, standardRendererFactories } from '@jupyterlab/rendermime';
import type { IRenderMime } from '@jupyterlab/rendermime';
import { Panel, Widget } from '@lumino/widgets';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { GpusOutput } from '../gpusoutput';
import { GPUS_MIME } from '../reference';

const WIDGET_MIME = 'application/vnd.jupyter.widget-view+json';

/** Stands in for the renderer of widgets: draws when it is told to. */
class WidgetRenderer extends Widget implements IRenderMime.IRenderer {
  renderModel(): Promise<void> {
    drawn.push(this);
    this.node.textContent = 'Loading widget...';
    return Promise.resolve();
  }

  finish(className: string): void {
    this.node.innerHTML = `<div class="${className}">live</div>`;
  }
}

let drawn: WidgetRenderer[];
let page: RenderMimeRegistry;
let notebook: RenderMimeRegistry;
let area: Panel;
let output: GpusOutput;

const factory = (): IRenderMime.IRendererFactory => ({
  safe: false,
  mimeTypes: [WIDGET_MIME],
  createRenderer: () => new WidgetRenderer()
});

beforeEach(() => {
  drawn = [];
  page = new RenderMimeRegistry({ initialFactories: standardRendererFactories });
  page.addFactory(factory(), -10);
  notebook = page.clone();
  output = new GpusOutput(page);
  area = Object.assign(new Panel(), { rendermime: notebook });
  area.addWidget(output);
  Widget.attach(area, document.body);
});

afterEach(() => {
  area.dispose();
});

function model(trusted = true): MimeModel {
  return new MimeModel({
    trusted,
    data: {
      [GPUS_MIME]: { title: 'pool here' },
      [WIDGET_MIME]: { model_id: '1', version_major: 2, version_minor: 0 },
      'text/html': '<table><tr><td>as it was</td></tr></table>',
      'text/plain': 'as it was'
    }
  });
}

/** What the extension of widgets does once the kernel is known. */
function giveKernel(): void {
  notebook.removeMimeType(WIDGET_MIME);
  notebook.addFactory(factory(), -10);
}

const seen = (): string[] =>
  output.widgets.filter(widget => !widget.isHidden).map(widget => widget.node.textContent ?? '');

describe('the output of GPUs', () => {
  it('is the saved table where there is no kernel', async () => {
    await output.renderModel(model());
    expect(seen()).toEqual(['as it was']);
    expect(drawn).toEqual([]);
  });

  it('is the widget once that is drawn, and the table again when it has gone', async () => {
    giveKernel();
    await output.renderModel(model());
    expect(seen()).toEqual(['as it was']);
    drawn[0]?.finish('aiinfra-GpuBoard');
    await vi.waitFor(() => expect(seen()).toEqual(['live']));
    drawn[0]?.finish('something-else');
    await vi.waitFor(() => expect(seen()).toEqual(['as it was']));
  });

  it('finds the kernel of a notebook that is opened later', async () => {
    await output.renderModel(model());
    giveKernel();
    await vi.waitFor(() => expect(drawn).toHaveLength(1), 3_000);
    expect(seen()).toEqual(['as it was']);
  });

  it('runs nothing of a notebook that is not trusted', async () => {
    giveKernel();
    await output.renderModel(model(false));
    expect(drawn).toEqual([]);
    expect(seen()).toEqual(['as it was']);
  });
});
