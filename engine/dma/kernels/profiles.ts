/**
 * Kernel profiles: what differs between Linux versions on the DMA path, as named behaviours. Code asks for the behaviour,
 * never for the version. Which kernel behaves how, and how that is known, is in profileTable.ts.
 * Leaves out: versions without a profile, and the costs of each version, which are in costs.ts.
 */
import { PROFILE_TABLE } from './profileTable.ts';

/** `ideal`: no version but what the API promises, without any version's defects. */
export const KERNEL_PROFILE_NAMES = ['6.12', '6.16', '6.17', '6.18', '7.2', '7.3', 'ideal'] as const;

export type KernelProfileName = (typeof KERNEL_PROFILE_NAMES)[number];

export interface KernelProfile {
  readonly name: KernelProfileName;
  /** Whether `dma_iova_*` exists. */
  readonly twoStepAvailable: boolean;
  /** How the NVMe driver maps a request of several segments. */
  readonly nvmeScheme: 'map_sg' | 'two_step';
  /** How a single-segment request is mapped, and what the tracepoint is called. */
  readonly singleMapCall: 'dma_map_page' | 'dma_map_phys';
  /** `dma_iova_destroy`: gives back the whole reserved range, or only the mapped length. */
  readonly destroyFreesWholeRange: boolean;
  /** `dma_iova_destroy` uses the flush queue where the domain has one; otherwise it invalidates before it returns. */
  readonly destroyUsesFlushQueue: boolean;
  /**
   * A link whose edges are bounced leaves an empty middle alone; otherwise it maps 0 bytes there, and an error takes down
   * the range from offset 0 on, whatever the caller's offset was.
   */
  readonly bouncedLinkSkipsEmptyMiddle: boolean;
  /**
   * The page-table code: one for all formats (drivers/iommu/generic_pt), or VT-d's own of earlier kernels. Addresses that are
   * not whole pages are refused with ENXIO by the former, with EINVAL and a message by the latter. Whatever the latter maps
   * the device may read: present and readable are one bit to it.
   */
  readonly pageTableCode: 'generic_pt' | 'intel_legacy';
  /** Where every mapping is bounced (`swiotlb=force`), a peer's registers (DMA_ATTR_MMIO) are refused; otherwise mapped as they are. */
  readonly forceRefusesMmio: boolean;
  /** A flush of the whole domain appears as cache_tag_flush_range [0, all ones] mask 52 before its qi_submit. */
  readonly domainFlushTracesRange: boolean;
  /**
   * VT-d, second-stage tables: an invalidation that left all tables in place carries the invalidation hint, and paging-structure
   * caches survive it; otherwise every invalidation drops their entries on its way too. That of first-stage tables always carries it.
   */
  readonly givesInvalidationHint: boolean;
  /**
   * In which order an SMMU's driver tells the device TLBs of a domain: from a list to whose head devices are added, or from an array sorted
   * by StreamID.
   */
  readonly smmuDeviceTlbOrder: 'latest_first' | 'by_stream';
  /** The NVMe driver's queue limit `virt_boundary_mask`: 4095 splits requests with gaps, 0 leaves them whole. */
  readonly nvmeVirtBoundaryMask: number;
  /** `NVME_MAX_SEGS`; the block layer also allows no more than max_hw_sectors in pages, plus one. */
  readonly nvmeMaxSegments: number;
  /** What the block layer counts as one segment: neighbours in memory, or pages of one folio only. */
  readonly segmentsJoin: 'physically_adjacent' | 'within_folio';
}

export type KernelBehaviour = Exclude<keyof KernelProfile, 'name'>;

/**
 * How a behaviour is known. recorded: recordings of this kernel are replayed and agree. reported: seen in recordings of this
 * kernel that are not part of the comparison. source: read in the kernel's source. chosen: a definition, not an observation.
 * assumed: taken over from a neighbouring version.
 */
export type BehaviourMark = 'recorded' | 'reported' | 'source' | 'chosen' | 'assumed';

/** One behaviour of one kernel with its origin. */
export interface ProfileCell<Value> {
  readonly value: Value;
  readonly mark: BehaviourMark;
  readonly source: string;
}

export type ProfileRow = { readonly [Behaviour in KernelBehaviour]: ProfileCell<KernelProfile[Behaviour]> };

/** For the app's profile sheet: every behaviour in words, with its origin. */
export interface ProfileSheetLine {
  readonly behaviour: KernelBehaviour;
  readonly value: string;
  readonly mark: BehaviourMark;
  readonly source: string;
}

export function kernelProfile(name: KernelProfileName): KernelProfile {
  const row = PROFILE_TABLE[name];
  return {
    name,
    twoStepAvailable: row.twoStepAvailable.value,
    nvmeScheme: row.nvmeScheme.value,
    singleMapCall: row.singleMapCall.value,
    destroyFreesWholeRange: row.destroyFreesWholeRange.value,
    destroyUsesFlushQueue: row.destroyUsesFlushQueue.value,
    bouncedLinkSkipsEmptyMiddle: row.bouncedLinkSkipsEmptyMiddle.value,
    pageTableCode: row.pageTableCode.value,
    forceRefusesMmio: row.forceRefusesMmio.value,
    domainFlushTracesRange: row.domainFlushTracesRange.value,
    givesInvalidationHint: row.givesInvalidationHint.value,
    smmuDeviceTlbOrder: row.smmuDeviceTlbOrder.value,
    nvmeVirtBoundaryMask: row.nvmeVirtBoundaryMask.value,
    nvmeMaxSegments: row.nvmeMaxSegments.value,
    segmentsJoin: row.segmentsJoin.value,
  };
}

/** What the app calls a profile. */
export function kernelProfileTitle(name: KernelProfileName): string {
  return name === 'ideal' ? 'Ideal kernel' : `Linux ${name}`;
}

export function kernelProfileSheet(name: KernelProfileName): readonly ProfileSheetLine[] {
  const row = PROFILE_TABLE[name];
  const behaviours = Object.keys(row) as KernelBehaviour[];
  return behaviours.map((behaviour) => {
    const { value, mark, source } = row[behaviour];
    return { behaviour, value: String(value), mark, source };
  });
}
