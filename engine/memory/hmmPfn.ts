/**
 * The entries of a page list that HMM fills and DMA mapping marks (Linux include/linux/hmm.h, `enum hmm_pfn_flags`): 64-bit
 * words in the kernel, here a page number and the eleven bits above it, since no number of the emulator is exact to 64 bits.
 * Leaves out: HMM_PFN_* as requests (`default_flags`, `pfn_flags_mask`), which hmm_range_fault takes by name.
 */

/** Bit 53, the lowest that is not part of the page number. */
const FLAGS_SHIFT = 53;

/** Bits 57:53: order of the CPU's mapping. */
export const HMM_PFN_ORDER_MASK = 0x1f;
/** Bit 58: reached by its bus address, without IOVA. */
export const HMM_PFN_P2PDMA_BUS = 1 << 5;
/** Bit 59: a peer's memory, reached through the host bridge. */
export const HMM_PFN_P2PDMA = 1 << 6;
/** Bit 60: the device has an address for it. */
export const HMM_PFN_DMA_MAPPED = 1 << 7;
/** Bit 61: no access is possible; the device should fail. */
export const HMM_PFN_ERROR = 1 << 8;
/** Bit 62. */
export const HMM_PFN_WRITE = 1 << 9;
/** Bit 63. */
export const HMM_PFN_VALID = 1 << 10;

/** `HMM_PFN_INOUT_FLAGS`: what a new hmm_range_fault leaves in place. */
export const HMM_PFN_STICKY = HMM_PFN_DMA_MAPPED | HMM_PFN_P2PDMA | HMM_PFN_P2PDMA_BUS;

/** `unsigned long hmm_pfns[]`. */
export class HmmPfnList {
  readonly length: number;
  readonly pages: Float64Array;
  /** Bits 63:53, shifted down. */
  readonly flags: Uint16Array;

  constructor(length: number) {
    this.length = length;
    this.pages = new Float64Array(length);
    this.flags = new Uint16Array(length);
  }

  set(index: number, page: number, flags: number): void {
    this.pages[index] = page;
    this.flags[index] = flags;
  }

  /** The entry as the kernel holds and prints it: `0xd00000000010dc7f`. */
  describe(index: number): string {
    const word = (BigInt(this.flags[index]!) << BigInt(FLAGS_SHIFT)) | BigInt(this.pages[index]!);
    return `0x${word.toString(16)}`;
  }
}
