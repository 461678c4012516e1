/**
 * The cache of freed IOVA ranges in front of the tree: per CPU and size class two magazines of 127 ranges, and a depot of
 * full magazines that the CPUs share (Linux drivers/iommu/iova.c: `__iova_rcache_insert`, `__iova_rcache_get`,
 * `iova_magazine_pop`).
 * The worker that trims the depot is iovaDepotTrimmer.ts.
 */
import { roundUpPowerOfTwo } from './iova.ts';

/** `IOVA_RANGE_CACHE_MAX_SIZE`: classes of 1, 2, 4 ... 32 pages. */
const IOVA_RANGE_CACHE_MAX_SIZE = 6;
/** The largest range that is cached, in pages: 128 KiB. */
export const IOVA_RANGE_CACHE_MAX_PAGES = 1 << (IOVA_RANGE_CACHE_MAX_SIZE - 1);
/** `IOVA_MAG_SIZE`. */
export const IOVA_MAG_SIZE = 127;

/** `order_base_2`: the size class of a range; IOVA_RANGE_CACHE_MAX_SIZE stands for all that are not cached. */
export function iovaSizeClass(pages: number): number {
  if (pages > IOVA_RANGE_CACHE_MAX_PAGES) return IOVA_RANGE_CACHE_MAX_SIZE;
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

function* contents(
  magazine: Magazine,
  sizeClass: number,
  cpu: number,
): Generator<{ readonly pfn: number; readonly pages: number; readonly cpu: number }> {
  for (let index = 0; index < magazine.size; index += 1) {
    yield { pfn: magazine.pfns[index]!, pages: 1 << sizeClass, cpu };
  }
}

interface CpuCache {
  loaded: Magazine;
  prev: Magazine;
}

export class IovaRcache {
  /** Magazines that went to the depot so far, and the size class of the last one. */
  depotPushes = 0;
  lastPushedClass = 0;
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
        this.depotPushes += 1;
        this.lastPushedClass = sizeClass;
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
    // unsigned in the kernel: of a limit that the range does not even fit below, every cached range is within
    const highest = limitPfn + 1 < pages ? Infinity : limitPfn + 1 - pages;
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

  /** Gives the newest magazine of a class to `release` if the depot holds more than `keep`; false: nothing to do. */
  trimDepot(sizeClass: number, keep: number, release: (pfn: number) => void): boolean {
    const depot = this.depots[sizeClass]!;
    if (depot.length <= keep) return false;
    const magazine = depot.pop()!;
    for (let index = 0; index < magazine.size; index += 1) release(magazine.pfns[index]!);
    magazine.size = 0;
    this.spare.push(magazine);
    return true;
  }

  /** Every cached range and where it lies, for inspection. `cpu` -1: in the depot that the CPUs share. */
  *ranges(): Generator<{ readonly pfn: number; readonly pages: number; readonly cpu: number }> {
    for (const [cpu, caches] of this.cpuCaches.entries()) {
      for (const [sizeClass, { loaded, prev }] of caches.entries()) {
        for (const magazine of [loaded, prev]) yield* contents(magazine, sizeClass, cpu);
      }
    }
    for (const [sizeClass, depot] of this.depots.entries()) {
      for (const magazine of depot) yield* contents(magazine, sizeClass, -1);
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
