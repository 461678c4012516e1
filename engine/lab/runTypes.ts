/**
 * What a run tells the world: progress, frames for live charts, and its result. Plain objects and typed arrays only, so that
 * they pass between threads and into files. No imports at run time: the renderer may use this file.
 */
import type { CheckerResult } from '../dma/checker/misuse.ts';
import type { SerializedHistogram } from '../metrics/histogram.ts';
import type { LogEntry } from '../metrics/eventLog.ts';
import type { SeriesColumn } from '../metrics/seriesColumns.ts';

export interface RunProgress {
  readonly runId: string;
  readonly virtualTimePs: number;
  /** Requests completed, and requests that the workload will make; total 0: not known. */
  readonly completed: number;
  readonly total: number;
  /** Simulated events so far. */
  readonly events: number;
}

/** `si` counts and rates get an SI prefix, `bytes` a binary one, `ps` a time unit. */
export type SummaryUnit = 'count' | 'bytes' | 'ps' | 'bytes/s';

/** One line of the summary table. `value` is NaN where nothing was measured. */
export interface SummaryRow {
  readonly key: string;
  readonly label: string;
  readonly unit: SummaryUnit;
  readonly value: number;
  /** What the row means, for tooltips. */
  readonly help: string;
}

export interface RunSummary {
  readonly rows: readonly SummaryRow[];
}

/** Time series of a run so far: window i covers [i * windowPs, (i + 1) * windowPs). The last one may be unfinished. */
export interface RunSeries {
  readonly windowPs: number;
  readonly count: number;
  /** The moment up to which the series speaks. */
  readonly endPs: number;
  readonly columns: Readonly<Record<SeriesColumn, Float64Array>>;
}

/** A live picture of a run. Its arrays are its own: they may be transferred. */
export interface RunFrame extends RunSeries {
  readonly runId: string;
  readonly comparisonId: string;
  readonly progress: RunProgress;
  readonly summary: RunSummary;
  readonly log: readonly LogEntry[];
  /** Left out where the lab does not check the calls of the DMA API. */
  readonly checker?: CheckerResult;
}

export interface RunHistograms {
  readonly mapLatency: SerializedHistogram;
  readonly unmapLatency: SerializedHistogram;
  readonly ioLatency: SerializedHistogram;
}

export interface RunResult {
  /** First 16 hex digits of the sha256 of the run's canonical inputs. */
  readonly id: string;
  readonly comparisonId: string;
  readonly label: string;
  readonly engineVersion: string;
  readonly seed: number;
  /** The presets that it was computed with, in words; left out in results of older versions. */
  readonly presets?: string;
  /** True when the run was cancelled: what it holds is a prefix of the whole result. */
  readonly partial: boolean;
  readonly progress: RunProgress;
  readonly summary: RunSummary;
  readonly counters: Readonly<Record<string, number>>;
  readonly series: RunSeries;
  readonly histograms: RunHistograms;
  readonly log: readonly LogEntry[];
  /** Left out where the lab does not check the calls of the DMA API. */
  readonly checker?: CheckerResult;
}
