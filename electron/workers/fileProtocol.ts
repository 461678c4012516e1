/*
 * Work on files that main hands to a thread of its own: reading a lab that may be hostile, writing one, drawing exports. One
 * thread for each task, so that a task that goes wrong takes nothing with it.
 */
import type { RunResult } from '../../engine/lab/runTypes.ts';
import type { LabDocument } from '../../engine/lab/schema.ts';
import type { RecordingFiles } from '../../engine/workloads/recordedRequest.ts';

/** Everything that a lab file holds. */
export interface LabContents {
  readonly lab: LabDocument;
  readonly recordings: ReadonlyMap<string, RecordingFiles>;
  readonly runs: readonly RunResult[];
}

/** What a file was when we last touched it, to tell whether another program changed it since. */
export interface FileStamp {
  readonly size: number;
  readonly modified: number;
}

export type ChartFormat = 'png' | 'svg' | 'csv';

export interface FileTasks {
  /** `name` is for messages; the bytes were read by main, which checked what they come from. */
  read: { readonly request: { readonly name: string; readonly bytes: Uint8Array }; readonly reply: LabContents };
  write: {
    readonly request: { readonly path: string; readonly contents: LabContents };
    readonly reply: { readonly stamp: FileStamp; readonly bytes: Uint8Array };
  };
  exportChart: {
    readonly request: {
      readonly path: string;
      readonly contents: LabContents;
      readonly chart: string;
      readonly format: ChartFormat;
      readonly scale: number;
    };
    readonly reply: null;
  };
  /** Answers with the number of files written. */
  exportAll: {
    readonly request: { readonly folder: string; readonly fileName: string; readonly contents: LabContents };
    readonly reply: number;
  };
}

export type FileTaskName = keyof FileTasks;
export type FileTask = {
  [Name in FileTaskName]: { readonly name: Name; readonly request: FileTasks[Name]['request'] };
}[FileTaskName];

export type FileAnswer =
  | { readonly ok: true; readonly value: unknown }
  | { readonly ok: false; readonly message: string; readonly forPeople: boolean };
