/** What the kernel sends to the widget; made by `jupyter_aiinfra/widgets/wire.py`. */

import type { JobCostItem, Notice } from '../api/types';

export type State =
  'queued' | 'pending' | 'starting' | 'running' | 'succeeded' | 'failed' | 'cancelled' | 'lost';

export interface IErrorBox {
  rank: number | null;
  title: string;
  where: string;
  traceback: string;
}

/** How a node of a job is, as the job's own nodes and we see it. */
export interface INode {
  name: string;
  health: 'live' | 'degraded' | 'unreachable' | 'lost';
  since: number | null;
  reason: string;
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
  // An output of an older version has none of these.
  /** Ranks a node. */
  procs?: number;
  /** On how much it runs: `2 nodes x 4 ranks`. */
  shape?: string;
  /** Which attempt this is and why, where there was more than one. */
  attempts?: string;
  /** What is waited for, and which nodes are not well. */
  trouble?: string;
  /** Those of a job on several, by slot. */
  nodes?: INode[];
  /** What a budget or the idle policy says; it is not in the message. */
  notice?: Notice | null;
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
  /** What the job has cost; empty before anybody has told. */
  cost?: JobCostItem | Record<string, never>;
}

/** The part of an anywidget model that is used here. */
export interface IModel {
  get<K extends keyof ITraits>(name: K): ITraits[K];
  on(event: string, callback: () => void): void;
  off(event: string, callback: () => void): void;
  send(content: unknown): void;
}

/** The pseudo-rank whose log is what the first node's launcher printed; -2 is that of the next. */
export const LAUNCHER = -1;

/** The node whose launcher a pseudo-rank is, counted from 0. */
export function launcherSlot(rank: number): number {
  return LAUNCHER - rank;
}

/** The pseudo-ranks of all launchers of a job. */
export function launchersOf(header: { nodes?: readonly INode[] } | null): number[] {
  const count = Math.max(1, header?.nodes?.length ?? 1);
  return Array.from({ length: count }, (_, slot) => LAUNCHER - slot);
}
