/**
 * What runs on a machine: a source of block I/O that knows when it is done.
 */
import type { EventHandler } from '../time/eventQueue.ts';

export interface Workload extends EventHandler {
  /** Schedules the first I/Os. Called once, before the event queue runs. */
  start(): void;
  readonly done: boolean;
  /** I/Os completed, with or without an error. */
  readonly completed: number;
  /** I/Os that it will make. */
  readonly total: number;
  /** I/Os that completed with an error status. */
  readonly failed: number;
}
