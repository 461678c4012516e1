/**
 * Where the driver's PRP lists and SGL segments live: DMA pools of blocks carved out of pages of coherent memory (Linux
 * mm/dmapool.c, `dma_pool_alloc`). Free blocks form a stack; a pool that is empty calls `dma_alloc_coherent` for one page,
 * in the midst of the request that needs it.
 * Leaves out: giving pages back (the kernel does so only when the pool is destroyed), boundary crossing checks.
 */
import type { DmaApi } from '../dma/dmaApi.ts';
import type { DmaDevice } from '../dma/device.ts';
import { PAGE_SIZE } from '../memory/addresses.ts';
import type { Cpu } from '../time/cpu.ts';

/** `NVME_SMALL_POOL_SIZE`: 32 PRP entries or 16 SGL descriptors. */
export const NVME_SMALL_POOL_SIZE = 256;
/** The large pool: one controller page, 512 PRP entries. */
export const NVME_LARGE_POOL_SIZE = 4096;

/** One block of a pool: where the CPU writes it and where the device reads it. */
export interface DescriptorBlock {
  readonly phys: number;
  readonly address: number;
}

export interface DescriptorPool {
  /** Null: no memory. */
  allocate(cpu: Cpu): DescriptorBlock | null;
  free(block: DescriptorBlock): void;
}

export interface DescriptorPools {
  readonly small: DescriptorPool;
  readonly large: DescriptorPool;
}

export class DmaPool implements DescriptorPool {
  private readonly dma: DmaApi;
  private readonly device: DmaDevice;
  private readonly blockBytes: number;
  private readonly freeBlocks: DescriptorBlock[] = [];
  /** Pages of coherent memory that the pool has taken. */
  pages = 0;

  constructor(dma: DmaApi, device: DmaDevice, blockBytes: number) {
    this.dma = dma;
    this.device = device;
    this.blockBytes = blockBytes;
  }

  allocate(cpu: Cpu): DescriptorBlock | null {
    const block = this.freeBlocks.pop();
    if (block !== undefined) return block;
    const page = this.dma.dmaAllocCoherent(cpu, this.device, PAGE_SIZE);
    if (page === null) return null;
    this.pages += 1;
    for (let offset = PAGE_SIZE - this.blockBytes; offset >= 0; offset -= this.blockBytes) {
      this.freeBlocks.push({ phys: page.phys + offset, address: page.address + offset });
    }
    return this.freeBlocks.pop()!;
  }

  free(block: DescriptorBlock): void {
    this.freeBlocks.push(block);
  }
}

/**
 * The pool of a recorded machine: it had a past, so its free blocks are unknown, and when it was empty is an input. Every
 * block is the same scratch page, because in a replay of calls no device reads it, unless a device log tells where it was.
 */
export class ReplayedPool implements DescriptorPool {
  private readonly dma: DmaApi;
  private readonly device: DmaDevice;
  private readonly scratch: DescriptorBlock;
  private emptyAllocations = 0;
  private next: DescriptorBlock | null = null;

  constructor(dma: DmaApi, device: DmaDevice, scratchPhys: number) {
    this.dma = dma;
    this.device = device;
    this.scratch = { phys: scratchPhys, address: 0 };
  }

  /** The next `count` allocations find the pool empty. */
  emptyFor(count: number): void {
    this.emptyAllocations = count;
  }

  /** The next block that is free is this one. */
  giveNext(block: DescriptorBlock | null): void {
    this.next = block;
  }

  allocate(cpu: Cpu): DescriptorBlock | null {
    if (this.emptyAllocations === 0) {
      const block = this.next ?? this.scratch;
      this.next = null;
      return block;
    }
    this.emptyAllocations -= 1;
    return this.dma.dmaAllocCoherent(cpu, this.device, PAGE_SIZE);
  }

  free(): void {
    // A block of a recorded pool has no identity: which one comes back makes no difference.
  }
}
