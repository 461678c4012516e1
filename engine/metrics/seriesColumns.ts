/**
 * The columns of a run's time series: one value a window. How a column's neighbours merge when the window doubles is part
 * of what the column is: counts add up, levels keep their maximum, percentiles come from histograms that merge.
 */
export const SUM_COLUMNS = [
  'iotlbLookups',
  'iotlbMisses4K',
  'iotlbMisses2M',
  'iotlbMisses1G',
  'tableReads',
  'iotlbSyncs',
  'requests',
  'bytes',
] as const;

export const MAX_COLUMNS = ['bookkeepingBytes'] as const;

export const QUANTILE_COLUMNS = ['mapLatencyP50', 'mapLatencyP99'] as const;

export const SERIES_COLUMNS = [...SUM_COLUMNS, ...MAX_COLUMNS, ...QUANTILE_COLUMNS] as const;

export type SumColumn = (typeof SUM_COLUMNS)[number];
export type SeriesColumn = (typeof SERIES_COLUMNS)[number];

/** Unit of each column, as CSV headers and axes name it. Latencies are picoseconds; NaN where a window mapped nothing. */
export const SERIES_UNITS: Readonly<Record<SeriesColumn, 'count' | 'bytes' | 'ps'>> = {
  iotlbLookups: 'count',
  iotlbMisses4K: 'count',
  iotlbMisses2M: 'count',
  iotlbMisses1G: 'count',
  tableReads: 'count',
  iotlbSyncs: 'count',
  requests: 'count',
  bytes: 'bytes',
  bookkeepingBytes: 'bytes',
  mapLatencyP50: 'ps',
  mapLatencyP99: 'ps',
};
