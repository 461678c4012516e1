/**
 * The cache of freed IOVA ranges in front of the tree: per CPU and size class two magazines of 127 ranges, and a depot of
 * full magazines that the CPUs share (Linux drivers/iommu/iova.c: `__iova_rcache_insert`, `__iova_rcache_get`,
 * `iova_magazine_pop`).
 * Leaves out: the worker that trims the depot every 100 ms, which no recording shows.
 */
import { roundUpPowerOfTwo } from './iova.ts';

/** `IOVA_RANGE_CACHE_MAX_SIZE`: classes of 1, 2, 4 ... 32 pages. */
const IOVA_RANGE_CACHE_MAX_SIZE = 6;
/** The largest range that is cached, in pages: 128 KiB. */
export const IOVA_RANGE_CACHE_MAX_PAGES = 1 << (IOVA_RANGE_CACHE_MAX_SIZE - 1);
/** `IOVA_MAG_SIZE`. */
export const IOVA_MAG_SIZE = 127;

/** `order_base_2`: the size class of a range; classes from IOVA_RANGE_CACHE_MAX_SIZE on are not cached. */
export function iovaSizeClass(pages: number): number {
  return pages <= 1 ? 0 : 32 - Math.clz32(pages - 1);
}

/** The size that the allocator really takes: below 32 pages the next power of two, so that the range can be cached. */
export function iovaCacheableSize(pages: number): number {
  return pages < IOVA_RANGE_CACHE_MAX_PAGES ? roundUpPowerOfTwo(pages) : pages;
}

class Magazine {
  readonly pfns = new Float64Array(IOVA_MAG_SIZE);
  size = 0;
}

interface CpuCache {
  loaded: Magazine;
  prev: Magazine;
}

export class IovaRcache {
  private readonly cpuCaches: readonly CpuCache[][];
  private readonly depots: readonly Magazine[][];
  private readonly spare: Magazine[] = [];

  constructor(cpus: number) {
    const classes = <T>(make: () => T): T[] => Array.from({ length: IOVA_RANGE_CACHE_MAX_SIZE }, make);
    this.cpuCaches = Array.from({ length: cpus }, () =>
      classes(() => ({ loaded: new Magazine(), prev: new Magazine() })),
    );
    this.depots = classes(() => []);
  }

  /** Keeps a range for later; false when its size is not cached. The class follows the size given, not the tree's range. */
  insert(cpuId: number, pfn: number, pages: number): boolean {
    const sizeClass = iovaSizeClass(pages);
    if (sizeClass >= IOVA_RANGE_CACHE_MAX_SIZE) return false;
    const cache = this.cpuCaches[cpuId]![sizeClass]!;
    if (cache.loaded.size === IOVA_MAG_SIZE) {
      if (cache.prev.size < IOVA_MAG_SIZE) {
        const full = cache.loaded;
        cache.loaded = cache.prev;
        cache.prev = full;
      } else {
        this.depots[sizeClass]!.push(cache.loaded);
        cache.loaded = this.spare.pop() ?? new Magazine();
      }
    }
    const { loaded } = cache;
    loaded.pfns[loaded.size] = pfn;
    loaded.size += 1;
    return true;
  }

  /** Takes a cached range whose last page is at or below the limit; 0 when there is none at hand. */
  get(cpuId: number, pages: number, limitPfn: number): number {
    const sizeClass = iovaSizeClass(pages);
    if (sizeClass >= IOVA_RANGE_CACHE_MAX_SIZE) return 0;
    const cache = this.cpuCaches[cpuId]![sizeClass]!;
    if (cache.loaded.size === 0) {
      if (cache.prev.size > 0) {
        const empty = cache.loaded;
        cache.loaded = cache.prev;
        cache.prev = empty;
      } else {
        const full = this.depots[sizeClass]!.pop();
        if (full === undefined) return 0;
        this.spare.push(cache.loaded);
        cache.loaded = full;
      }
    }
    const { loaded } = cache;
    const highest = limitPfn + 1 - pages;
    let index = loaded.size - 1;
    while (index >= 0 && loaded.pfns[index]! > highest) index -= 1;
    if (index < 0) return 0;
    const pfn = loaded.pfns[index]!;
    loaded.size -= 1;
    loaded.pfns[index] = loaded.pfns[loaded.size]!;
    return pfn;
  }

  /** `free_cpu_cached_iovas` of every CPU, then `free_global_cached_iovas`: gives all ranges to `release`. */
  drain(release: (pfn: number) => void): void {
    const empty = (magazine: Magazine): void => {
      for (let index = 0; index < magazine.size; index += 1) release(magazine.pfns[index]!);
      magazine.size = 0;
    };
    for (const caches of this.cpuCaches) {
      for (const cache of caches) {
        empty(cache.loaded);
        empty(cache.prev);
      }
    }
    for (const depot of this.depots) {
      for (const magazine of depot) {
        empty(magazine);
        this.spare.push(magazine);
      }
      depot.length = 0;
    }
  }

  /** Ranges held by all CPUs and the depot. */
  get size(): number {
    let total = 0;
    for (const caches of this.cpuCaches) for (const cache of caches) total += cache.loaded.size + cache.prev.size;
    for (const depot of this.depots) for (const magazine of depot) total += magazine.size;
    return total;
  }
}
