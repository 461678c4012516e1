/**
 * The events that a kernel's tracepoints and probes show of a DMA mapping, in the kernel's order: iommu:map and unmap,
 * VT-d cache_tag_flush_range and qi_submit, alloc_iova_fast and free_iova_fast, dma:dma_map_* and the entries of
 * dma_iova_*. Conformance listens; a run passes null and pays one comparison per event.
 *
 * Order inside a call: events of dma_map_*, dma_unmap_page/phys and dma_alloc come after what the call did; those of
 * dma_unmap_sg, dma_free and every dma_iova_* before it, so their `result` is filled in when the call returns.
 */
import type { DmaDirection } from './attributes.ts';

/** `ULONG_MAX`, the end of a whole-domain flush: all ones, as DMA_MAPPING_ERROR is. */
export const ALL_ADDRESSES_END = -1;

export interface AllocFastEvent {
  readonly event: 'alloc_fast';
  /** Pages as asked, before rounding. */
  readonly pages: number;
  readonly limitPfn: number;
  readonly flushRcache: boolean;
  /** First page of the range, 0 when there was none. */
  readonly pfn: number;
  /** Searches of the tree: 0 when the cache served the request, 2 when the first one failed and caches were emptied. */
  readonly slow: number;
  /** Pages asked of the tree: rounded up to the cache's size class. */
  readonly roundedPages: number;
}

export interface FreeFastEvent {
  readonly event: 'free_fast';
  readonly pfn: number;
  readonly pages: number;
}

export interface MapEvent {
  readonly event: 'map';
  readonly iova: number;
  readonly phys: number;
  readonly size: number;
}

export interface UnmapEvent {
  readonly event: 'unmap';
  readonly iova: number;
  readonly size: number;
  readonly unmapped: number;
}

export interface FlushRangeEvent {
  /** `_np`: after a map, where the hardware caches what was not present. */
  readonly event: 'cache_tag_flush_range' | 'cache_tag_flush_range_np';
  readonly start: number;
  /** Last byte; ALL_ADDRESSES_END for the whole domain. */
  readonly end: number;
  readonly address: number;
  readonly mask: number;
  /** Pages of the range, rounded up to a power of two: what kernels before 6.17 print beside the mask. */
  readonly pages: number;
}

export interface QiSubmitEvent {
  readonly event: 'qi_submit';
  readonly granularity: 'page' | 'domain' | 'global' | 'context';
  readonly domainId: number;
  readonly address: number;
  readonly mask: number;
  /** Invalidation hint: only leaves changed, paging-structure caches may stay. */
  readonly hint: boolean;
}

/** swiotlb:swiotlb_bounced, before a slot is looked for: it shows for a bounce that fails too. */
export interface BouncedEvent {
  readonly event: 'swiotlb_bounced';
  /** Bus address that the memory would have had without a bounce. */
  readonly address: number;
  readonly size: number;
  readonly forced: boolean;
}

export interface MapSingleCallEvent {
  readonly event: 'call';
  readonly name: 'dma_map_page' | 'dma_map_phys';
  readonly phys: number;
  readonly size: number;
  readonly direction: DmaDirection;
  readonly attributes: number;
  /** The DMA address, or DMA_MAPPING_ERROR. */
  result: number;
}

export interface UnmapSingleCallEvent {
  readonly event: 'call';
  readonly name: 'dma_unmap_page' | 'dma_unmap_phys';
  readonly address: number;
  readonly size: number;
  readonly direction: DmaDirection;
  readonly attributes: number;
  result: 0;
}

export interface MapSgCallEvent {
  readonly event: 'call';
  readonly name: 'dma_map_sg';
  readonly phys: readonly number[];
  readonly length: readonly number[];
  readonly dmaAddress: readonly number[];
  readonly dmaLength: readonly number[];
  readonly direction: DmaDirection;
  readonly attributes: number;
  /** DMA segments, or a negative error. */
  result: number;
}

export interface UnmapSgCallEvent {
  readonly event: 'call';
  readonly name: 'dma_unmap_sg';
  readonly phys: readonly number[];
  readonly direction: DmaDirection;
  readonly attributes: number;
  result: 0;
}

export interface TryAllocCallEvent {
  readonly event: 'call';
  readonly name: 'dma_iova_try_alloc';
  readonly phys: number;
  readonly size: number;
  /** 1 when a range was reserved. */
  result: number;
  /** The state's address after the call. */
  address: number;
}

export interface LinkCallEvent {
  readonly event: 'call';
  readonly name: 'dma_iova_link';
  readonly address: number;
  readonly phys: number;
  readonly offset: number;
  readonly size: number;
  readonly direction: DmaDirection;
  readonly attributes: number;
  result: number;
}

export interface SyncCallEvent {
  readonly event: 'call';
  readonly name: 'dma_iova_sync';
  readonly address: number;
  readonly offset: number;
  readonly size: number;
  result: number;
}

export interface UnlinkCallEvent {
  readonly event: 'call';
  readonly name: 'dma_iova_unlink';
  readonly address: number;
  readonly offset: number;
  readonly size: number;
  result: 0;
}

export interface DestroyCallEvent {
  readonly event: 'call';
  readonly name: 'dma_iova_destroy';
  readonly address: number;
  readonly mappedLength: number;
  result: 0;
}

export interface FreeCallEvent {
  readonly event: 'call';
  readonly name: 'dma_iova_free';
  readonly address: number;
  readonly size: number;
  result: 0;
}

export interface CoherentCallEvent {
  readonly event: 'call';
  readonly name: 'dma_alloc' | 'dma_free';
  readonly address: number;
  readonly size: number;
  result: number;
}

export type DmaCallEvent =
  | MapSingleCallEvent
  | UnmapSingleCallEvent
  | MapSgCallEvent
  | UnmapSgCallEvent
  | TryAllocCallEvent
  | LinkCallEvent
  | SyncCallEvent
  | UnlinkCallEvent
  | DestroyCallEvent
  | FreeCallEvent
  | CoherentCallEvent;

export type DmaTraceEvent =
  | AllocFastEvent
  | FreeFastEvent
  | MapEvent
  | UnmapEvent
  | FlushRangeEvent
  | QiSubmitEvent
  | BouncedEvent
  | DmaCallEvent;

export interface DmaTrace {
  emit(event: DmaTraceEvent): void;
}
