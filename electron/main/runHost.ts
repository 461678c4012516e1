/*
 * One run in its worker thread, as main sees it: commands go in, reports come out, and whatever way the thread ends there is
 * exactly one end: a result, or a sentence.
 */
import type { RunFrame, RunProgress, RunResult } from '../../engine/lab/runTypes.ts';
import { describeError } from './describeError.ts';
import type { RunCommand, RunReport } from '../workers/runProtocol.ts';

/** What is used of a worker thread. */
export interface RunThread {
  postMessage(command: RunCommand): void;
  terminate(): Promise<unknown>;
  on(event: 'message', listener: (report: RunReport) => void): unknown;
  on(event: 'error', listener: (error: unknown) => void): unknown;
  on(event: 'exit', listener: (code: number) => void): unknown;
}

export interface RunEvents {
  progressed(progress: RunProgress, eventsPerSecond: number): void;
  framed(frame: RunFrame): void;
  paused(): void;
  resumed(): void;
  /** The result is null when a cancelled run did not answer in time and its thread was ended. */
  ended(result: RunResult | null, frame: RunFrame | null): void;
  failed(sentence: string): void;
  /** The user waits for cancel no longer than this takes to call; the result may still follow. */
  cancelOverdue(): void;
}

/** The user sees a cancelled run within 200 ms, the way to the page included. */
const cancelPromiseMilliseconds = 60;
/** A thread that is inside one long step (reading a recording) may still give its result until then. */
const cancelLimitMilliseconds = 2000;

export class RunHost {
  private readonly thread: RunThread;
  private readonly events: RunEvents;
  private readonly log: (message: string) => void;
  private over = false;
  private timers: NodeJS.Timeout[] = [];

  constructor(thread: RunThread, events: RunEvents, log: (message: string) => void) {
    this.thread = thread;
    this.events = events;
    this.log = log;
    thread.on('message', (report) => this.take(report));
    thread.on('error', (error) => {
      log(`run thread: ${describeError(error)}`);
      this.fail(sentenceOf(error));
    });
    thread.on('exit', (code) =>
      this.fail(`The run's thread ended unexpectedly (code ${code}). The log has the details.`),
    );
  }

  pause(): void {
    this.thread.postMessage('pause');
  }

  resume(): void {
    this.thread.postMessage('resume');
  }

  cancel(): void {
    if (this.over || this.timers.length > 0) return;
    this.thread.postMessage('cancel');
    this.timers = [
      setTimeout(() => this.events.cancelOverdue(), cancelPromiseMilliseconds),
      setTimeout(() => this.end(null, null), cancelLimitMilliseconds),
    ];
  }

  /** Ends the thread without another word: its document is gone. */
  dispose(): void {
    this.finish();
  }

  private take(report: RunReport): void {
    if (this.over) return;
    switch (report.kind) {
      case 'progress':
        this.events.progressed(report.progress, report.eventsPerSecond);
        break;
      case 'frame':
        this.events.framed(report.frame);
        break;
      case 'paused':
        this.events.paused();
        break;
      case 'resumed':
        this.events.resumed();
        break;
      case 'ended':
        this.end(report.result, report.frame);
        break;
      case 'failed':
        if (!report.forPeople) this.log(`run thread: ${report.message}`);
        this.fail(report.forPeople ? report.message : 'The emulator itself failed. The log has the details.');
        break;
    }
  }

  private end(result: RunResult | null, frame: RunFrame | null): void {
    if (this.over) return;
    this.finish();
    this.events.ended(result, frame);
  }

  private fail(sentence: string): void {
    if (this.over) return;
    this.finish();
    this.events.failed(sentence);
  }

  private finish(): void {
    this.over = true;
    for (const timer of this.timers) clearTimeout(timer);
    void this.thread.terminate();
  }
}

function sentenceOf(error: unknown): string {
  if (error instanceof Error && 'code' in error && error.code === 'ERR_WORKER_OUT_OF_MEMORY') {
    return 'The run needed more memory than a run may take. Give it fewer I/Os, or a shallower queue.';
  }
  return 'The emulator itself failed. The log has the details.';
}
