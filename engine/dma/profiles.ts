/**
 * Kernel profiles: what differs between Linux versions on the DMA path, as a table of named behaviours. Every row says
 * where it was seen. Code asks for the behaviour, never for the version.
 * Leaves out: versions without a profile, and the costs of each version, which are in costs.ts.
 */
export type KernelProfileName = '6.12' | '6.17' | '7.3';

export interface KernelProfile {
  readonly name: KernelProfileName;
  /** Whether `dma_iova_*` exists, and drivers use it. */
  readonly twoStepAvailable: boolean;
  /** How a single-segment request is mapped, and what the tracepoint is called. */
  readonly singleMapCall: 'dma_map_page' | 'dma_map_phys';
  /** `dma_iova_destroy`: gives back the whole reserved range, or only the mapped length. */
  readonly destroyFreesWholeRange: boolean;
  /** `dma_iova_destroy` uses the flush queue where the domain has one; otherwise it invalidates before it returns. */
  readonly destroyUsesFlushQueue: boolean;
  /** The page-table code: one for all formats (drivers/iommu/generic_pt), or VT-d's own of earlier kernels. */
  readonly pageTableCode: 'generic_pt' | 'intel_legacy';
  /** A flush of the whole domain appears as cache_tag_flush_range [0, all ones] mask 52 before its qi_submit. */
  readonly domainFlushTracesRange: boolean;
  /**
   * An invalidation that left all page tables in place carries the invalidation hint, and paging-structure caches survive
   * it; otherwise every invalidation empties them too.
   */
  readonly givesInvalidationHint: boolean;
  /** The NVMe driver's queue limit `virt_boundary_mask`: 4095 splits requests with gaps, 0 leaves them whole. */
  readonly nvmeVirtBoundaryMask: number;
  /** `NVME_MAX_SEGS`; the block layer also allows no more than max_hw_sectors in pages, plus one. */
  readonly nvmeMaxSegments: number;
  /** What the block layer counts as one segment: neighbours in memory, or pages of one folio only. */
  readonly segmentsJoin: 'physically_adjacent' | 'within_folio';
}

/** Where each behaviour of each profile was seen. */
export type KernelProfileSources = Readonly<Record<Exclude<keyof KernelProfile, 'name'>, string>>;

const RECORDED = 'recorded';

interface ProfileRow {
  readonly profile: KernelProfile;
  readonly sources: KernelProfileSources;
}

const ROWS: Readonly<Record<KernelProfileName, ProfileRow>> = {
  '6.12': {
    profile: {
      name: '6.12',
      twoStepAvailable: false,
      singleMapCall: 'dma_map_page',
      destroyFreesWholeRange: false,
      destroyUsesFlushQueue: true,
      pageTableCode: 'intel_legacy',
      domainFlushTracesRange: false,
      givesInvalidationHint: true,
      nvmeVirtBoundaryMask: 4095,
      nvmeMaxSegments: 128,
      segmentsJoin: 'physically_adjacent',
    },
    sources: {
      twoStepAvailable: 'dma_iova_* came with 6.16 (kernel/dma/mapping.c)',
      singleMapCall: `${RECORDED}: 4 KiB requests of 6.12 show dma_map_page`,
      destroyFreesWholeRange: 'not reachable: no dma_iova_* in this version',
      destroyUsesFlushQueue: 'not reachable: no dma_iova_* in this version',
      pageTableCode: 'drivers/iommu/intel/iommu.c, __domain_mapping and dma_pte_clear_level',
      domainFlushTracesRange: `${RECORDED}: lazy NVMe runs of 6.12 show qi_submit alone`,
      givesInvalidationHint: `${RECORDED}: qi_submit ends in 1 in bit 6 unless a table was freed`,
      nvmeVirtBoundaryMask: `${RECORDED}: queue/virt_boundary_mask`,
      nvmeMaxSegments: 'drivers/nvme/host/pci.c, NVME_MAX_SEGS',
      segmentsJoin: `${RECORDED}: adjacent pages of one request arrive as one entry`,
    },
  },
  '6.17': {
    profile: {
      name: '6.17',
      twoStepAvailable: true,
      singleMapCall: 'dma_map_page',
      destroyFreesWholeRange: false,
      destroyUsesFlushQueue: true,
      pageTableCode: 'intel_legacy',
      domainFlushTracesRange: true,
      givesInvalidationHint: true,
      nvmeVirtBoundaryMask: 4095,
      nvmeMaxSegments: 128,
      segmentsJoin: 'physically_adjacent',
    },
    sources: {
      twoStepAvailable: `${RECORDED}: multi-segment requests of 6.17 show dma_iova_try_alloc`,
      singleMapCall: `${RECORDED}: 4 KiB requests of 6.17 show dma_map_page`,
      destroyFreesWholeRange: 'drivers/iommu/dma-iommu.c of 6.17, __iommu_dma_iova_unlink with free_iova',
      destroyUsesFlushQueue: `${RECORDED}: lazy 128 KiB reads of 6.17, one unmap and no flush per request`,
      pageTableCode: 'drivers/iommu/intel/iommu.c: VT-d moved to generic_pt only after 6.17',
      domainFlushTracesRange: `${RECORDED}: lazy NVMe runs of 6.17 show cache_tag_flush_range with mask 0x34`,
      givesInvalidationHint: `${RECORDED}: qi_submit ends in 1 in bit 6 unless a table was freed`,
      nvmeVirtBoundaryMask: `${RECORDED}: queue/virt_boundary_mask`,
      nvmeMaxSegments: 'drivers/nvme/host/pci.c, NVME_MAX_SEGS; assumed unchanged since 6.12',
      segmentsJoin: `${RECORDED}: no two links of one request are physically adjacent`,
    },
  },
  '7.3': {
    profile: {
      name: '7.3',
      twoStepAvailable: true,
      singleMapCall: 'dma_map_phys',
      destroyFreesWholeRange: true,
      destroyUsesFlushQueue: false,
      pageTableCode: 'generic_pt',
      domainFlushTracesRange: true,
      givesInvalidationHint: true,
      nvmeVirtBoundaryMask: 0,
      nvmeMaxSegments: 256,
      segmentsJoin: 'within_folio',
    },
    sources: {
      twoStepAvailable: `${RECORDED}: calls and NVMe requests of 7.3`,
      singleMapCall: `${RECORDED}: 4 KiB requests of 7.3 show dma_map_phys`,
      destroyFreesWholeRange: `${RECORDED}: calls of 7.3, destroy of a part frees the whole range`,
      destroyUsesFlushQueue: `${RECORDED}: calls of 7.3, destroy flushes at once in a lazy domain`,
      pageTableCode: 'drivers/iommu/generic_pt, format vtdss',
      domainFlushTracesRange: `${RECORDED}: lazy runs of 7.3 show cache_tag_flush_range with mask 0x34`,
      givesInvalidationHint: `${RECORDED}: qi_submit ends in 1 in bit 6 unless a table was freed`,
      nvmeVirtBoundaryMask: `${RECORDED}: queue/virt_boundary_mask`,
      nvmeMaxSegments: 'drivers/nvme/host/pci.c, NVME_MAX_SEGS',
      segmentsJoin: `${RECORDED}: adjacent small pages of one request arrive as several vectors`,
    },
  },
};

export const KERNEL_PROFILE_NAMES: readonly KernelProfileName[] = ['6.12', '6.17', '7.3'];

export function kernelProfile(name: KernelProfileName): KernelProfile {
  return ROWS[name].profile;
}

/** Where the behaviours of a profile come from, for the app's profile sheet and for the test that none lacks a source. */
export function kernelProfileSources(name: KernelProfileName): KernelProfileSources {
  return ROWS[name].sources;
}
