/*
 * window.lab: everything the page may ask of the desktop, and everything it is told.
 * Only types live here, so the page, the preload and the main process share one description at no cost at run time.
 * The page never sees or sends a path: files are named to it, and main holds the rest.
 */
import type { MomentSnapshot, WalkRequest } from '../../engine/lab/momentNames.ts';
import type { RunFrame, RunProgress, RunSummary } from '../../engine/lab/runTypes.ts';
import type { LabDocument } from '../../engine/lab/schema.ts';
import type { CommandId } from './commands.ts';

export type ThemeChoice = 'system' | 'dark' | 'light';

/** What went wrong, for people: a sentence with its place, never a stack, never a path outside the document. */
export interface LabFailure {
  readonly code:
    | 'bad-request'
    | 'forbidden'
    | 'bad-file'
    | 'bad-edit'
    | 'cannot-read'
    | 'cannot-write'
    | 'not-found'
    | 'busy'
    | 'run-failed'
    | 'internal';
  readonly message: string;
}

/** Answer to an action of the user: done, called off by the user in a dialog, or failed with a sentence to show. */
export type Outcome =
  | { readonly status: 'done' }
  | { readonly status: 'cancelled' }
  | { readonly status: 'failed'; readonly error: LabFailure };

export type RunStatus = 'idle' | 'running' | 'paused' | 'done' | 'cancelled' | 'failed';

/** One column of the comparison and the last run of it. There is one for each entry of lab.comparison, in that order. */
export interface RunState {
  readonly comparisonId: string;
  /** Hash of the run's inputs; null until a run has been prepared. */
  readonly runId: string | null;
  readonly status: RunStatus;
  readonly progress: RunProgress | null;
  /** Simulated events for each second of real time, averaged over the last second. */
  readonly eventsPerSecond: number;
  /** Real seconds until the end at the present rate; null when it cannot be told. */
  readonly secondsLeft: number | null;
  readonly summary: RunSummary | null;
  /** Of a run that has ended. */
  readonly counters?: Readonly<Record<string, number>>;
  /** The run was stopped before its end: the numbers are true, but of a part. */
  readonly partial: boolean;
  /** The lab was edited after this run was started: its numbers belong to the older lab. */
  readonly outdated: boolean;
  readonly error: string | null;
}

/** How far the computation of a moment has come, in virtual time. */
export interface InspectionProgress {
  readonly comparisonId: string;
  readonly at: number;
  readonly reached: number;
}

/** A moment in picoseconds of virtual time, and the address whose translation is looked at. */
export interface InspectionRequest {
  readonly comparisonId: string;
  readonly at: number;
  readonly walk: WalkRequest | null;
  /** A drive by the id of its part; left out: the first. */
  readonly device?: string;
}

/** `cancelled`: another moment was asked for meanwhile, or none. */
export type InspectionOutcome =
  | { readonly status: 'done'; readonly snapshot: MomentSnapshot }
  | { readonly status: 'cancelled' }
  | { readonly status: 'failed'; readonly error: LabFailure };

/** Path as on the command line: `workloads[0].blockSize`, or by id `workloads[nvme0].blockSize`. */
export interface LabChange {
  readonly path: string;
  readonly value: unknown;
}

export interface DocumentState {
  /** Grows with every document opened: state that belongs to an older one can be told apart. */
  readonly session: number;
  /** Grows with every edit, undo and redo. */
  readonly revision: number;
  readonly lab: LabDocument;
  /** Base name of the file; null while the document was never saved (an example, a new lab). */
  readonly fileName: string | null;
  readonly dirty: boolean;
  readonly changedOnDisk: boolean;
  /** What undo and redo would do, in words, or null when there is nothing. */
  readonly undo: string | null;
  readonly redo: string | null;
  readonly runs: readonly RunState[];
}

export interface RecentFile {
  readonly id: string;
  readonly name: string;
  /** The folder as people write it, shortened with ~; to tell two labs of one name apart. */
  readonly folder: string;
}

export interface ExampleLab {
  readonly id: string;
  readonly title: string;
  /** What the lab asks and what to look for. */
  readonly question: string;
}

/** Work that was found after a crash. */
export interface RecoveryOffer {
  readonly id: string;
  readonly name: string;
  readonly fileName: string | null;
  /** Last change, milliseconds since 1970. */
  readonly changedAt: number;
  readonly bytes: number;
  readonly edits: number;
  readonly finishedRuns: number;
}

export interface AppInfo {
  readonly name: string;
  readonly version: string;
  readonly electron: string;
  readonly chromium: string;
  readonly node: string;
  readonly platform: string;
  readonly license: string;
}

export interface AppSettings {
  readonly theme: ThemeChoice;
  /** Sizes in percent and switches of panes, by names that the page chooses. */
  readonly panes: Readonly<Record<string, number>>;
}

/** A line for the log pane, from the desktop itself. */
export interface AppMessage {
  readonly severity: 'info' | 'warning' | 'error';
  readonly text: string;
  /** Milliseconds since 1970. */
  readonly at: number;
}

/** What a native menu item asks the page to do. */
export type CommandHandler = (id: CommandId) => void;

export type Unsubscribe = () => void;

export interface LabApi {
  readonly document: {
    current(): Promise<DocumentState>;
    openDialog(): Promise<Outcome>;
    openDropped(file: File): Promise<Outcome>;
    openRecent(id: string): Promise<Outcome>;
    openExample(id: string): Promise<Outcome>;
    recent(): Promise<readonly RecentFile[]>;
    clearRecent(): Promise<Outcome>;
    examples(): Promise<readonly ExampleLab[]>;
    save(): Promise<Outcome>;
    saveAs(): Promise<Outcome>;
    /** One edit, which is undone as one, of as many changes as belong together. A refused edit changes nothing. */
    edit(...changes: readonly [LabChange, ...LabChange[]]): Promise<Outcome>;
    undo(): Promise<Outcome>;
    redo(): Promise<Outcome>;
    /** Reads the file again, after a question when there are unsaved changes. */
    revert(): Promise<Outcome>;
    recovery(): Promise<readonly RecoveryOffer[]>;
    restore(id: string): Promise<Outcome>;
    /** Opens the file as last saved by the user and drops the recovered work. */
    openSaved(id: string): Promise<Outcome>;
    discardRecovery(id: string): Promise<Outcome>;
  };
  readonly runs: {
    /** An empty list means every column of the comparison. */
    start(comparisonIds: readonly string[]): Promise<Outcome>;
    pause(comparisonId: string): Promise<Outcome>;
    resume(comparisonId: string): Promise<Outcome>;
    cancel(comparisonId: string): Promise<Outcome>;
    /** The latest frame of a run, live or kept in the document; null before the first. */
    frame(comparisonId: string): Promise<RunFrame | null>;
    /** A finished run at a moment: IOVA space, caches, a page walk; the run is computed again up to it. */
    inspect(request: InspectionRequest): Promise<InspectionOutcome>;
    /** Calls off what is being computed and gives its memory back. */
    endInspection(): Promise<Outcome>;
    /** The same runs as one line for a shell. */
    commandLine(): Promise<string>;
  };
  readonly exports: {
    chart(request: {
      readonly chart: string;
      readonly format: 'png' | 'svg' | 'csv';
      readonly scale?: 1 | 2;
    }): Promise<Outcome>;
    all(): Promise<Outcome>;
  };
  readonly app: {
    info(): Promise<AppInfo>;
    settings(): Promise<AppSettings>;
    setTheme(theme: ThemeChoice): Promise<Outcome>;
    setPanes(panes: Readonly<Record<string, number>>): Promise<Outcome>;
    /** For commands that the registry gives to main; the page runs its own. */
    runCommand(id: CommandId): Promise<Outcome>;
    /** An error the page caught, for the log file. */
    reportError(message: string): Promise<Outcome>;
  };
  readonly events: {
    onDocument(handler: (state: DocumentState) => void): Unsubscribe;
    onRunState(handler: (session: number, state: RunState) => void): Unsubscribe;
    onRunFrame(handler: (session: number, frame: RunFrame) => void): Unsubscribe;
    onInspection(handler: (progress: InspectionProgress) => void): Unsubscribe;
    onSettings(handler: (settings: AppSettings) => void): Unsubscribe;
    onCommand(handler: CommandHandler): Unsubscribe;
    onMessage(handler: (message: AppMessage) => void): Unsubscribe;
  };
}

declare global {
  interface Window {
    readonly lab: LabApi;
  }
}
