/**
 * The counters of a run. Names are those that hardware and kernels use (Intel PCM's IIO counters, Linux's names), so that a user can lay
 * them beside the counters of a real machine. Values live in one Float64Array: incrementing costs an array store.
 */
export const COUNTER_NAMES = [
  'requests',
  'bytesRead',
  'bytesWritten',
  // the DMA API
  'iovaAllocFast',
  'iovaAllocSlow',
  'iovaFree',
  'iommuMaps',
  'iommuUnmaps',
  'pteWrites',
  'tablePagesAllocated',
  'tablePagesFreed',
  'iotlbSyncs',
  'flushQueueEntries',
  'flushQueueFlushes',
  'staleWindowAccesses',
  'bounces',
  'bytesBounced',
  'p2pdmaLookups',
  // the invalidation queue, by granularity
  'invalidationsPage',
  'invalidationsDomain',
  'invalidationsGlobal',
  'invalidationsContext',
  'invalidationsDeviceTlb',
  'invalidationWaits',
  // the translation hardware
  'iotlbLookups',
  'iotlbHits4K',
  'iotlbHits2M',
  'iotlbHits1G',
  'iotlbMisses4K',
  'iotlbMisses2M',
  'iotlbMisses1G',
  'iotlbMissesFaulted',
  'iotlbMissesMerged',
  'pagingCacheHits512G',
  'pagingCacheHits1G',
  'pagingCacheHits2M',
  'pagingCacheMisses',
  'contextCacheHits',
  'contextCacheMisses',
  'tableReads',
  'faults',
  // memory
  'dramTableReads',
  'dramDataReads',
  'socketLinkLines',
  'cacheLinesCleaned',
  // the fabric
  'tlps',
  'linkBytesUpstream',
  'linkBytesDownstream',
  // the device
  'descriptorFetches',
  'interrupts',
  // regions of memory registered with an RDMA adapter
  'regionsRegistered',
  'regionsRefused',
  'pagesPinned',
  'tableEntries',
  'messagesFailed',
  // on-demand paging; the names of mlx5's own statistics are page_faults and page_invalidations, in pages
  'odpFaults',
  'odpFaultTimePs',
  'odpPagesMapped',
  'odpPagesInvalidated',
  // memory that changes under a process
  'pagesMoved',
] as const;

export type CounterName = (typeof COUNTER_NAMES)[number];

/** Index of each counter in `Counters.values`, for hot paths: `counters.values[COUNTER.tableReads]! += 1`. */
export const COUNTER = Object.fromEntries(COUNTER_NAMES.map((name, index) => [name, index])) as Readonly<
  Record<CounterName, number>
>;

/** One run's counters. */
export class Counters {
  readonly values = new Float64Array(COUNTER_NAMES.length);

  add(name: CounterName, amount: number): void {
    const index = COUNTER[name];
    this.values[index] = (this.values[index] ?? 0) + amount;
  }

  get(name: CounterName): number {
    return this.values[COUNTER[name]] ?? 0;
  }

  /** All counters by name, in the order of COUNTER_NAMES. */
  toRecord(): Record<CounterName, number> {
    return Object.fromEntries(COUNTER_NAMES.map((name) => [name, this.get(name)])) as Record<CounterName, number>;
  }
}
