/**
 * What one device's requests take: passed on to the run's metrics, and counted for the device by itself, so that a machine with several
 * can tell them apart.
 */
import type { RequestMetrics } from '../drivers/requestMetrics.ts';
import { Histogram } from '../metrics/histogram.ts';
import type { Picoseconds } from '../time/picoseconds.ts';

export class DeviceMetrics implements RequestMetrics {
  readonly ioLatency = new Histogram();
  readonly mapLatency = new Histogram();
  readonly unmapLatency = new Histogram();
  completedRequests = 0;
  completedBytes = 0;
  lastCompletionPs = 0;
  private readonly run: RequestMetrics;

  constructor(run: RequestMetrics) {
    this.run = run;
  }

  recordMapLatency(at: Picoseconds, duration: Picoseconds): void {
    this.run.recordMapLatency(at, duration);
    this.mapLatency.record(duration);
  }

  recordUnmapLatency(at: Picoseconds, duration: Picoseconds): void {
    this.run.recordUnmapLatency(at, duration);
    this.unmapLatency.record(duration);
  }

  recordIoLatency(at: Picoseconds, duration: Picoseconds, bytes: number): void {
    this.run.recordIoLatency(at, duration, bytes);
    this.ioLatency.record(duration);
    this.completedRequests += 1;
    this.completedBytes += bytes;
    if (at > this.lastCompletionPs) this.lastCompletionPs = at;
  }

  addBookkeeping(at: Picoseconds, deltaBytes: number): void {
    this.run.addBookkeeping(at, deltaBytes);
  }
}
