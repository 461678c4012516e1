/**
 * The address types of the emulator. An address is a plain number; a page number is the address divided by 4096.
 * Numbers are exact to 2^53: physical addresses (52 bits) and IOVAs up to 52 bits are exact to the byte. Wider IOVAs
 * (57 bits) are carried as page numbers, which stay exact, inside iommu/ and in the IOVA allocator.
 * Leaves out: BigInt, which appears only where text is parsed or printed.
 */
declare const physAddrBrand: unique symbol;
declare const dmaAddrBrand: unique symbol;

/** A CPU physical address in bytes (`phys_addr_t`). */
export type PhysAddr = number & { readonly [physAddrBrand]: true };

/** What a device puts on the bus (`dma_addr_t`): an IOVA behind an IOMMU, else a bus address. Bytes. */
export type DmaAddr = number & { readonly [dmaAddrBrand]: true };

export const PAGE_SIZE = 4096;

/** `DMA_MAPPING_ERROR`: all ones in the kernel. No valid address of the emulator is negative. */
export const DMA_MAPPING_ERROR = -1 as DmaAddr;

export function physAddr(value: number): PhysAddr {
  return value as PhysAddr;
}

export function dmaAddr(value: number): DmaAddr {
  return value as DmaAddr;
}

/** The in-page part of an address. Exact for every address below 2^53, where `&` alone would not be. */
export function offsetInPage(address: number): number {
  return address % PAGE_SIZE;
}

/** Rounds a byte count up to whole pages, in bytes. */
export function pageAlign(bytes: number): number {
  return Math.ceil(bytes / PAGE_SIZE) * PAGE_SIZE;
}
