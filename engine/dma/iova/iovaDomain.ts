/**
 * One IOVA space: tree and cache together (Linux drivers/iommu/iova.c: `alloc_iova_fast`, `free_iova_fast`).
 * Two hooks stand in for what happened before a recording began: a range may be put into the cache, and a look into it
 * may be skipped once.
 */
import { IovaTree } from './iova.ts';
import { iovaCacheableSize, IovaRcache } from './iovaRcache.ts';

export class IovaDomain {
  readonly tree: IovaTree;
  readonly rcache: IovaRcache;
  /** Searches of the tree that the last allocation made: 0, 1, or 2 after emptying the caches. */
  lastSlow = 0;
  /** Neighbours that these searches passed. */
  lastSteps = 0;
  /** Pages that it asked of the tree: the size after rounding up to a class. */
  lastRoundedPages = 0;
  private skipCache = false;
  private readonly releaseToTree = (pfn: number): void => {
    this.tree.free(pfn);
  };

  constructor(cpus: number, startPfn = 1) {
    this.tree = new IovaTree(startPfn);
    this.rcache = new IovaRcache(cpus);
  }

  /** `alloc_iova_fast`: first page of the range, 0 on failure. */
  allocateFast(cpuId: number, pages: number, limitPfn: number, flushRcache: boolean): number {
    const size = iovaCacheableSize(pages);
    this.lastSlow = 0;
    this.lastSteps = 0;
    this.lastRoundedPages = size;
    if (this.skipCache) {
      this.skipCache = false;
    } else {
      const cached = this.rcache.get(cpuId, size, limitPfn);
      if (cached !== 0) return cached;
    }
    let flush = flushRcache;
    for (;;) {
      const pfn = this.tree.allocate(size, limitPfn);
      this.lastSlow += 1;
      this.lastSteps += this.tree.lastSteps;
      if (pfn !== 0 || !flush) return pfn;
      flush = false;
      this.rcache.drain(this.releaseToTree);
    }
  }

  /** `free_iova_fast`: true when the cache took the range, false when it went to the tree. */
  freeFast(cpuId: number, pfn: number, pages: number): boolean {
    if (this.rcache.insert(cpuId, pfn, pages)) return true;
    this.tree.free(pfn);
    return false;
  }

  /** Gives one surplus magazine of a size class back to the tree; false when the depot holds no more than `keep`. */
  trimDepot(sizeClass: number, keep: number): boolean {
    return this.rcache.trimDepot(sizeClass, keep, this.releaseToTree);
  }

  /** Puts a range of this size from the tree into a CPU's cache; false when none is free, or the size is not cached. */
  seedRcache(cpuId: number, pages: number, limitPfn: number): boolean {
    const size = iovaCacheableSize(pages);
    const pfn = this.tree.allocate(size, limitPfn);
    if (pfn === 0) return false;
    if (this.rcache.insert(cpuId, pfn, size)) return true;
    this.tree.free(pfn);
    return false;
  }

  /** The next allocation goes to the tree, whatever the cache holds. */
  forceSlowOnce(): void {
    this.skipCache = true;
  }
}
