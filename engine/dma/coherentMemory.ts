/**
 * Memory that CPU and device share for as long as a driver lives (Linux kernel/dma/direct.c `dma_direct_alloc`;
 * drivers/iommu/dma-iommu.c `iommu_dma_alloc`): which pages it is made of, before it gets an address for the device.
 * Leaves out: memory scattered over several blocks, and the atomic pools of machines without coherence.
 */
import { PAGE_SIZE, pageAlign, type DmaAddr, type PhysAddr } from '../memory/addresses.ts';
import type { FrameAllocator } from '../memory/frameAllocator.ts';
import type { PageKinds } from '../memory/pageKinds.ts';
import { roundUpPowerOfTwo } from './iova/iova.ts';

/** `MAX_PAGE_ORDER` 10: 4 MiB. */
const LARGEST_BLOCK_PAGES = 1024;
/** No memory at hand. */
export const NO_PAGE = -1;

/** Coherent memory: where the CPU finds it, and where the device does. */
export interface CoherentMemory {
  readonly phys: PhysAddr;
  readonly address: DmaAddr;
}

export class CoherentPages {
  private readonly frames: FrameAllocator;
  private readonly pageKinds: PageKinds | null;

  constructor(frames: FrameAllocator, pageKinds: PageKinds | null) {
    this.frames = frames;
    this.pageKinds = pageKinds;
  }

  /**
   * The first of a run of zeroed pages that ends at or below `lastByte`; NO_PAGE when there is none. `shared`: a device of a
   * confidential guest reaches memory only that the host may read.
   */
  allocate(size: number, lastByte: number, shared: boolean): number {
    const { frames } = this;
    const pages = pageAlign(size) / PAGE_SIZE;
    // the kernel's page allocator hands out blocks aligned to their size, so large ones can take large leaves
    const alignment = Math.min(roundUpPowerOfTwo(pages), LARGEST_BLOCK_PAGES);
    const reach = Math.floor((lastByte + 1) / PAGE_SIZE);
    // memory that is high up is not tried first: pages given back one by one never make a run again
    let first: number;
    if (reach < frames.endPage) first = frames.allocateBelow(pages, alignment, reach);
    else first = pages === 1 ? frames.allocatePage() : frames.allocateContiguous(pages, alignment);
    if (first !== NO_PAGE && shared) this.pageKinds?.setPrivate(first, pages, false);
    return first;
  }

  free(first: number, size: number, shared: boolean): void {
    const pages = pageAlign(size) / PAGE_SIZE;
    if (shared) this.pageKinds?.setPrivate(first, pages, true);
    this.giveBack(first, pages);
  }

  private giveBack(first: number, pages: number): void {
    for (let page = first; page < first + pages; page += 1) this.frames.freePage(page);
  }
}
