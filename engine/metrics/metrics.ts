/**
 * All that one run measures: counters, latency histograms, the time series, the log. A driver and a device report what they
 * did with its moment; the run loop calls `beginEvent` before each event so that what the counters gained is credited to
 * the window in which it was counted. Sees nothing of the machine.
 */
import { COUNTER, Counters, type CounterName } from './counters.ts';
import { EventLog } from './eventLog.ts';
import { Histogram } from './histogram.ts';
import { MAX_COLUMNS, SUM_COLUMNS, type SumColumn } from './seriesColumns.ts';
import { WindowedSeries } from './timeSeries.ts';

/** Which counters feed which column; `bytes` is credited at completion instead. */
const COLUMN_COUNTERS: Readonly<Partial<Record<SumColumn, CounterName>>> = {
  iotlbLookups: 'iotlbLookups',
  iotlbMisses4K: 'iotlbMisses4K',
  iotlbMisses2M: 'iotlbMisses2M',
  iotlbMisses1G: 'iotlbMisses1G',
  tableReads: 'tableReads',
  iotlbSyncs: 'iotlbSyncs',
};

const REQUESTS = SUM_COLUMNS.indexOf('requests');
const BYTES = SUM_COLUMNS.indexOf('bytes');
const BOOKKEEPING = MAX_COLUMNS.indexOf('bookkeepingBytes');

export interface MetricsOptions {
  /** Windows of the time series; even. */
  readonly windows?: number;
  /** Length of the first windows, picoseconds. */
  readonly windowPs?: number;
  readonly logCapacity?: number;
}

export class Metrics {
  readonly counters = new Counters();
  readonly mapLatency = new Histogram();
  readonly unmapLatency = new Histogram();
  readonly ioLatency = new Histogram();
  readonly series: WindowedSeries;
  readonly log: EventLog;
  bookkeepingBytes = 0;
  bookkeepingPeak = 0;
  /** Bytes of completed requests, and the moment of the last completion. */
  completedBytes = 0;
  completedRequests = 0;
  lastCompletionPs = 0;
  private readonly watched: readonly { readonly column: number; readonly counter: number }[];
  private readonly credited: Float64Array;
  private countedAt = 0;
  private boundary = 0;

  constructor(options: MetricsOptions = {}) {
    this.series = new WindowedSeries(options.windows, options.windowPs);
    this.log = new EventLog(options.logCapacity);
    this.watched = SUM_COLUMNS.flatMap((name, column) => {
      const counter = COLUMN_COUNTERS[name];
      return counter === undefined ? [] : [{ column, counter: COUNTER[counter] }];
    });
    this.credited = new Float64Array(this.watched.length);
  }

  /** The CPU time of all DMA-API calls that a request made before its device could start. */
  recordMapLatency(at: number, latency: number): void {
    this.mapLatency.record(latency);
    this.series.latency(at, latency);
  }

  /** The same after completion, waits for invalidation included. */
  recordUnmapLatency(_at: number, latency: number): void {
    this.unmapLatency.record(latency);
  }

  /** A request is complete: from its submission to its completion as the driver sees it. */
  recordIoLatency(at: number, latency: number, bytes: number): void {
    this.ioLatency.record(latency);
    this.completedBytes += bytes;
    this.completedRequests += 1;
    if (at > this.lastCompletionPs) this.lastCompletionPs = at;
    this.series.add(at, REQUESTS, 1);
    this.series.add(at, BYTES, bytes);
  }

  /** The scheme took (or gave back) memory beyond the pages and the hardware's own lists. */
  addBookkeeping(at: number, deltaBytes: number): void {
    this.bookkeepingBytes += deltaBytes;
    if (this.bookkeepingBytes > this.bookkeepingPeak) this.bookkeepingPeak = this.bookkeepingBytes;
    this.series.level(at, BOOKKEEPING, this.bookkeepingBytes);
  }

  /**
   * The next event happens at `at`. If that is in another window than the last event, what was counted until now belongs to
   * the last event's window.
   */
  beginEvent(at: number): void {
    if (at >= this.boundary) {
      this.credit();
      const window = this.series.windowPs;
      this.boundary = (Math.floor(at / window) + 1) * window;
    }
    this.countedAt = at;
  }

  /** Credits what was counted so far; for a snapshot. */
  credit(): void {
    for (let index = 0; index < this.watched.length; index += 1) {
      const watch = this.watched[index];
      if (!watch) continue;
      const value = this.counters.values[watch.counter] ?? 0;
      const gained = value - (this.credited[index] ?? 0);
      this.credited[index] = value;
      this.series.add(this.countedAt, watch.column, gained);
    }
  }
}
