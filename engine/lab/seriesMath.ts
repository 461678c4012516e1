/**
 * Series of several runs on one axis. Runs of different length end up with windows of different length; counts are only
 * comparable per equal window, so they are folded to the longest one. Pure: the renderer uses it too.
 */
import type { SumColumn } from '../metrics/seriesColumns.ts';
import type { RunSeries } from './runTypes.ts';

/** Points [moment in ps, value], for a line chart. */
export type Points = [number, number][];

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
  return Array.from({ length: finished }, (_, window) => [(window + 0.5) * windowPs, folded[window] ?? 0]);
}

/** Counts per second; the last window counts for as long as it is. */
export function ratePoints(series: RunSeries, column: SumColumn, windowPs: number): Points {
  return countPoints(series, column, windowPs).map(([at, value], index, all) => {
    const length = index === all.length - 1 ? Math.min(windowPs, series.endPs - index * windowPs) : windowPs;
    return [at, length > 0 ? (value * 1e12) / length : 0];
  });
}

/** A column of levels or percentiles in its own windows; windows without a value are left out. */
export function levelPoints(values: Float64Array, windowPs: number): Points {
  const points: Points = [];
  values.forEach((value, window) => {
    if (!Number.isNaN(value)) points.push([(window + 0.5) * windowPs, value]);
  });
  return points;
}
