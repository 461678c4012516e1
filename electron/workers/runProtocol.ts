/*
 * What main and the worker thread of one run say to each other. Main commands, the worker reports; a frame's arrays are
 * transferred, not copied.
 */
import type { RunFrame, RunProgress, RunResult } from '../../engine/lab/runTypes.ts';
import type { LabDocument } from '../../engine/lab/schema.ts';
import type { RecordingFiles } from '../../engine/workloads/recordedRequest.ts';

export interface RunInput {
  readonly lab: LabDocument;
  readonly comparisonId: string;
  readonly recordings: ReadonlyMap<string, RecordingFiles>;
}

export type RunCommand = 'pause' | 'resume' | 'cancel';

export type RunReport =
  | { readonly kind: 'progress'; readonly progress: RunProgress; readonly eventsPerSecond: number }
  | { readonly kind: 'frame'; readonly frame: RunFrame }
  | { readonly kind: 'paused' }
  | { readonly kind: 'resumed' }
  | { readonly kind: 'ended'; readonly result: RunResult; readonly frame: RunFrame }
  /** `forPeople` is false for a bug: its message is for the log. */
  | { readonly kind: 'failed'; readonly message: string; readonly forPeople: boolean };
