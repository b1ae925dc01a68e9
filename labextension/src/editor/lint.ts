/** Draws what is wrong with a launch line: underlined, and said where the pointer rests. */

import { StateEffect, StateField, type EditorState, type Extension } from '@codemirror/state';
import {
  Decoration,
  EditorView,
  ViewPlugin,
  hoverTooltip,
  type DecorationSet,
  type Tooltip
} from '@codemirror/view';

import type { ILineCheck, ILineProblem } from '../tokens';

/** Replaces all that is drawn. */
const drawn = StateEffect.define<readonly ILineProblem[]>();

function mark(problem: ILineProblem): Decoration {
  return Decoration.mark({
    class: 'aiinfra-line-problem',
    attributes: { 'aria-description': sentence(problem) },
    problem
  });
}

/** A problem with what to do about it, in one sentence. */
export function sentence({ message, hint }: ILineProblem): string {
  return hint ? `${message} (${hint})` : message;
}

function decorations(state: EditorState, problems: readonly ILineProblem[]): DecorationSet {
  const { length } = state.doc;
  // The text may have become shorter since it was checked.
  const ranges = problems
    .map(problem => ({ problem, from: problem.start, to: Math.min(problem.end, length) }))
    .filter(({ from, to }) => from < to)
    .map(({ problem, from, to }) => mark(problem).range(from, to));
  return Decoration.set(ranges, true);
}

/** An extension for the editor whose line `check` is about. */
export function lineLint(check: ILineCheck): Extension {
  const field = StateField.define<DecorationSet>({
    create: state => decorations(state, check.problems),
    update: (now, transaction) => {
      let next = now.map(transaction.changes);
      for (const effect of transaction.effects) {
        if (effect.is(drawn)) {
          next = decorations(transaction.state, effect.value);
        }
      }
      return next;
    },
    provide: field => EditorView.decorations.from(field)
  });
  const follower = ViewPlugin.define(view => {
    const draw = (): void => view.dispatch({ effects: drawn.of(check.problems) });
    check.changed.connect(draw);
    return {
      destroy: (): void => {
        check.changed.disconnect(draw);
      }
    };
  });
  const at = (view: EditorView, position: number): Tooltip | null => {
    let found: Tooltip | null = null;
    view.state.field(field).between(position, position, (from, to, value) => {
      found = bubble(from, to, (value.spec as { problem: ILineProblem }).problem);
      return false;
    });
    return found;
  };
  const tooltip = hoverTooltip(at, { hideOnChange: true });
  return [field, follower, tooltip];
}

function bubble(pos: number, end: number, problem: ILineProblem): Tooltip {
  return {
    pos,
    end,
    // Below the line: above it stands the toolbar, which says the same.
    above: false,
    create: () => {
      const dom = document.createElement('div');
      dom.className = 'aiinfra-line-tooltip';
      const message = dom.appendChild(document.createElement('div'));
      message.textContent = problem.message;
      if (problem.hint) {
        const hint = dom.appendChild(document.createElement('div'));
        hint.className = 'aiinfra-line-hint';
        hint.textContent = problem.hint;
      }
      return { dom };
    }
  };
}
