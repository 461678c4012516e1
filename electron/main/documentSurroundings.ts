/*
 * What the open document leans on, and where it came from: the threads, dialogs and settings that its service asks, and the
 * bytes and the place that its edits build on.
 */
import type { LabFile } from '../../engine/lab/container.ts';
import type { FileStamp } from '../workers/fileProtocol.ts';
import type { LabDialogs } from './dialogs.ts';
import type { RunFileTask } from './fileWorker.ts';
import type { LabEditor } from './replayJournal.ts';
import type { SettingsStore } from './settings.ts';

export interface DocumentSurroundings extends LabEditor {
  readonly task: RunFileTask;
  readonly dialogs: LabDialogs;
  readonly settings: SettingsStore;
  readonly recoveryFolder: string;
  readonly homeFolder: string;
  /** Calls back when the file may have changed; gives the way to stop. */
  watch(path: string, changed: () => void): () => void;
  changed(): void;
  /** A line for the log pane. */
  readonly say: (severity: 'info' | 'warning' | 'error', text: string) => void;
}

export type RunIds = ReadonlyMap<string, string>;

export interface Home {
  readonly contents: LabFile;
  /** The bytes that the document was read from or saved as: what a journal builds on. */
  readonly source: Uint8Array;
  readonly path: string | null;
  readonly stamp: FileStamp | null;
}
