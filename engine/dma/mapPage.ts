/**
 * `dma_map_page_attrs` (Linux kernel/dma/mapping.c): the call for a page of memory. Where it is a thin layer over
 * `dma_map_phys` it refuses what is no memory; kernels before that know nothing of the attributes that came later.
 */
import { DMA_MAPPING_ERROR, type DmaAddr } from '../memory/addresses.ts';
import type { Cpu } from '../time/cpu.ts';
import { DMA_ATTR_CC_SHARED, DMA_ATTR_MMIO, DMA_ATTR_REQUIRE_COHERENT, type DmaDirection } from './attributes.ts';
import type { DmaDevice } from './device.ts';
import type { DmaApi } from './dmaApi.ts';

const CAME_WITH_MAP_PHYS = DMA_ATTR_MMIO | DMA_ATTR_REQUIRE_COHERENT | DMA_ATTR_CC_SHARED;

/** The attributes of which a kernel takes notice in `dma_map_page_attrs` and the unmap that belongs to it. */
export function pageAttributes(api: DmaApi, attributes: number): number {
  return api.profile.singleMapCall === 'dma_map_phys' ? attributes : attributes & ~CAME_WITH_MAP_PHYS;
}

export function dmaMapPage(
  cpu: Cpu,
  api: DmaApi,
  device: DmaDevice,
  phys: number,
  size: number,
  direction: DmaDirection,
  attributes: number,
): DmaAddr {
  const known = pageAttributes(api, attributes);
  if ((known & DMA_ATTR_MMIO) !== 0) return DMA_MAPPING_ERROR;
  return api.dmaMapPhys(cpu, device, phys, size, direction, known);
}
