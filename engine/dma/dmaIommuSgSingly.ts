/**
 * Scatterlists of which some entry may need a bounce buffer: every entry is a mapping of its own, nothing is joined (Linux
 * drivers/iommu/dma-iommu.c: `dev_use_sg_swiotlb`, `iommu_dma_map_sg_swiotlb`, `iommu_dma_unmap_sg_swiotlb`).
 */
import { DMA_MAPPING_ERROR } from '../memory/addresses.ts';
import type { Cpu } from '../time/cpu.ts';
import { DMA_ATTR_SKIP_CPU_SYNC, type DmaDirection } from './attributes.ts';
import type { DmaIommu } from './dmaIommu.ts';
import { EIO } from './errno.ts';
import type { ScatterList } from './scatterList.ts';

/** `dev_use_sg_swiotlb`. */
export function mustMapSingly(dma: DmaIommu, list: ScatterList, direction: DmaDirection): boolean {
  const { device, bounceBuffers } = dma;
  if (device.untrusted) return true;
  if (device.coherent) return false;
  for (let index = 0; index < list.count; index += 1) {
    if (bounceBuffers.eligible(list.phys[index]!, direction)) return true;
  }
  return false;
}

/** As many segments as entries, or a negative errno. */
export function mapSingly(
  cpu: Cpu,
  dma: DmaIommu,
  list: ScatterList,
  direction: DmaDirection,
  attributes: number,
): number {
  list.mappedSingly = true;
  list.hasBusAddresses = false;
  for (let index = 0; index < list.count; index += 1) {
    const length = list.length[index]!;
    const address = dma.mapPhys(cpu, list.phys[index]!, length, direction, attributes);
    if (address === DMA_MAPPING_ERROR) {
      unmapSingly(cpu, dma, list, index, direction, attributes | DMA_ATTR_SKIP_CPU_SYNC);
      return EIO;
    }
    list.dmaAddress[index] = address;
    list.dmaLength[index] = length;
  }
  list.mappedCount = list.count;
  return list.count;
}

/** Unmaps the first `count` entries. */
export function unmapSingly(
  cpu: Cpu,
  dma: DmaIommu,
  list: ScatterList,
  count: number,
  direction: DmaDirection,
  attributes: number,
): void {
  for (let index = 0; index < count; index += 1) {
    dma.unmapPhys(cpu, list.dmaAddress[index]!, list.dmaLength[index]!, direction, attributes);
  }
}
