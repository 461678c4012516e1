/**
 * What the DMA API tells a driver of its device's limits: how much one mapping may hold, how far the device must reach, and
 * whether it reaches that far (Linux kernel/dma/mapping.c: `dma_max_mapping_size`, `dma_opt_mapping_size`,
 * `dma_get_required_mask`, `dma_addressing_limited`, `dma_set_mask`; drivers/iommu/dma-iommu.c).
 */
import { PAGE_SIZE } from '../memory/addresses.ts';
import { dmaBitMask, type DmaDevice } from './device.ts';
import { EIO } from './errno.ts';
import type { MemoryEncryption } from './memoryEncryption.ts';
import { IOVA_RANGE_CACHE_MAX_PAGES } from './iova/iovaRcache.ts';
import { type Swiotlb, swiotlbMaxMappingSize } from './swiotlb/swiotlb.ts';

/** `SIZE_MAX`: no limit. */
const SIZE_MAX = Number.MAX_SAFE_INTEGER;
/** `zone_dma_limit` of x86: the smallest zone that memory can be taken from. */
const SMALLEST_ZONE_MASK = dmaBitMask(24);

export interface DeviceSurroundings {
  readonly translated: boolean;
  readonly swiotlb: Swiotlb | null;
  /** Bytes up to the end of RAM. */
  readonly memoryEnd: number;
  readonly encryption: MemoryEncryption | null;
}

/** The largest single mapping: a segment of the bounce pool where bouncing is possible. */
export function maxMappingSize(device: DmaDevice, around: DeviceSurroundings): number {
  const { swiotlb, translated } = around;
  // behind an IOMMU nobody asks whether there is a pool (`iommu_dma_max_mapping_size`)
  const mayBounce = translated
    ? device.untrusted
    : swiotlb !== null && (swiotlb.force || addressingLimited(device, around));
  return mayBounce ? swiotlbMaxMappingSize(device) : SIZE_MAX;
}

/** The largest mapping that stays fast: what the IOVA cache holds. */
export function optMappingSize(device: DmaDevice, around: DeviceSurroundings): number {
  const largest = maxMappingSize(device, around);
  return around.translated ? Math.min(largest, IOVA_RANGE_CACHE_MAX_PAGES * PAGE_SIZE) : largest;
}

/** All ones up to what the device must be able to address: the C-bit too, where its memory is encrypted. */
export function requiredMask(device: DmaDevice, { translated, memoryEnd, encryption }: DeviceSurroundings): number {
  if (translated) return dmaBitMask(32);
  const last = memoryEnd - 1;
  const highest = encryption === null || device.forceUnencrypted ? last : encryption.encrypted(last);
  return 2 ** (Math.floor(Math.log2(highest)) + 1) - 1;
}

export function addressingLimited(device: DmaDevice, around: DeviceSurroundings): boolean {
  const { dmaMask, busDmaLimit } = device;
  return (busDmaLimit === 0 ? dmaMask : Math.min(dmaMask, busDmaLimit)) < requiredMask(device, around);
}

/** 0, or -EIO when no memory could ever be found for so narrow a mask; the masks are then as before. */
export function setMaskAndCoherent(device: DmaDevice, mask: number, around: DeviceSurroundings): number {
  if (!around.translated && mask < Math.min(SMALLEST_ZONE_MASK, around.memoryEnd - 1)) return EIO;
  device.dmaMask = mask;
  device.coherentDmaMask = mask;
  device.dmaSkipSync = device.coherent;
  return 0;
}
