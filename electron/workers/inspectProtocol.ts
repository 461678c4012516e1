/*
 * What main and the worker thread of an inspection say to each other. Main names a moment, and may name another before it has
 * its answer; the worker answers the last one only.
 */
import type { IovaSnapshot } from '../../engine/lab/iovaNames.ts';
import type { RunResult } from '../../engine/lab/runTypes.ts';
import type { RunInput } from './runProtocol.ts';

export interface InspectInput extends RunInput {
  /** The kept run that is looked into. */
  readonly of: Pick<RunResult, 'id' | 'engineVersion'>;
}

/** Picoseconds of virtual time. */
export type InspectCommand = number;

export type InspectReport =
  | { readonly kind: 'progress'; readonly at: number; readonly reached: number }
  | { readonly kind: 'snapshot'; readonly at: number; readonly snapshot: IovaSnapshot }
  /** `forPeople` is false for a bug: its message is for the log. */
  | { readonly kind: 'failed'; readonly message: string; readonly forPeople: boolean };
