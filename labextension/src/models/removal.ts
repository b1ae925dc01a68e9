/** Time to think again, before something is removed. */

export interface IDecision {
  /** Take it back. `false` when it is too late. */
  readonly undo: () => boolean;
  /** Whether to go on: `true` after the time, `false` where it was taken back. */
  readonly decided: Promise<boolean>;
}

/** Decide after `seconds`, unless it is taken back before. */
export function decideIn(seconds: number): IDecision {
  let decide: (go: boolean) => boolean = () => false;
  const decided = new Promise<boolean>(resolve => {
    const timer = setTimeout(() => decide(true), seconds * 1000);
    decide = go => {
      clearTimeout(timer);
      decide = () => false;
      resolve(go);
      return true;
    };
  });
  return { undo: () => decide(false), decided };
}
