/*
 * Work on files that main hands to a thread of its own: reading a lab that may be hostile, writing one, drawing exports. One
 * thread for each task, so that a task that goes wrong takes nothing with it.
 */
import type { ChartId } from '../../engine/lab/chartOptions.ts';
import type { LabFile } from '../../engine/lab/container.ts';
import type { RunResult } from '../../engine/lab/runTypes.ts';
import type { LabDocument } from '../../engine/lab/schema.ts';

/** What a file was when we last touched it, to tell whether another program changed it since. */
export interface FileStamp {
  readonly size: number;
  readonly modified: number;
}

export interface FileTasks {
  /** `name` is for messages; the bytes were read by main, which checked what they come from. */
  read: {
    readonly request: { readonly name: string; readonly bytes: Uint8Array };
    /** `runIds`: what each column's run would be called now; a stored run of another id belongs to an older lab. */
    readonly reply: { readonly contents: LabFile; readonly runIds: ReadonlyMap<string, string> };
  };
  write: {
    readonly request: { readonly path: string; readonly contents: LabFile };
    readonly reply: { readonly stamp: FileStamp; readonly bytes: Uint8Array };
  };
  exportChart: {
    readonly request: {
      readonly path: string;
      readonly lab: LabDocument;
      readonly results: readonly RunResult[];
      readonly chart: ChartId;
      readonly format: 'png' | 'svg' | 'csv';
      readonly scale: 1 | 2;
      readonly fontFiles: readonly string[];
    };
    readonly reply: null;
  };
  /** Answers with the names of the files written. */
  exportAll: {
    readonly request: {
      readonly folder: string;
      readonly contents: LabFile;
      readonly results: readonly RunResult[];
      readonly name: string;
      readonly fontFiles: readonly string[];
    };
    readonly reply: readonly string[];
  };
}

export type FileTaskName = keyof FileTasks;
export type FileTask = {
  [Name in FileTaskName]: { readonly name: Name; readonly request: FileTasks[Name]['request'] };
}[FileTaskName];

export type FileAnswer =
  | { readonly ok: true; readonly value: unknown }
  | { readonly ok: false; readonly message: string; readonly forPeople: boolean };
