/** What a cell shows, kept as it grows: what stays is not drawn again. */

import type * as nbformat from '@jupyterlab/nbformat';
import { OutputAreaModel } from '@jupyterlab/outputarea';
import { JSONExt } from '@lumino/coreutils';

/**
 * The outputs of one cell. Scripts in them are not run: who reads a run did not run it.
 *
 * `set` takes outputs in which no two of one stream follow each other, as `cellOf` makes them.
 */
export class ShownOutputs {
  readonly model = new OutputAreaModel({ trusted: false });

  /** Show exactly these; returns whether anything was another. */
  set(outputs: readonly nbformat.IOutput[]): boolean {
    const before = this._shown;
    if (outputs.length < before.length) {
      this._shown = [...outputs];
      this._replaced.clear();
      this.model.fromJSON(this._shown);
      return true;
    }
    let isOther = false;
    outputs.forEach((output, place) => {
      const old = before[place];
      if (old !== undefined && JSONExt.deepEqual(old, output)) {
        return;
      }
      isOther = true;
      const isLast = place === before.length - 1 && !this._replaced.has(place);
      const more = isLast ? grown(old, output) : null;
      if (more !== null) {
        this.model.appendStreamOutput(more);
      } else if (old === undefined) {
        this.model.add(output);
      } else {
        this._replaced.add(place);
        this.model.set(place, output);
      }
    });
    this._shown = [...outputs];
    return isOther;
  }

  dispose(): void {
    this.model.dispose();
  }

  private _shown: nbformat.IOutput[] = [];
  /** An output area does not follow the text of an output that came in the place of another. */
  private _replaced = new Set<number>();
}

/** What was printed behind the rest of the same stream; `null` where it is not just that. */
function grown(old: nbformat.IOutput | undefined, output: nbformat.IOutput): string | null {
  if (
    old?.output_type !== 'stream' ||
    output.output_type !== 'stream' ||
    old['name'] !== output['name']
  ) {
    return null;
  }
  const [before, now] = [old['text'] as string, output['text'] as string];
  return now.startsWith(before) ? now.slice(before.length) : null;
}
