/*
 * Drives one run in slices of a few milliseconds and looks at its commands between them, so that pause and cancel are answered
 * at once however long the run is. Frames go out at most ten times a second.
 * The clock and the way to yield are handed in: the loop is the same in a worker thread and in a test.
 */
import type { RunFrame, RunProgress, RunResult } from '../../engine/lab/runTypes.ts';
import type { RunCommand, RunReport } from './runProtocol.ts';

/** What the loop asks of a run: the public face of LabRun. */
export interface SteppedRun {
  advance(maxEvents: number): 'running' | 'done';
  progress(): RunProgress;
  snapshot(): RunFrame;
  result(partial?: boolean): RunResult;
}

export interface LoopSurroundings {
  /** Milliseconds, steady. */
  readonly now: () => number;
  /** Lets messages in, and resolves. */
  readonly yieldToMessages: () => Promise<void>;
  readonly report: (report: RunReport) => void;
}

const sliceMilliseconds = 8;
const frameMilliseconds = 100;
const smallestSlice = 128;
const largestSlice = 1 << 20;

export class RunLoop {
  private readonly run: SteppedRun;
  private readonly surroundings: LoopSurroundings;
  private paused = false;
  private cancelled = false;
  private wake: (() => void) | null = null;

  constructor(run: SteppedRun, surroundings: LoopSurroundings) {
    this.run = run;
    this.surroundings = surroundings;
  }

  command(command: RunCommand): void {
    switch (command) {
      case 'pause':
        if (this.paused) return;
        this.paused = true;
        break;
      case 'resume':
        this.paused = false;
        break;
      case 'cancel':
        this.cancelled = true;
        break;
    }
    this.wake?.();
  }

  async drive(): Promise<void> {
    const { now, yieldToMessages, report } = this.surroundings;
    let slice = 1024;
    let reportedAt = now();
    let reportedEvents = 0;
    let eventsPerSecond = 0;
    let state: 'running' | 'done' = 'running';
    report({ kind: 'progress', progress: this.run.progress(), eventsPerSecond });
    while (state === 'running' && !this.cancelled) {
      if (this.paused) {
        report({ kind: 'progress', progress: this.run.progress(), eventsPerSecond: 0 });
        report({ kind: 'frame', frame: this.run.snapshot() });
        report({ kind: 'paused' });
        await this.untilCommanded();
        report({ kind: 'resumed' });
        reportedAt = now();
        reportedEvents = this.run.progress().events;
        continue;
      }
      const begun = now();
      state = this.run.advance(slice);
      const ended = now();
      slice = nextSlice(slice, ended - begun);
      const sinceReport = ended - reportedAt;
      if (sinceReport >= frameMilliseconds) {
        const progress = this.run.progress();
        const rate = ((progress.events - reportedEvents) * 1000) / sinceReport;
        // Averaged over about a second, so that the number can be read.
        eventsPerSecond = eventsPerSecond === 0 ? rate : eventsPerSecond + (rate - eventsPerSecond) / 8;
        report({ kind: 'progress', progress, eventsPerSecond });
        report({ kind: 'frame', frame: this.run.snapshot() });
        reportedAt = ended;
        reportedEvents = progress.events;
      }
      await yieldToMessages();
    }
    report({ kind: 'ended', result: this.run.result(state === 'running'), frame: this.run.snapshot() });
  }

  private untilCommanded(): Promise<void> {
    return new Promise((resolve) => {
      const look = (): void => {
        if (this.paused && !this.cancelled) return;
        this.wake = null;
        resolve();
      };
      this.wake = look;
      look();
    });
  }
}

/** Events for the next slice, aimed at its length; at most doubled or cut to a quarter, since events differ in cost. */
function nextSlice(slice: number, took: number): number {
  const wanted = took <= 0 ? slice * 2 : (slice * sliceMilliseconds) / took;
  const bounded = Math.min(slice * 2, Math.max(slice / 4, wanted));
  return Math.round(Math.min(largestSlice, Math.max(smallestSlice, bounded)));
}
