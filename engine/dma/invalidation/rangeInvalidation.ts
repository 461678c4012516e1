/**
 * From a byte range to the naturally aligned power of two that one VT-d invalidation descriptor can name (Linux
 * drivers/iommu/intel/cache.c, `calculate_psi_aligned_address`). A range that is not aligned to its own size grows until its
 * first and last page share all higher bits, perhaps to the whole address space.
 */
import { PAGE_OFFSET } from '../pageOffset.ts';
import { PAGE_SIZE } from '../../memory/addresses.ts';

/** `MAX_AGAW_PFN_WIDTH`: the mask that stands for every page. */
const MAX_ADDRESS_MASK = 52;

/** The result of the last `alignRange`, reused so that a flush allocates nothing. */
export class AlignedRange {
  /** Byte address, aligned to 4096 << mask. */
  address = 0;
  mask = 0;
  /** Pages of the range, rounded up to a power of two. */
  pages = 0;

  /** Aligns the range [start, end], in bytes, end inclusive. */
  align(start: number, end: number): void {
    const firstPfn = Math.floor(start / PAGE_SIZE);
    const pages = Math.ceil(((start & PAGE_OFFSET) + (end - start + 1)) / PAGE_SIZE);
    let mask = 0;
    let rounded = 1;
    while (rounded < pages) {
      rounded *= 2;
      mask += 1;
    }
    this.pages = rounded;
    if (firstPfn % rounded !== 0) {
      const lastPfn = firstPfn + pages - 1;
      // the lowest bit, from the size upward, in which first and last page agree
      let span = rounded;
      while (mask < MAX_ADDRESS_MASK && Math.floor(firstPfn / span) % 2 !== Math.floor(lastPfn / span) % 2) {
        span *= 2;
        mask += 1;
      }
    }
    this.mask = mask;
    const unit = PAGE_SIZE * 2 ** mask;
    this.address = start - (start % unit);
  }
}
