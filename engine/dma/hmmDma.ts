/**
 * DMA addresses for pages that change under the device: on-demand paging reserves one range of IOVA for all of a region's
 * pages and links or unlinks them one by one, as faults and invalidations come (Linux mm/hmm.c: `hmm_dma_map_alloc`,
 * `hmm_dma_map_pfn`, `hmm_dma_unmap_pfn`, `hmm_dma_map_free`). CPU and device use such a page at the same time, so it can
 * never be bounced.
 * Leaves out: memory for the lists running out.
 */
import { DMA_MAPPING_ERROR, dmaAddr, PAGE_SIZE, type DmaAddr } from '../memory/addresses.ts';
import {
  HMM_PFN_DMA_MAPPED,
  HMM_PFN_P2PDMA,
  HMM_PFN_P2PDMA_BUS,
  HMM_PFN_STICKY,
  HMM_PFN_VALID,
  HmmPfnList,
} from '../memory/hmmPfn.ts';
import type { P2pdmaMapState } from '../pcie/p2pdma.ts';
import type { Cpu } from '../time/cpu.ts';
import { DMA_ATTR_MMIO, DMA_ATTR_REQUIRE_COHERENT, DMA_BIDIRECTIONAL } from './attributes.ts';
import type { DmaDevice } from './device.ts';
import type { DmaApi } from './dmaApi.ts';
import { EOPNOTSUPP } from './errno.ts';
import { DmaIovaState } from './twoStep.ts';

const NO_PAGES = new HmmPfnList(0);
const VALID_AND_MAPPED = HMM_PFN_VALID | HMM_PFN_DMA_MAPPED;

/** `struct hmm_dma_map`. */
export class HmmDmaMap {
  readonly state = new DmaIovaState();
  pfns = NO_PAGES;
  /** Addresses for unmap, where there is no range of IOVA to compute them from. */
  dmaList: Float64Array | null = null;
  /** Bytes of one entry. */
  entrySize = PAGE_SIZE;
}

/** 0 or a negative errno. `entries` counts pages, whatever the size of an entry. */
export function hmmDmaMapAlloc(
  cpu: Cpu,
  api: DmaApi,
  device: DmaDevice,
  map: HmmDmaMap,
  entries: number,
  entrySize: number,
): number {
  // ownership can't move between CPU and device, so a device that might be bounced is refused
  if (!device.dmaSkipSync || api.dmaAddressingLimited(device)) return EOPNOTSUPP;
  map.entrySize = entrySize;
  map.pfns = new HmmPfnList(entries);
  map.dmaList = null;
  const inIova = api.dmaIovaTryAlloc(cpu, device, map.state, 0, entries * PAGE_SIZE);
  if (!inIova && api.dmaNeedUnmap(device)) map.dmaList = new Float64Array(entries);
  return 0;
}

/** The address of entry `index` for the device, or DMA_MAPPING_ERROR; the entry says which page it is. */
export function hmmDmaMapPfn(
  cpu: Cpu,
  api: DmaApi,
  device: DmaDevice,
  map: HmmDmaMap,
  index: number,
  p2p: P2pdmaMapState,
): DmaAddr {
  const { state, entrySize, dmaList } = map;
  const { flags, pages } = map.pfns;
  const offset = index * entrySize;
  const had = flags[index]!;
  if ((had & HMM_PFN_DMA_MAPPED) !== 0 && (had & HMM_PFN_P2PDMA_BUS) === 0) {
    // only permissions changed; the device's translation of this entry stays as it is
    if (state.inUse) return dmaAddr(state.address + offset);
    if (dmaList !== null && api.dmaNeedUnmap(device)) return dmaAddr(dmaList[index]!);
  }
  const page = pages[index]!;
  const phys = page * PAGE_SIZE;
  let attributes = DMA_ATTR_REQUIRE_COHERENT;
  const provider = api.p2pdmaProviderOf(page);
  switch (api.pciP2pdmaState(cpu, device, page, p2p)) {
    case 'none':
      break;
    case 'thru_host_bridge':
      attributes |= DMA_ATTR_MMIO;
      flags[index] = had | HMM_PFN_P2PDMA;
      break;
    case 'bus_addr':
      flags[index] = had | HMM_PFN_P2PDMA_BUS | HMM_PFN_DMA_MAPPED;
      return dmaAddr(phys + (provider?.busOffset ?? 0));
    case 'not_supported':
      return DMA_MAPPING_ERROR;
  }
  const address = state.inUse
    ? linkEntry(cpu, api, device, map, phys, offset, attributes)
    : mapEntry(cpu, api, device, map, phys, index, attributes);
  if (address === DMA_MAPPING_ERROR) flags[index]! &= ~HMM_PFN_P2PDMA;
  else flags[index]! |= HMM_PFN_DMA_MAPPED;
  return address;
}

/** True when the entry had a mapping, which is gone then. */
export function hmmDmaUnmapPfn(cpu: Cpu, api: DmaApi, device: DmaDevice, map: HmmDmaMap, index: number): boolean {
  const { state, entrySize, dmaList } = map;
  const { flags } = map.pfns;
  const had = flags[index]!;
  if ((had & VALID_AND_MAPPED) !== VALID_AND_MAPPED) return false;
  let attributes = DMA_ATTR_REQUIRE_COHERENT;
  if ((had & HMM_PFN_P2PDMA) !== 0) attributes |= DMA_ATTR_MMIO;
  if ((had & HMM_PFN_P2PDMA_BUS) === 0) {
    if (state.inUse) {
      api.dmaIovaUnlink(cpu, device, state, index * entrySize, entrySize, DMA_BIDIRECTIONAL, attributes);
    } else if (dmaList !== null && api.dmaNeedUnmap(device)) {
      api.dmaUnmapPhys(cpu, device, dmaList[index]!, entrySize, DMA_BIDIRECTIONAL, attributes);
    }
  }
  flags[index] = had & ~HMM_PFN_STICKY;
  return true;
}

/** Every entry must be unmapped. The state keeps its values, as in the kernel. */
export function hmmDmaMapFree(cpu: Cpu, api: DmaApi, device: DmaDevice, map: HmmDmaMap): void {
  if (map.state.inUse) api.dmaIovaFree(cpu, device, map.state);
  map.pfns = NO_PAGES;
  map.dmaList = null;
}

/** The entry's place in the reserved range, synchronised at once: the fault that asked for it is waiting. */
function linkEntry(
  cpu: Cpu,
  api: DmaApi,
  device: DmaDevice,
  map: HmmDmaMap,
  phys: number,
  offset: number,
  attributes: number,
): DmaAddr {
  const { state, entrySize } = map;
  if (api.dmaIovaLink(cpu, device, state, phys, offset, entrySize, DMA_BIDIRECTIONAL, attributes) !== 0) {
    return DMA_MAPPING_ERROR;
  }
  if (api.dmaIovaSync(cpu, device, state, offset, entrySize) !== 0) {
    api.dmaIovaUnlink(cpu, device, state, offset, entrySize, DMA_BIDIRECTIONAL, attributes);
    return DMA_MAPPING_ERROR;
  }
  return dmaAddr(state.address + offset);
}

function mapEntry(
  cpu: Cpu,
  api: DmaApi,
  device: DmaDevice,
  map: HmmDmaMap,
  phys: number,
  index: number,
  attributes: number,
): DmaAddr {
  const { dmaList, entrySize } = map;
  // a device that came to need unmap only after the list was sized has no place to remember the address in
  if (dmaList === null && api.dmaNeedUnmap(device)) return DMA_MAPPING_ERROR;
  const address = api.dmaMapPhys(cpu, device, phys, entrySize, DMA_BIDIRECTIONAL, attributes);
  if (api.dmaMappingError(device, address)) return DMA_MAPPING_ERROR;
  if (dmaList !== null) dmaList[index] = address;
  return address;
}
