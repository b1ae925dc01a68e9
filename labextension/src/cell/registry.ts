/** Finds what draws the outputs of the notebook that an output stands in. */

import type { IRenderMimeRegistry } from '@jupyterlab/rendermime';
import type { Widget } from '@lumino/widgets';

/** The registry of the output area around `widget`: it knows the notebook's kernel's widgets. */
export function registryOf(widget: Widget): IRenderMimeRegistry | null {
  for (let each = widget.parent; each; each = each.parent) {
    if ('rendermime' in each) {
      return each.rendermime as IRenderMimeRegistry;
    }
  }
  return null;
}
