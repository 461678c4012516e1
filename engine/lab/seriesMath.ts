/**
 * Series of several runs on one axis. Runs of different length end up with windows of different length; counts are only
 * comparable per equal window, so they are folded to the longest one. Pure: the renderer uses it too.
 */
import type { SumColumn } from '../metrics/seriesColumns.ts';
import type { RunSeries } from './runTypes.ts';

/**
 * Points of a line, flat: moment in ps, value, moment, value ... Charts take them as they are; pairs would cost ten times the
 * time to make and to draw.
 */
export type Points = Float64Array;

/** The window that all series can be folded to. Windows double from one length, so the longest is a multiple of each. */
export function commonWindow(series: readonly RunSeries[]): number {
  return series.reduce((longest, one) => Math.max(longest, one.windowPs), 1);
}

/** A counting column folded to windows of `windowPs`. */
function foldCounts(series: RunSeries, column: SumColumn, windowPs: number): Float64Array {
  const factor = Math.max(1, Math.round(windowPs / series.windowPs));
  const folded = new Float64Array(Math.ceil(series.count / factor));
  const values = series.columns[column];
  for (let window = 0; window < series.count; window += 1) {
    const target = Math.floor(window / factor);
    folded[target] = (folded[target] ?? 0) + (values[window] ?? 0);
  }
  return folded;
}

/** Counts per window, each at the middle of its window. An unfinished last window is left out: it would read as a drop. */
export function countPoints(series: RunSeries, column: SumColumn, windowPs: number): Points {
  const folded = foldCounts(series, column, windowPs);
  const finished = series.endPs < folded.length * windowPs && folded.length > 1 ? folded.length - 1 : folded.length;
  const points = new Float64Array(2 * finished);
  for (let window = 0; window < finished; window += 1) {
    points[2 * window] = (window + 0.5) * windowPs;
    points[2 * window + 1] = folded[window] ?? 0;
  }
  return points;
}

/** Counts per second; the last window counts for as long as it is. */
export function ratePoints(series: RunSeries, column: SumColumn, windowPs: number): Points {
  const points = countPoints(series, column, windowPs);
  const last = points.length / 2 - 1;
  for (let window = 0; window <= last; window += 1) {
    const length = window === last ? Math.min(windowPs, series.endPs - window * windowPs) : windowPs;
    points[2 * window + 1] = length > 0 ? ((points[2 * window + 1] ?? 0) * 1e12) / length : 0;
  }
  return points;
}

/** A column of levels or percentiles in its own windows; windows without a value are left out. */
export function levelPoints(values: Float64Array, windowPs: number): Points {
  const points = new Float64Array(2 * values.length);
  let used = 0;
  for (let window = 0; window < values.length; window += 1) {
    const value = values[window] ?? Number.NaN;
    if (Number.isNaN(value)) continue;
    points[used] = (window + 0.5) * windowPs;
    points[used + 1] = value;
    used += 2;
  }
  return points.subarray(0, used);
}
