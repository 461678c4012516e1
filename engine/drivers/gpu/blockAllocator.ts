/**
 * Who owns which page of a GPU's memory: blocks of 2^order pages, split and joined with their neighbours again (Linux
 * drivers/gpu/buddy.c `gpu_buddy_alloc_blocks`, `__gpu_buddy_free`; drivers/gpu/drm/amd/amdgpu/amdgpu_vram_mgr.c). The lowest free
 * block of the smallest order that fits is given, so that a run repeats.
 * Leaves out: cleared and dirty blocks, ranges at a fixed place, trimming.
 */
import type { PhysicalMemory } from '../../memory/physicalMemory.ts';
import { LabError } from '../../time/labError.ts';

const LARGEST_ORDER = 18;

export class BlockAllocator {
  private readonly memory: PhysicalMemory;
  private readonly name: string;
  private readonly firstPage: number;
  private readonly pages: number;
  /** First pages of free blocks, relative, sorted, by order. */
  private readonly free: number[][] = [];
  /** Order of each block that is taken, by its first page. */
  private readonly taken = new Map<number, number>();
  private freeCount: number;

  /** `name`: whose memory it is, for errors. */
  constructor(memory: PhysicalMemory, firstPage: number, pages: number, name: string) {
    this.memory = memory;
    this.name = name;
    this.firstPage = firstPage;
    this.pages = pages;
    this.freeCount = pages;
    for (let order = 0; order <= LARGEST_ORDER; order += 1) this.free.push([]);
    for (let at = 0; at < pages;) {
      let order = LARGEST_ORDER;
      while (at % 2 ** order !== 0 || at + 2 ** order > pages) order -= 1;
      this.free[order]!.push(at);
      at += 2 ** order;
    }
  }

  get freePages(): number {
    return this.freeCount;
  }

  allocatePage(): number {
    return this.allocateBlock(0);
  }

  /** The first of 2^order zeroed pages, aligned to as many within the memory. */
  allocateBlock(order: number): number {
    let from = order;
    while (from <= LARGEST_ORDER && this.free[from]!.length === 0) from += 1;
    const at = this.free[from]?.shift();
    if (at === undefined) {
      throw new LabError(
        this.name,
        `no block of ${String(2 ** order)} pages is free, of ${String(this.freeCount)} free pages of ${String(this.pages)}.`,
        'Give the GPU more memory, or keep less in it.',
      );
    }
    for (let half = from - 1; half >= order; half -= 1) this.insert(half, at + 2 ** half);
    this.taken.set(at, order);
    this.freeCount -= 2 ** order;
    return this.firstPage + at;
  }

  /** Whether a block of this order could be given. */
  hasBlock(order: number): boolean {
    return this.free.some((blocks, of) => of >= order && blocks.length > 0);
  }

  freePage(page: number): void {
    this.freeBlock(page, 0);
  }

  /** Takes a block back as it was given; its bytes are gone. */
  freeBlock(page: number, order: number): void {
    const at = page - this.firstPage;
    if (this.taken.get(at) !== order) {
      throw new Error(`${this.name}: no block of order ${String(order)} at page 0x${page.toString(16)} was given`);
    }
    this.taken.delete(at);
    this.freeCount += 2 ** order;
    for (let each = page; each < page + 2 ** order; each += 1) this.memory.releasePage(each);
    this.join(at, order);
  }

  private join(at: number, order: number): void {
    const size = 2 ** order;
    const buddy = at % (2 * size) === 0 ? at + size : at - size;
    const place = order < LARGEST_ORDER ? this.free[order]!.indexOf(buddy) : -1;
    if (place === -1) {
      this.insert(order, at);
      return;
    }
    this.free[order]!.splice(place, 1);
    this.join(Math.min(at, buddy), order + 1);
  }

  private insert(order: number, at: number): void {
    const blocks = this.free[order]!;
    let index = blocks.length;
    while (index > 0 && blocks[index - 1]! > at) index -= 1;
    blocks.splice(index, 0, at);
  }
}
