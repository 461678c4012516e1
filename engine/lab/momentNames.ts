/** What a moment of a run is described in, for whoever shows it. The page sees the lab, not the DMA API or the IOMMU. */
import type { IovaSnapshot } from '../dma/iova/iovaSnapshot.ts';
import type { CacheLook } from '../iommu/look/cacheLook.ts';
import type { WalkSnapshot } from './walkInspection.ts';

export { IOVA_STATES, type IovaRange, type IovaSnapshot, type IovaState } from '../dma/iova/iovaSnapshot.ts';
export type { CacheLook } from '../iommu/look/cacheLook.ts';
export type { CacheAnswer, WalkedEntry, WalkRequest, WalkSnapshot } from './walkInspection.ts';

export interface MomentSnapshot {
  readonly at: number;
  readonly space: IovaSnapshot;
  /** IOTLB and paging-structure caches; none where there is no IOMMU. */
  readonly caches: readonly CacheLook[];
  /** Null where no address was asked for, or there is no IOMMU. */
  readonly walk: WalkSnapshot | null;
}
