/**
 * Directions and attributes of a DMA mapping (Linux include/linux/dma-direction.h, include/linux/dma-mapping.h).
 * The attributes are bit masks, as a driver passes them.
 * Leaves out: DMA_NONE, which no mapping may have, and attributes that change nothing here.
 */
export const DMA_BIDIRECTIONAL = 0;
export const DMA_TO_DEVICE = 1;
export const DMA_FROM_DEVICE = 2;

export type DmaDirection = 0 | 1 | 2;

/** The caller moves data between caches and memory itself: no copy of a bounce buffer at map and unmap either. */
export const DMA_ATTR_SKIP_CPU_SYNC = 1 << 5;
export const DMA_ATTR_NO_WARN = 1 << 8;
/** The device acts for the kernel, not for a user. */
export const DMA_ATTR_PRIVILEGED = 1 << 9;
/** Not RAM but a device's registers: no cache work, no bounce. */
export const DMA_ATTR_MMIO = 1 << 10;
/** Refuse rather than bounce or flush caches: CPU and device must see the same bytes at every moment. */
export const DMA_ATTR_REQUIRE_COHERENT = 1 << 12;
/** The pages are already shared with the hypervisor of a confidential guest. */
export const DMA_ATTR_CC_SHARED = 1 << 13;

/** Whether a mapping of this direction lets the device read memory (`dma_info_to_prot`). */
export function deviceMayRead(direction: DmaDirection): boolean {
  return direction === DMA_TO_DEVICE || direction === DMA_BIDIRECTIONAL;
}

/** Whether a mapping of this direction lets the device write memory. */
export function deviceMayWrite(direction: DmaDirection): boolean {
  return direction === DMA_FROM_DEVICE || direction === DMA_BIDIRECTIONAL;
}
