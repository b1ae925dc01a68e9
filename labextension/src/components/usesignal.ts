import type { ISignal } from '@lumino/signaling';
import { useEffect, useReducer } from 'react';

/**
 * Draw the component anew whenever `signal` says so.
 *
 * Within the event that raised the signal, not later: a text field would lose its caret otherwise.
 */
export function useSignal<S, A>(signal: ISignal<S, A>): void {
  const [, redraw] = useReducer((count: number) => count + 1, 0);
  useEffect(() => {
    const slot = (): void => redraw();
    signal.connect(slot);
    return () => {
      signal.disconnect(slot);
    };
  }, [signal]);
}
