/**
 * The summary of a run: the rows of the table that the command line prints and the window shows, computed from virtual time
 * and counters alone (summaryRows.ts).
 */
import type { Metrics } from '../metrics/metrics.ts';
import type { DeviceTlb } from '../iommu/ats/deviceTlb.ts';
import type { DeviceMetrics } from './deviceMetrics.ts';
import { formatQuantity } from './quantity.ts';
import type { RunResult, RunSummary, SummaryRow } from './runTypes.ts';
import { DEVICE_ROWS, MAPPING_ROWS, ON_DEMAND_ROWS, REGION_ROWS, ROWS } from './summaryRows.ts';

/** Keys of the rows that are not of one device. */
export const SUMMARY_KEYS: readonly string[] = [...ROWS, ...REGION_ROWS, ...ON_DEMAND_ROWS].map(({ key }) => key);

/** Whether a summary may have a row of this key; rows of one device end in its id. */
export function isSummaryKey(key: string): boolean {
  return SUMMARY_KEYS.includes(key) || /^[A-Za-z]\w*\.[A-Za-z0-9][A-Za-z0-9._-]*$/.test(key);
}

export interface SummedDevice {
  readonly id: string;
  readonly kind: 'nvme' | 'nic' | 'gpu';
  readonly metrics: DeviceMetrics;
  readonly deviceTlb: Pick<DeviceTlb, 'hits' | 'misses' | 'invalidations'> | null;
}

function deviceTlbRows(
  id: string,
  { hits, misses, invalidations }: NonNullable<SummedDevice['deviceTlb']>,
): SummaryRow[] {
  const row = (name: string, label: string, value: number, help: string): SummaryRow => ({
    key: `${name}.${id}`,
    label: `${id}: ${label}`,
    unit: 'count',
    value,
    help,
  });
  return [
    row('deviceTlbHits', 'device TLB hits', hits, 'Accesses that the device translated by itself.'),
    row('deviceTlbMisses', 'device TLB misses', misses, 'Translation requests that the device sent to the IOMMU.'),
    row('deviceTlbInvalidations', 'device TLB invalidations', invalidations, 'Invalidate requests that it answered.'),
  ];
}

/** `devices`: those that do work have rows of their own below those of the machine, where there are several; keys end in the device's id. `failed`: requests by device. */
export function summarize(
  metrics: Metrics,
  devices: readonly SummedDevice[] = [],
  failed: ReadonlyMap<string, number> = new Map(),
): RunSummary {
  const registers = devices.some(({ kind }) => kind === 'nic');
  const pages = metrics.counters.get('odpPagesMapped') > 0 || metrics.counters.get('odpFaults') > 0;
  const rows = [...ROWS, ...(registers ? REGION_ROWS : []), ...(pages ? ON_DEMAND_ROWS : [])];
  const whole = rows.map(({ value, ...row }): SummaryRow => ({ ...row, value: value(metrics) }));
  const caches = devices.flatMap(({ id, deviceTlb }) => (deviceTlb === null ? [] : deviceTlbRows(id, deviceTlb)));
  const working = devices.filter(({ kind }) => kind !== 'gpu');
  if (working.length < 2) return { rows: [...whole, ...caches] };
  const deviceRows = registers ? [...DEVICE_ROWS, ...MAPPING_ROWS] : DEVICE_ROWS;
  const each = working.flatMap((device) => [
    ...deviceRows.map(({ key, label, value, ...row }): SummaryRow => ({
      ...row,
      key: `${key}.${device.id}`,
      label: `${device.id}: ${label}`,
      value: value(device.metrics),
    })),
    ...(registers ? [failedRow(device.id, failed.get(device.id) ?? 0)] : []),
  ]);
  return { rows: [...whole, ...each, ...caches] };
}

function failedRow(id: string, value: number): SummaryRow {
  return {
    key: `failed.${id}`,
    label: `${id}: failed`,
    unit: 'count',
    value,
    help: 'Messages or requests of this device that failed.',
  };
}

/** The table as text: one line a row, one column a run, numbers flush right. */
export function summaryTable(results: readonly Pick<RunResult, 'label' | 'partial' | 'summary'>[]): string {
  const head = ['', ...results.map((result) => result.label + (result.partial ? ' (partial)' : ''))];
  const labels = new Map(ROWS.map(({ key, label }) => [key, label]));
  for (const { summary } of results) for (const { key, label } of summary.rows) labels.set(key, label);
  const body = [...labels].map(([key, label]) => [
    label,
    ...results.map((result) => {
      const row = result.summary.rows.find((other) => other.key === key);
      return row ? formatQuantity(row.value, row.unit) : '–';
    }),
  ]);
  const lines = [head, ...body];
  const widths = head.map((_, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0)));
  return lines
    .map((line) =>
      line
        .map((cell, column) => (column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0)))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}
