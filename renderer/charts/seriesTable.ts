/** The series of a chart as rows: what the eye reads from the curves, for those who read figures or have them read aloud. */
import { formatShort, formatTime } from '../../engine/lab/quantity.ts';
import type { SummaryUnit } from '../../engine/lab/runTypes.ts';
import type { ChartId } from '../../engine/lab/chartOptions.ts';
import type { WindowSeries } from './windowChart.ts';

export interface SeriesTable {
  readonly columns: readonly string[];
  readonly rows: readonly { readonly at: string; readonly cells: readonly string[] }[];
}

const UNITS: Readonly<Record<ChartId, SummaryUnit>> = {
  'iotlb-misses': 'count',
  'map-latency': 'ps',
  throughput: 'bytes/s',
  'bookkeeping-bytes': 'bytes',
};

export function seriesTable(chart: ChartId, series: readonly WindowSeries[]): SeriesTable {
  const unit = UNITS[chart];
  const moments = new Map<number, (number | undefined)[]>();
  series.forEach(({ data }, column) => {
    for (let index = 0; index < data.length; index += 2) {
      const at = data[index] ?? 0;
      let row = moments.get(at);
      if (row === undefined) moments.set(at, (row = []));
      row[column] = data[index + 1];
    }
  });
  const rows = [...moments.entries()]
    .sort(([left], [right]) => left - right)
    .map(([at, values]) => ({
      at: formatTime(at),
      cells: series.map((_, column) => {
        const value = values[column];
        return value === undefined || Number.isNaN(value) ? '–' : formatShort(value, unit);
      }),
    }));
  return { columns: series.map(({ name }) => name), rows };
}
