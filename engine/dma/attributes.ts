/**
 * Directions and attributes of a DMA mapping (Linux include/linux/dma-direction.h, include/linux/dma-mapping.h).
 * The attributes are bit masks, as a driver passes them.
 * Leaves out: DMA_NONE, which no mapping may have, and attributes that change nothing here.
 */
export const DMA_BIDIRECTIONAL = 0;
export const DMA_TO_DEVICE = 1;
export const DMA_FROM_DEVICE = 2;

export type DmaDirection = 0 | 1 | 2;

export const DMA_ATTR_NO_WARN = 1 << 8;
export const DMA_ATTR_MMIO = 1 << 10;

/** Whether a mapping of this direction lets the device read memory (`dma_info_to_prot`). */
export function deviceMayRead(direction: DmaDirection): boolean {
  return direction === DMA_TO_DEVICE || direction === DMA_BIDIRECTIONAL;
}

/** Whether a mapping of this direction lets the device write memory. */
export function deviceMayWrite(direction: DmaDirection): boolean {
  return direction === DMA_FROM_DEVICE || direction === DMA_BIDIRECTIONAL;
}
