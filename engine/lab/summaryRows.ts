/**
 * The rows that a summary may have, and how each is computed from virtual time and counters. The order is the path of a request: what was
 * asked, what the kernel did, what the hardware did, what it cost.
 */
import type { Metrics } from '../metrics/metrics.ts';
import type { DeviceMetrics } from './deviceMetrics.ts';
import type { SummaryUnit } from './runTypes.ts';

interface RowSpecification {
  readonly key: string;
  readonly label: string;
  readonly unit: SummaryUnit;
  readonly help: string;
  readonly value: (metrics: Metrics) => number;
}

function counter(name: Parameters<Metrics['counters']['get']>[0]): (metrics: Metrics) => number {
  return (metrics) => metrics.counters.get(name);
}

export const ROWS: readonly RowSpecification[] = [
  {
    key: 'requests',
    label: 'requests',
    unit: 'count',
    help: 'Requests completed by the driver.',
    value: (metrics) => metrics.completedRequests,
  },
  {
    key: 'bytes',
    label: 'bytes',
    unit: 'bytes',
    help: 'Bytes of completed requests.',
    value: (metrics) => metrics.completedBytes,
  },
  {
    key: 'iovaAllocFast',
    label: 'IOVA allocations, fast',
    unit: 'count',
    help: 'From the cache of a CPU.',
    value: counter('iovaAllocFast'),
  },
  {
    key: 'iovaAllocSlow',
    label: 'IOVA allocations, slow',
    unit: 'count',
    help: 'From the tree, after the cache had none.',
    value: counter('iovaAllocSlow'),
  },
  {
    key: 'maps',
    label: 'maps',
    unit: 'count',
    help: 'Calls of iommu_map: physically contiguous pieces entered in the page table.',
    value: counter('iommuMaps'),
  },
  { key: 'unmaps', label: 'unmaps', unit: 'count', help: 'Calls of iommu_unmap.', value: counter('iommuUnmaps') },
  {
    key: 'syncs',
    label: 'syncs',
    unit: 'count',
    help: 'Invalidations that a CPU waited for.',
    value: counter('iotlbSyncs'),
  },
  {
    key: 'flushes',
    label: 'flushes',
    unit: 'count',
    help: 'Domain flushes of the flush queue (lazy).',
    value: counter('flushQueueFlushes'),
  },
  {
    key: 'iotlbLookups',
    label: 'IOTLB lookups',
    unit: 'count',
    help: 'Bus transactions that needed translation.',
    value: counter('iotlbLookups'),
  },
  {
    key: 'iotlbMisses',
    label: 'IOTLB misses',
    unit: 'count',
    help: 'Lookups that did not find their page, of any size.',
    value: iotlbMisses,
  },
  {
    key: 'iotlbMissesPerRequest',
    label: 'IOTLB misses per request',
    unit: 'count',
    help: 'Misses over completed requests.',
    value: (metrics) => iotlbMisses(metrics) / metrics.completedRequests,
  },
  {
    key: 'tableReads',
    label: 'table reads',
    unit: 'count',
    help: 'Table entries that page walks and context lookups read.',
    value: counter('tableReads'),
  },
  {
    key: 'bookkeepingPeak',
    label: 'bookkeeping, peak',
    unit: 'bytes',
    help: 'Most memory that the scheme held beyond the pages and the lists of the hardware.',
    value: (metrics) => metrics.bookkeepingPeak,
  },
  {
    key: 'mapLatencyP50',
    label: 'map latency p50',
    unit: 'ps',
    help: 'CPU time of the DMA API calls of one request before its device may start, half of the requests.',
    value: (metrics) => metrics.mapLatency.percentile(0.5),
  },
  {
    key: 'mapLatencyP99',
    label: 'map latency p99',
    unit: 'ps',
    help: 'The same, all but one in a hundred.',
    value: (metrics) => metrics.mapLatency.percentile(0.99),
  },
  {
    key: 'unmapLatencyP50',
    label: 'unmap latency p50',
    unit: 'ps',
    help: 'CPU time of the DMA API calls after completion, waits for invalidation included.',
    value: (metrics) => metrics.unmapLatency.percentile(0.5),
  },
  {
    key: 'unmapLatencyP99',
    label: 'unmap latency p99',
    unit: 'ps',
    help: 'The same, all but one in a hundred.',
    value: (metrics) => metrics.unmapLatency.percentile(0.99),
  },
  {
    key: 'ioLatencyP50',
    label: 'I/O latency p50',
    unit: 'ps',
    help: 'From submission to completion as the driver sees it.',
    value: (metrics) => metrics.ioLatency.percentile(0.5),
  },
  {
    key: 'ioLatencyP99',
    label: 'I/O latency p99',
    unit: 'ps',
    help: 'The same, all but one in a hundred.',
    value: (metrics) => metrics.ioLatency.percentile(0.99),
  },
  {
    key: 'throughput',
    label: 'throughput',
    unit: 'bytes/s',
    help: 'Bytes of completed requests over virtual time until the last completion.',
    value: throughput,
  },
  {
    key: 'requestRate',
    label: 'requests per second',
    unit: 'count',
    help: 'Completed requests over virtual time until the last completion.',
    value: requestRate,
  },
  { key: 'faults', label: 'faults', unit: 'count', help: 'Accesses that the IOMMU refused.', value: counter('faults') },
];

/** Of machines whose memory is registered with an adapter. */
export const REGION_ROWS: readonly RowSpecification[] = [
  {
    key: 'regionsRegistered',
    label: 'regions registered',
    unit: 'count',
    help: 'Memory regions that the adapter got a key for.',
    value: counter('regionsRegistered'),
  },
  {
    key: 'regionsRefused',
    label: 'regions refused',
    unit: 'count',
    help: 'Memory that could not be registered under this scheme; the log says why.',
    value: counter('regionsRefused'),
  },
  {
    key: 'messagesFailed',
    label: 'messages failed',
    unit: 'count',
    help: 'Messages whose memory was not registered, that the adapter refused, or that brought wrong bytes.',
    value: counter('messagesFailed'),
  },
  {
    key: 'pagesPinned',
    label: 'pages pinned',
    unit: 'count',
    help: 'Pages that registrations took hold of, each time anew.',
    value: counter('pagesPinned'),
  },
  {
    key: 'tableEntries',
    label: 'table entries of the adapter',
    unit: 'count',
    help: 'Entries of the hardware page lists that registrations wrote.',
    value: counter('tableEntries'),
  },
];

/** Of machines whose adapter uses memory on demand. */
export const ON_DEMAND_ROWS: readonly RowSpecification[] = [
  {
    key: 'odpFaults',
    label: 'page faults of the adapter',
    unit: 'count',
    help: 'Events in which the adapter told the driver that a page was missing.',
    value: counter('odpFaults'),
  },
  {
    key: 'odpFaultTime',
    label: 'time of a page fault, mean',
    unit: 'ps',
    help: "From the event of a fault to the driver's answer; the adapter's own share comes on top.",
    value: ({ counters }) => counters.get('odpFaultTimePs') / counters.get('odpFaults'),
  },
  {
    key: 'odpPagesMapped',
    label: 'pages mapped on demand',
    unit: 'count',
    help: 'Pages that faults and prefetches gave the adapter.',
    value: counter('odpPagesMapped'),
  },
  {
    key: 'odpPagesInvalidated',
    label: 'pages invalidated',
    unit: 'count',
    help: 'Pages that were taken from the adapter, since they moved or the region went.',
    value: counter('odpPagesInvalidated'),
  },
  {
    key: 'pagesMoved',
    label: 'pages moved',
    unit: 'count',
    help: 'Pages of the process that migrated, or were swapped out.',
    value: counter('pagesMoved'),
  },
];

/** What several devices have each: the same rows by device. */
export const DEVICE_ROWS: readonly (Omit<RowSpecification, 'value'> & {
  readonly value: (device: DeviceMetrics) => number;
})[] = [
  {
    key: 'throughput',
    label: 'throughput',
    unit: 'bytes/s',
    help: 'Bytes of completed requests of this device over virtual time until its last completion.',
    value: throughput,
  },
  {
    key: 'requestRate',
    label: 'requests per second',
    unit: 'count',
    help: 'Completed requests of this device over virtual time until its last completion.',
    value: requestRate,
  },
  {
    key: 'ioLatencyP50',
    label: 'I/O latency p50',
    unit: 'ps',
    help: 'From submission to completion as the driver of this device sees it.',
    value: (device) => device.ioLatency.percentile(0.5),
  },
  {
    key: 'ioLatencyP99',
    label: 'I/O latency p99',
    unit: 'ps',
    help: 'The same, all but one in a hundred.',
    value: (device) => device.ioLatency.percentile(0.99),
  },
];

/** Of each device in a machine with adapters, whose devices are used in different ways. */
export const MAPPING_ROWS: typeof DEVICE_ROWS = [
  {
    key: 'mapLatencyP50',
    label: 'map latency p50',
    unit: 'ps',
    help: 'CPU time of the DMA API calls of one request, registration or fault of this device, half of them.',
    value: (device) => device.mapLatency.percentile(0.5),
  },
  {
    key: 'unmapLatencyP50',
    label: 'unmap latency p50',
    unit: 'ps',
    help: 'CPU time of the DMA API calls that undo one, waits for invalidation included.',
    value: (device) => device.unmapLatency.percentile(0.5),
  },
];

function iotlbMisses(metrics: Metrics): number {
  const { counters } = metrics;
  return counters.get('iotlbMisses4K') + counters.get('iotlbMisses2M') + counters.get('iotlbMisses1G');
}

function throughput(metrics: Pick<Metrics, 'lastCompletionPs' | 'completedBytes'>): number {
  return metrics.lastCompletionPs > 0 ? (metrics.completedBytes * 1e12) / metrics.lastCompletionPs : Number.NaN;
}

function requestRate(metrics: Pick<Metrics, 'lastCompletionPs' | 'completedRequests'>): number {
  return metrics.lastCompletionPs > 0 ? (metrics.completedRequests * 1e12) / metrics.lastCompletionPs : Number.NaN;
}
