/**
 * Results as CSV (RFC 4180): raw values, units in the header, dots for decimals, empty where nothing was measured. Made
 * from the raw series, never from what a chart has thinned.
 */
import { SERIES_COLUMNS, SERIES_UNITS } from '../metrics/seriesColumns.ts';
import type { ChartId, ChartRun } from './chartOptions.ts';
import type { RunResult, RunSeries } from './runTypes.ts';
import type { SeriesColumn } from '../metrics/seriesColumns.ts';

const CHART_COLUMNS: Readonly<Record<ChartId, readonly SeriesColumn[]>> = {
  'iotlb-misses': ['iotlbMisses4K', 'iotlbMisses2M', 'iotlbMisses1G'],
  'map-latency': ['mapLatencyP50', 'mapLatencyP99'],
  throughput: ['bytes'],
  'bookkeeping-bytes': ['bookkeepingBytes'],
};

/** Every column of one run, a line a window. */
export function seriesCsv(series: RunSeries): string {
  const header = ['windowStart_ps', 'windowLength_ps', ...SERIES_COLUMNS.map(heading)];
  const lines = windows(series).map(({ window, start, length }) =>
    [start, length, ...SERIES_COLUMNS.map((column) => series.columns[column][window] ?? Number.NaN)]
      .map(number)
      .join(','),
  );
  return csv([header.join(','), ...lines]);
}

/** What one chart shows, of all its runs. */
export function chartCsv(chart: ChartId, runs: readonly ChartRun[]): string {
  const columns = CHART_COLUMNS[chart];
  const header = ['run', 'runId', 'seed', 'windowStart_ps', 'windowLength_ps', ...columns.map(heading)];
  const lines = runs.flatMap((run) =>
    windows(run.series).map(({ window, start, length }) =>
      [
        field(run.label),
        run.runId,
        ...[run.seed, start, length, ...columns.map((column) => run.series.columns[column][window] ?? Number.NaN)].map(
          number,
        ),
      ].join(','),
    ),
  );
  return csv([header.join(','), ...lines]);
}

/** The summary table: a line a row, a column a run. */
export function summaryCsv(results: readonly RunResult[]): string {
  const header = [
    'key',
    'label',
    'unit',
    ...results.map((result) => field(result.label + (result.partial ? ' (partial)' : ''))),
  ];
  const ids = ['run', 'run id', '', ...results.map((result) => result.id)];
  const seeds = ['seed', 'seed', '', ...results.map((result) => String(result.seed))];
  // Runs that a lab keeps may be of a time when it had other drives.
  const byKey = new Map(results.flatMap(({ summary }) => summary.rows.map((row) => [row.key, row] as const)));
  const rows = [...byKey.values()].map((row) => [
    row.key,
    field(row.label),
    row.unit,
    ...results.map((result) => number(result.summary.rows.find((other) => other.key === row.key)?.value ?? Number.NaN)),
  ]);
  return csv([header, ids, seeds, ...rows].map((cells) => cells.join(',')));
}

function windows(series: RunSeries): { window: number; start: number; length: number }[] {
  return Array.from({ length: series.count }, (_, window) => {
    const start = window * series.windowPs;
    return { window, start, length: Math.min(series.windowPs, Math.max(0, series.endPs - start)) };
  });
}

function heading(column: SeriesColumn): string {
  const unit = SERIES_UNITS[column];
  return unit === 'count' ? column : `${column}_${unit}`;
}

function number(value: number): string {
  return Number.isFinite(value) ? String(value) : '';
}

/** Quoted where CSV needs it; a leading sign that a spreadsheet would take for a formula is kept as text. */
export function field(text: string): string {
  const safe = /^[=+@\t-]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

export function csv(lines: readonly string[]): string {
  return `${lines.join('\r\n')}\r\n`;
}
