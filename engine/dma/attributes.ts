/**
 * Directions and attributes of a DMA mapping (Linux include/linux/dma-direction.h, include/linux/dma-mapping.h).
 * The attributes are bit masks, as a driver passes them.
 */
export const DMA_BIDIRECTIONAL = 0;
export const DMA_TO_DEVICE = 1;
export const DMA_FROM_DEVICE = 2;
export const DMA_NONE = 3;

export type DmaDirection = 0 | 1 | 2 | 3;

export const DMA_ATTR_WEAK_ORDERING = 1 << 1;
export const DMA_ATTR_WRITE_COMBINE = 1 << 2;
export const DMA_ATTR_NO_KERNEL_MAPPING = 1 << 4;
export const DMA_ATTR_SKIP_CPU_SYNC = 1 << 5;
export const DMA_ATTR_FORCE_CONTIGUOUS = 1 << 6;
export const DMA_ATTR_ALLOC_SINGLE_PAGES = 1 << 7;
export const DMA_ATTR_NO_WARN = 1 << 8;
export const DMA_ATTR_PRIVILEGED = 1 << 9;
export const DMA_ATTR_MMIO = 1 << 10;
export const DMA_ATTR_REQUIRE_COHERENT = 1 << 12;
export const DMA_ATTR_CC_SHARED = 1 << 13;

/** Whether a mapping of this direction lets the device read memory (`dma_info_to_prot`). */
export function deviceMayRead(direction: DmaDirection): boolean {
  return direction === DMA_TO_DEVICE || direction === DMA_BIDIRECTIONAL;
}

/** Whether a mapping of this direction lets the device write memory. */
export function deviceMayWrite(direction: DmaDirection): boolean {
  return direction === DMA_FROM_DEVICE || direction === DMA_BIDIRECTIONAL;
}
