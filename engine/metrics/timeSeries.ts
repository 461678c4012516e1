/**
 * A time series of bounded size: at most `capacity` windows of equal length (256: more would leave a p99 of too few requests
 * in each). When a value falls past the last one,
 * neighbours merge and the window doubles, so memory stays flat however long a run is, and totals are kept exactly.
 * Counts add up, levels keep their maximum, percentiles come from one small histogram a window, which merge too.
 * Leaves out: values before the newest window's start, which count for the window that holds them all the same.
 */
import { bucketCount, bucketOf, bucketPercentile, type HistogramShape } from './histogram.ts';
import { MAX_COLUMNS, QUANTILE_COLUMNS, SERIES_COLUMNS, SUM_COLUMNS, type SeriesColumn } from './seriesColumns.ts';

/** From 1 ns to 2^40 ps (1.1 s) within 1 in 32: 1 MB for 256 windows. */
const WINDOW_HISTOGRAM: HistogramShape = { subBucketBits: 5, unitBits: 10, rangeBits: 40 };

/** 50 us, the order of one I/O of a fast drive: shorter windows would mostly hold one request or none. */
const FIRST_WINDOW_PS = 50_000_000;

const QUANTILES = [0.5, 0.99] as const;

export interface SeriesSnapshot {
  readonly windowPs: number;
  readonly count: number;
  readonly endPs: number;
  readonly columns: Record<SeriesColumn, Float64Array>;
}

export class WindowedSeries {
  readonly capacity: number;
  windowPs: number;
  /** Windows in use: the last one is the one that time is in. */
  count = 0;
  endPs = 0;
  private readonly sums: Float64Array[];
  private readonly maxima: Float64Array[];
  private readonly histograms: Uint32Array;
  private readonly recorded: Float64Array;
  private readonly histogramLength = bucketCount(WINDOW_HISTOGRAM);
  private readonly levels = new Float64Array(MAX_COLUMNS.length);
  /** Percentiles of windows that no longer change, so that a snapshot does not compute them again. */
  private readonly quantiles: Float64Array[];
  private fresh = 0;

  constructor(capacity = 256, windowPs = FIRST_WINDOW_PS) {
    if (capacity < 2 || capacity % 2 !== 0) throw new RangeError('A series needs an even number of windows.');
    this.capacity = capacity;
    this.windowPs = windowPs;
    this.sums = SUM_COLUMNS.map(() => new Float64Array(capacity));
    this.maxima = MAX_COLUMNS.map(() => new Float64Array(capacity));
    this.quantiles = QUANTILE_COLUMNS.map(() => new Float64Array(capacity));
    this.histograms = new Uint32Array(capacity * this.histogramLength);
    this.recorded = new Float64Array(capacity);
  }

  /** Adds to a counting column. */
  add(at: number, column: number, amount: number): void {
    const window = this.windowAt(at);
    const values = this.sums[column];
    if (values) values[window] = (values[window] ?? 0) + amount;
  }

  /** Sets the level of a column that keeps its maximum. */
  level(at: number, column: number, value: number): void {
    const window = this.windowAt(at);
    this.levels[column] = value;
    const values = this.maxima[column];
    if (values && value > (values[window] ?? 0)) values[window] = value;
  }

  /** Records a latency into the histogram of its window. */
  latency(at: number, value: number): void {
    const window = this.windowAt(at);
    const slot = window * this.histogramLength + bucketOf(WINDOW_HISTOGRAM, value);
    this.histograms[slot] = (this.histograms[slot] ?? 0) + 1;
    this.recorded[window] = (this.recorded[window] ?? 0) + 1;
    if (window < this.fresh) this.fresh = window;
  }

  /** Brings the series up to a moment: opens the windows until then, in which levels stay as they were. */
  windowAt(at: number): number {
    if (at > this.endPs) this.endPs = at;
    let window = Math.floor(at / this.windowPs);
    while (window >= this.capacity) {
      this.mergeNeighbours();
      window = Math.floor(at / this.windowPs);
    }
    while (this.count <= window) {
      this.maxima.forEach((values, column) => {
        values[this.count] = this.levels[column] ?? 0;
      });
      this.count += 1;
    }
    return window;
  }

  snapshot(): SeriesSnapshot {
    this.computeQuantiles();
    const all = [...this.sums, ...this.maxima, ...this.quantiles];
    const columns = Object.fromEntries(
      SERIES_COLUMNS.map((column, index) => [column, all[index]?.slice(0, this.count)]),
    ) as Record<SeriesColumn, Float64Array>;
    return { windowPs: this.windowPs, count: this.count, endPs: this.endPs, columns };
  }

  private computeQuantiles(): void {
    for (let window = this.fresh; window < this.count; window += 1)
      this.quantiles.forEach((values, index) => {
        values[window] = bucketPercentile(
          WINDOW_HISTOGRAM,
          this.histograms,
          window * this.histogramLength,
          this.recorded[window] ?? 0,
          QUANTILES[index] ?? 0,
        );
      });
    this.fresh = Math.max(0, this.count - 1);
  }

  private mergeNeighbours(): void {
    const half = this.capacity / 2;
    for (const values of this.sums) foldPairs(values, half, (left, right) => left + right);
    for (const values of this.maxima) foldPairs(values, half, Math.max);
    foldPairs(this.recorded, half, (left, right) => left + right);
    const length = this.histogramLength;
    for (let window = 0; window < half; window += 1)
      for (let bucket = 0; bucket < length; bucket += 1)
        this.histograms[window * length + bucket] =
          (this.histograms[2 * window * length + bucket] ?? 0) +
          (this.histograms[(2 * window + 1) * length + bucket] ?? 0);
    this.histograms.fill(0, half * length);
    this.windowPs *= 2;
    this.count = Math.ceil(this.count / 2);
    this.fresh = 0;
  }
}

function foldPairs(values: Float64Array, half: number, fold: (left: number, right: number) => number): void {
  for (let index = 0; index < half; index += 1)
    values[index] = fold(values[2 * index] ?? 0, values[2 * index + 1] ?? 0);
  values.fill(0, half);
}
