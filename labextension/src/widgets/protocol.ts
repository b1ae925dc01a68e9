/** What the kernel sends to the widget; made by `jupyter_aiinfra/widgets/wire.py`. */

export type State =
  'queued' | 'pending' | 'starting' | 'running' | 'succeeded' | 'failed' | 'cancelled' | 'lost';

export interface IErrorBox {
  rank: number | null;
  title: string;
  where: string;
  traceback: string;
}

export interface IHeader {
  id: string;
  name: string;
  pool: string;
  state: State;
  world: number;
  elapsed_seconds: number;
  ticking: boolean;
  message: string;
  /** How far the job is, in one line; empty when unknown. */
  progress: string;
  log: string;
  tracking: string;
  error: IErrorBox | null;
}

/** How far a rank is that says so. */
export interface IRankProgress {
  step: number;
  step_seconds: number | null;
  behind: number;
  slow: boolean;
}

export interface IRank {
  rank: number;
  state: string;
  node: string;
  failed: boolean;
  progress: IRankProgress | null;
}

export interface IManifestItem {
  name: string;
  kind: string;
  type: string;
  size_bytes: number | null;
  how: string;
}

export interface IManifest {
  size_bytes: number;
  count: number;
  items: IManifestItem[];
}

/** Text with its colours, how often it stands here, bytes left out of it, bytes missing. */
export type Line = [text: string, repeat?: number, leftOutBytes?: number, missingBytes?: number];

/** Where, how many lines go, and the lines that come. */
export type Splice = [start: number, gone: number, lines: Line[]];

export interface ICounts {
  seen: number;
  shown: number;
  folded: number;
  left_out: number;
  same: number;
  same_as_first: boolean;
  bytes: number;
  missing: number;
  summary: string;
}

export interface IRankLog {
  head: Line[];
  tail: Line[];
  counts: ICounts;
}

/** All of every rank's log that is shown, under a number. */
export interface IKeyframe {
  seq: number;
  ranks: Record<string, IRankLog>;
}

/** A rank that is new comes whole; of the others only what changed. */
export interface IRankDelta {
  head?: Line[];
  tail?: Line[];
  splices?: Splice[];
  counts?: ICounts;
}

/** What turns the state numbered `base` into the one numbered `seq`. */
export interface IDelta {
  seq: number;
  base: number;
  ranks: Record<string, IRankDelta>;
}

export interface ITraits {
  header: IHeader;
  ranks: IRank[];
  manifest: IManifest;
  log: IKeyframe;
  delta: IDelta | Record<string, never>;
}

/** The part of an anywidget model that is used here. */
export interface IModel {
  get<K extends keyof ITraits>(name: K): ITraits[K];
  on(event: string, callback: () => void): void;
  off(event: string, callback: () => void): void;
  send(content: unknown): void;
}

/** The pseudo-rank whose log is what the launcher itself printed. */
export const LAUNCHER = -1;
