/**
 * The behaviours of every kernel profile, each with the recording or the source file of Linux that shows it. Recordings
 * exist of 6.12 (calls and NVMe requests), 6.17 (NVMe requests), 7.2 (calls) and 7.3 (both); of 6.16 and 6.18 some facts
 * are reported; what nobody saw is taken over from a neighbour and marked assumed.
 */
import type { BehaviourMark, KernelProfileName, ProfileCell, ProfileRow } from './profiles.ts';

const UNREACHABLE = 'not reachable: no dma_iova_* in this version';
const LEGACY_CODE = 'drivers/iommu/intel/iommu.c, __domain_mapping and dma_pte_clear_level';
const LEGACY_BEFORE_619 = 'drivers/iommu/generic_pt: the VT-d format (CONFIG_IOMMU_PT_VTDSS) came with 6.19';
const WHOLE_FLUSH_BEFORE =
  'drivers/iommu/intel/cache.c: cache_tag_flush_all became a flush of the whole range with 6.17';
const RESOURCE_OWN_WAY =
  'kernel/dma/direct.c, dma_direct_map_resource: looks at the mask alone, and no attribute MMIO exists before 6.18';
const MMIO_ATTRIBUTE = 'kernel/dma/direct.h of 6.18, dma_direct_map_phys: is_swiotlb_force_bounce comes first';
const SMMU_LIST =
  'arm-smmu-v3.c, arm_smmu_atc_inv_domain: walks smmu_domain->devices, to whose head arm_smmu_attach_commit adds';
const SMMU_ARRAY = 'arm-smmu-v3.c, arm_smmu_domain_inv_range: walks an array sorted by arm_smmu_inv_cmp';
const HINT_LOST =
  'drivers/iommu/intel/iommu.h, qi_desc_iotlb: writes the hint as 0 before its fix of October 2025, which 6.16 did not get';
const HINT_FOUND =
  'drivers/iommu/intel/iommu.h, qi_desc_iotlb: the fix of October 2025 came with 6.18.2; 6.18 and 6.18.1 behave as 6.16';
const EMPTY_MIDDLE = 'drivers/iommu/dma-iommu.c, iommu_dma_iova_link_swiotlb before its fix in 7.0-stable';

function recorded<Value>(value: Value, source: string): ProfileCell<Value> {
  return cell(value, 'recorded', source);
}

function reported<Value>(value: Value, source: string): ProfileCell<Value> {
  return cell(value, 'reported', source);
}

function read<Value>(value: Value, source: string): ProfileCell<Value> {
  return cell(value, 'source', source);
}

function chosen<Value>(value: Value, source: string): ProfileCell<Value> {
  return cell(value, 'chosen', source);
}

function assumed<Value>(value: Value, source: string): ProfileCell<Value> {
  return cell(value, 'assumed', source);
}

function cell<Value>(value: Value, mark: BehaviourMark, source: string): ProfileCell<Value> {
  return { value, mark, source };
}

export const PROFILE_TABLE: Readonly<Record<KernelProfileName, ProfileRow>> = {
  '6.12': {
    twoStepAvailable: read(false, 'dma_iova_* came with 6.16 (kernel/dma/mapping.c)'),
    nvmeScheme: recorded('map_sg', 'multi-segment requests of 6.12 show dma_map_sg'),
    singleMapCall: recorded('dma_map_page', '4 KiB requests of 6.12 show dma_map_page'),
    destroyFreesWholeRange: read(false, UNREACHABLE),
    destroyUsesFlushQueue: read(true, UNREACHABLE),
    bouncedLinkSkipsEmptyMiddle: read(false, UNREACHABLE),
    pageTableCode: read('intel_legacy', LEGACY_CODE),
    forceRefusesMmio: read(false, RESOURCE_OWN_WAY),
    domainFlushTracesRange: recorded(false, 'lazy NVMe runs and calls of 6.12 show qi_submit alone'),
    givesInvalidationHint: recorded(true, 'calls of 6.12: bit 6 of qi_submit is set unless a table was freed'),
    smmuDeviceTlbOrder: read('latest_first', SMMU_LIST),
    nvmeVirtBoundaryMask: recorded(4095, 'queue/virt_boundary_mask'),
    nvmeMaxSegments: read(128, 'drivers/nvme/host/pci.c, NVME_MAX_SEGS'),
    segmentsJoin: recorded('physically_adjacent', 'adjacent pages of one request arrive as one entry'),
  },
  '6.16': {
    twoStepAvailable: read(true, 'dma_iova_* came with 6.16 (kernel/dma/mapping.c)'),
    nvmeScheme: reported('map_sg', 'multi-segment requests of 6.16 show dma_map_sg'),
    singleMapCall: reported('dma_map_page', '4 KiB requests of 6.16 show dma_map_page'),
    destroyFreesWholeRange: assumed(false, 'as 7.2'),
    destroyUsesFlushQueue: assumed(true, 'as 6.17'),
    bouncedLinkSkipsEmptyMiddle: read(false, EMPTY_MIDDLE),
    pageTableCode: read('intel_legacy', LEGACY_BEFORE_619),
    forceRefusesMmio: read(false, RESOURCE_OWN_WAY),
    domainFlushTracesRange: read(false, WHOLE_FLUSH_BEFORE),
    givesInvalidationHint: read(false, HINT_LOST),
    smmuDeviceTlbOrder: assumed('latest_first', 'as 6.12'),
    nvmeVirtBoundaryMask: reported(4095, 'queue/virt_boundary_mask of 6.12 to 6.18'),
    nvmeMaxSegments: assumed(128, 'as 6.12'),
    segmentsJoin: reported('physically_adjacent', 'requests of 6.12 to 6.18'),
  },
  '6.17': {
    twoStepAvailable: recorded(true, 'multi-segment requests of 6.17 show dma_iova_try_alloc'),
    nvmeScheme: recorded('two_step', 'multi-segment requests of 6.17 show dma_iova_try_alloc'),
    singleMapCall: recorded('dma_map_page', '4 KiB requests of 6.17 show dma_map_page'),
    destroyFreesWholeRange: read(
      false,
      'drivers/iommu/dma-iommu.c of 6.17, __iommu_dma_iova_unlink with free_iova: NVMe requests map all they reserve',
    ),
    destroyUsesFlushQueue: recorded(true, 'lazy 128 KiB reads of 6.17, one unmap and no flush per request'),
    bouncedLinkSkipsEmptyMiddle: read(false, EMPTY_MIDDLE),
    pageTableCode: read('intel_legacy', LEGACY_BEFORE_619),
    forceRefusesMmio: read(false, RESOURCE_OWN_WAY),
    domainFlushTracesRange: recorded(true, 'lazy NVMe runs of 6.17 show cache_tag_flush_range with mask 0x34'),
    givesInvalidationHint: recorded(
      true,
      'NVMe runs of 6.17.13, which has the fix of October 2025: bit 6 of qi_submit',
    ),
    smmuDeviceTlbOrder: assumed('latest_first', 'as 6.12'),
    nvmeVirtBoundaryMask: recorded(4095, 'queue/virt_boundary_mask'),
    nvmeMaxSegments: assumed(128, 'drivers/nvme/host/pci.c, NVME_MAX_SEGS; as 6.12'),
    segmentsJoin: recorded('physically_adjacent', 'no two links of one request are physically adjacent'),
  },
  '6.18': {
    twoStepAvailable: reported(true, 'multi-segment requests of 6.17 on show dma_iova_try_alloc'),
    nvmeScheme: reported('two_step', 'multi-segment requests of 6.17 on show dma_iova_try_alloc'),
    singleMapCall: reported('dma_map_phys', '4 KiB requests of 6.18 show dma_map_phys'),
    destroyFreesWholeRange: assumed(false, 'as 7.2'),
    destroyUsesFlushQueue: reported(true, 'lazy 128 KiB reads of 6.18: 9 flushes for 150 requests'),
    bouncedLinkSkipsEmptyMiddle: read(false, EMPTY_MIDDLE),
    pageTableCode: read('intel_legacy', LEGACY_BEFORE_619),
    forceRefusesMmio: read(true, MMIO_ATTRIBUTE),
    domainFlushTracesRange: assumed(true, 'as 6.17 and 7.3'),
    givesInvalidationHint: read(true, HINT_FOUND),
    smmuDeviceTlbOrder: assumed('latest_first', 'as 6.12'),
    nvmeVirtBoundaryMask: reported(4095, 'queue/virt_boundary_mask of 6.12 to 6.18'),
    nvmeMaxSegments: assumed(128, 'as 6.17'),
    segmentsJoin: reported('physically_adjacent', 'requests of 6.12 to 6.18'),
  },
  '7.2': {
    twoStepAvailable: recorded(true, 'calls of 7.2'),
    nvmeScheme: reported('two_step', 'multi-segment requests of 6.17 on show dma_iova_try_alloc'),
    singleMapCall: reported('dma_map_phys', '4 KiB requests of 6.18 on show dma_map_phys'),
    destroyFreesWholeRange: recorded(false, 'calls of 7.2: destroy of a part frees as many pages as it unmaps'),
    destroyUsesFlushQueue: recorded(true, 'calls of 7.2: destroy in a lazy domain queues'),
    bouncedLinkSkipsEmptyMiddle: assumed(true, 'as 7.3: the fix came to 7.0-stable'),
    pageTableCode: recorded('generic_pt', 'calls of 7.2: errors and whole-leaf removal of generic_pt'),
    forceRefusesMmio: assumed(true, 'as 7.3'),
    domainFlushTracesRange: recorded(true, 'lazy calls of 7.2 show cache_tag_flush_range with mask 52'),
    givesInvalidationHint: recorded(true, 'calls of 7.2: bit 6 of qi_submit is set unless a table was freed'),
    smmuDeviceTlbOrder: assumed('by_stream', 'as 7.3'),
    nvmeVirtBoundaryMask: reported(0, 'requests with gaps of 7.2 arrive whole'),
    nvmeMaxSegments: reported(256, 'vectors of one large folio in 7.2'),
    segmentsJoin: reported('within_folio', 'adjacent small pages of one request of 7.2 arrive as several vectors'),
  },
  '7.3': {
    twoStepAvailable: recorded(true, 'calls and NVMe requests of 7.3'),
    nvmeScheme: recorded('two_step', 'multi-segment requests of 7.3 show dma_iova_try_alloc'),
    singleMapCall: recorded('dma_map_phys', '4 KiB requests of 7.3 show dma_map_phys'),
    destroyFreesWholeRange: recorded(true, 'calls of 7.3: destroy of a part frees the whole range'),
    destroyUsesFlushQueue: recorded(false, 'calls of 7.3: destroy flushes at once in a lazy domain'),
    bouncedLinkSkipsEmptyMiddle: recorded(true, 'calls of 7.3 for an untrusted device: no map of 0 bytes'),
    pageTableCode: recorded('generic_pt', 'calls of 7.3; drivers/iommu/generic_pt, format vtdss'),
    forceRefusesMmio: recorded(true, 'calls of 7.3 with swiotlb=force: dma_map_resource fails and bounces nothing'),
    domainFlushTracesRange: recorded(true, 'lazy runs of 7.3 show cache_tag_flush_range with mask 0x34'),
    givesInvalidationHint: recorded(true, 'calls of 7.3: bit 6 of qi_submit is set unless a table was freed'),
    smmuDeviceTlbOrder: read('by_stream', SMMU_ARRAY),
    nvmeVirtBoundaryMask: recorded(0, 'queue/virt_boundary_mask'),
    nvmeMaxSegments: read(256, 'drivers/nvme/host/pci.c, NVME_MAX_SEGS'),
    segmentsJoin: recorded('within_folio', 'adjacent small pages of one request arrive as several vectors'),
  },
  ideal: {
    twoStepAvailable: chosen(true, 'Documentation/core-api/dma-api.rst'),
    nvmeScheme: chosen('two_step', 'a request is one range wherever the API can make it one'),
    singleMapCall: chosen('dma_map_phys', 'the call that takes every kind of memory'),
    destroyFreesWholeRange: chosen(true, 'Documentation/core-api/dma-api.rst: destroy frees what try_alloc reserved'),
    destroyUsesFlushQueue: chosen(true, 'a lazy domain is lazy for every unmap that gives the range back'),
    bouncedLinkSkipsEmptyMiddle: chosen(true, 'nothing is mapped where there is nothing to map'),
    pageTableCode: chosen('generic_pt', 'refuses to map over a mapping, and says so'),
    forceRefusesMmio: chosen(true, 'registers cannot be copied to another place'),
    domainFlushTracesRange: chosen(true, 'as 7.3'),
    givesInvalidationHint: chosen(true, 'VT-d specification 6.5.2.3: safe when only leaves changed'),
    smmuDeviceTlbOrder: chosen('by_stream', 'as 7.3'),
    nvmeVirtBoundaryMask: chosen(0, 'requests with gaps stay whole'),
    nvmeMaxSegments: chosen(256, 'as 7.3'),
    segmentsJoin: chosen('physically_adjacent', 'neighbours in memory need one descriptor'),
  },
};
