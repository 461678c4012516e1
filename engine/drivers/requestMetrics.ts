/**
 * What a driver reports about its requests. The run's metrics implement it; tests may too.
 */
import type { Picoseconds } from '../time/picoseconds.ts';

export interface RequestMetrics {
  /** Virtual CPU time of all DMA API calls of a request before its device may start. */
  recordMapLatency(at: Picoseconds, duration: Picoseconds): void;
  /** The same after completion, waiting for flushes included. */
  recordUnmapLatency(at: Picoseconds, duration: Picoseconds): void;
  /** From submission to the end of the request in the driver, its unmap included. */
  recordIoLatency(at: Picoseconds, duration: Picoseconds, bytes: number): void;
  /** Memory that the mapping scheme takes (positive) or gives back (negative). */
  addBookkeeping(at: Picoseconds, deltaBytes: number): void;
}
