/**
 * Directions and attributes of a DMA mapping (Linux include/linux/dma-direction.h, include/linux/dma-mapping.h).
 * The attributes are bit masks, as a driver passes them.
 * Leaves out: DMA_NONE, which no mapping may have, attributes of memory allocation, and those that change
 * nothing here (WEAK_ORDERING, WRITE_COMBINE, PRIVILEGED).
 */
export const DMA_BIDIRECTIONAL = 0;
export const DMA_TO_DEVICE = 1;
export const DMA_FROM_DEVICE = 2;

export type DmaDirection = 0 | 1 | 2;

/** The caller cares for the CPU's caches, and for copies to and from bounce buffers, by itself. */
export const DMA_ATTR_SKIP_CPU_SYNC = 1 << 5;
export const DMA_ATTR_NO_WARN = 1 << 8;
/** Not memory but a device's registers or memory: no caches, no bounce. */
export const DMA_ATTR_MMIO = 1 << 10;
/** The mapping must be the memory itself: refuse rather than bounce, and refuse devices that are not coherent. */
export const DMA_ATTR_REQUIRE_COHERENT = 1 << 12;
/** Of a confidential guest: the memory is shared with the host already. */
export const DMA_ATTR_CC_SHARED = 1 << 13;

/** Whether a mapping of this direction lets the device read memory (`dma_info_to_prot`). */
export function deviceMayRead(direction: DmaDirection): boolean {
  return direction === DMA_TO_DEVICE || direction === DMA_BIDIRECTIONAL;
}

/** Whether a mapping of this direction lets the device write memory. */
export function deviceMayWrite(direction: DmaDirection): boolean {
  return direction === DMA_FROM_DEVICE || direction === DMA_BIDIRECTIONAL;
}
