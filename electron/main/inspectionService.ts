/*
 * Looks into a kept run: one thread computes it up to the moment that the window asks for. A new wish takes the place of the
 * last one, another run takes the place of the thread.
 */
import type { MomentSnapshot } from '../../engine/lab/momentNames.ts';
import type { InspectionOutcome, InspectionProgress, InspectionRequest } from '../ipc/api.ts';
import type { InspectCommand, InspectInput, InspectReport } from '../workers/inspectProtocol.ts';
import { describeError } from './describeError.ts';
import { DesktopError, failureOf } from './failures.ts';

/** What is used of a worker thread. */
export interface InspectThread {
  postMessage(command: InspectCommand): void;
  terminate(): Promise<unknown>;
  on(event: 'message', listener: (report: InspectReport) => void): unknown;
  on(event: 'error', listener: (error: unknown) => void): unknown;
  on(event: 'exit', listener: (code: number) => void): unknown;
}

export interface InspectionSurroundings {
  startThread(input: InspectInput): InspectThread;
  /** The kept run of a column and all that it was made from; throws a sentence where it cannot be looked into. */
  inspectable(comparisonId: string): InspectInput;
  progressed(progress: InspectionProgress): void;
  log(message: string): void;
}

interface Work {
  readonly runId: string;
  readonly comparisonId: string;
  readonly thread: InspectThread;
  wish: { readonly command: InspectCommand; readonly settle: (outcome: InspectionOutcome) => void } | null;
}

const called: InspectionOutcome = { status: 'cancelled' };

export class InspectionService {
  private readonly surroundings: InspectionSurroundings;
  private work: Work | null = null;
  private wishes = 0;

  constructor(surroundings: InspectionSurroundings) {
    this.surroundings = surroundings;
  }

  /** Called off when something else is asked for, or the inspection is ended, before there is an answer. */
  inspect({ comparisonId, at, walk, device }: InspectionRequest): Promise<InspectionOutcome> {
    let work: Work;
    try {
      work = this.workFor(comparisonId);
    } catch (error) {
      return Promise.resolve({ status: 'failed', error: failureOf(error) });
    }
    work.wish?.settle(called);
    this.wishes += 1;
    const command = { wish: this.wishes, at, walk, device: device ?? null };
    return new Promise((settle) => {
      work.wish = { command, settle };
      work.thread.postMessage(command);
    });
  }

  /** The thread goes, and what it held. */
  end(): void {
    const { work } = this;
    this.work = null;
    if (work === null) return;
    work.wish?.settle(called);
    void work.thread.terminate();
  }

  private workFor(comparisonId: string): Work {
    const input = this.surroundings.inspectable(comparisonId);
    const { id: runId } = input.of;
    if (this.work?.runId === runId && this.work.comparisonId === comparisonId) return this.work;
    this.end();
    const work: Work = { runId, comparisonId, thread: this.surroundings.startThread(input), wish: null };
    this.work = work;
    work.thread.on('message', (report) => this.take(work, report));
    work.thread.on('error', (error) => {
      this.surroundings.log(`inspection thread: ${describeError(error)}`);
      const outOfMemory = error instanceof Error && 'code' in error && error.code === 'ERR_WORKER_OUT_OF_MEMORY';
      this.fail(work, outOfMemory ? 'The run needs more memory than an inspection may take.' : broken);
    });
    work.thread.on('exit', () => this.fail(work, broken));
    return work;
  }

  private take(work: Work, report: InspectReport): void {
    if (this.work !== work) return;
    switch (report.kind) {
      case 'progress':
        if (report.wish === work.wish?.command.wish) {
          const { at } = work.wish.command;
          this.surroundings.progressed({ comparisonId: work.comparisonId, at, reached: report.reached });
        }
        break;
      case 'snapshot':
        if (report.wish === work.wish?.command.wish) this.answer(work, report.snapshot);
        break;
      case 'failed':
        if (!report.forPeople) this.surroundings.log(`inspection thread: ${report.message}`);
        this.fail(work, report.forPeople ? report.message : broken);
        break;
    }
  }

  private answer(work: Work, snapshot: MomentSnapshot): void {
    const { wish } = work;
    work.wish = null;
    wish?.settle({ status: 'done', snapshot });
  }

  private fail(work: Work, sentence: string): void {
    if (this.work !== work) return;
    this.work = null;
    void work.thread.terminate();
    const error = failureOf(new DesktopError('run-failed', sentence));
    work.wish?.settle({ status: 'failed', error });
  }
}

const broken = 'The emulator itself failed while it looked into the run. The log has the details.';
