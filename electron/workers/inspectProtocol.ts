/*
 * What main and the worker thread of an inspection say to each other. Main names a moment, and may name another before it has
 * its answer; the worker answers the last one only.
 */
import type { MomentSnapshot, WalkRequest } from '../../engine/lab/momentNames.ts';
import type { RunResult } from '../../engine/lab/runTypes.ts';
import type { RunInput } from './runProtocol.ts';

export interface InspectInput extends RunInput {
  /** The kept run that is looked into. */
  readonly of: Pick<RunResult, 'id' | 'engineVersion'>;
}

export interface InspectCommand {
  /** Told with the answer: two wishes may be of one moment. */
  readonly wish: number;
  /** Picoseconds of virtual time. */
  readonly at: number;
  /** The address whose translation is looked at. */
  readonly walk: WalkRequest | null;
  /** The drive that is looked at; null: the first. */
  readonly device: string | null;
}

export type InspectReport =
  | { readonly kind: 'progress'; readonly wish: number; readonly reached: number }
  | { readonly kind: 'snapshot'; readonly wish: number; readonly snapshot: MomentSnapshot }
  /** `forPeople` is false for a bug: its message is for the log. */
  | { readonly kind: 'failed'; readonly message: string; readonly forPeople: boolean };
