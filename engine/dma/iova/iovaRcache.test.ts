import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { IovaDomain } from './iovaDomain.ts';
import { iovaCacheableSize, IovaRcache, iovaSizeClass, IOVA_MAG_SIZE } from './iovaRcache.ts';

const NO_LIMIT = 2 ** 36;

describe('the cache of IOVA ranges (drivers/iommu/iova.c, iova_rcache)', () => {
  test('has classes of 1 to 32 pages by the next power of two', () => {
    expect([1, 2, 3, 4, 5, 8, 9, 17, 32, 33].map(iovaSizeClass)).toEqual([0, 1, 2, 2, 3, 3, 4, 5, 5, 6]);
    expect([1, 3, 17, 31, 32, 33, 100].map(iovaCacheableSize)).toEqual([1, 4, 32, 32, 32, 33, 100]);
  });

  test('keeps nothing of a range of 16 TiB and more, whatever its low bits', () => {
    expect([2 ** 32 + 1, 2 ** 32 + 5, 2 ** 40].map(iovaSizeClass)).toEqual([6, 6, 6]);
    const cache = new IovaRcache(1);
    cache.insert(0, 100, 8);
    expect(cache.get(0, 2 ** 32 + 8, NO_LIMIT)).toBe(0);
  });

  test('gives back the range that came last', () => {
    const cache = new IovaRcache(1);
    cache.insert(0, 100, 1);
    cache.insert(0, 101, 1);
    expect(cache.get(0, 1, NO_LIMIT)).toBe(101);
    expect(cache.get(0, 1, NO_LIMIT)).toBe(100);
    expect(cache.get(0, 1, NO_LIMIT)).toBe(0);
  });

  test('keeps CPUs and classes apart, and leaves ranges over 32 pages to the tree', () => {
    const cache = new IovaRcache(2);
    cache.insert(0, 100, 4);
    expect(cache.get(1, 4, NO_LIMIT)).toBe(0);
    expect(cache.get(0, 2, NO_LIMIT)).toBe(0);
    expect(cache.insert(0, 200, 33)).toBe(false);
  });

  test('passes over ranges above the limit and fills the hole with the newest', () => {
    const cache = new IovaRcache(1);
    for (const pfn of [10, 500, 600]) cache.insert(0, pfn, 1);
    expect(cache.get(0, 1, 499)).toBe(10);
    expect(cache.get(0, 1, NO_LIMIT)).toBe(500);
    expect(cache.get(0, 1, NO_LIMIT)).toBe(600);
  });

  test('a limit smaller than the range itself limits nothing', () => {
    const cache = new IovaRcache(1);
    cache.insert(0, 500, 32);
    expect(cache.get(0, 32, 31)).toBe(0);
    expect(cache.get(0, 32, 15)).toBe(500);
  });

  test('does not look beyond the loaded magazine when nothing in it fits', () => {
    const cache = new IovaRcache(1);
    for (let index = 0; index < IOVA_MAG_SIZE; index += 1) cache.insert(0, 1 + index, 1);
    cache.insert(0, 5000, 1);
    expect(cache.get(0, 1, 4000)).toBe(0);
    expect(cache.get(0, 1, NO_LIMIT)).toBe(5000);
    expect(cache.get(0, 1, 4000)).toBe(IOVA_MAG_SIZE);
  });

  test('hands full magazines to other CPUs through the depot', () => {
    const cache = new IovaRcache(2);
    for (let index = 0; index < 3 * IOVA_MAG_SIZE; index += 1) cache.insert(0, 1 + index, 1);
    // two magazines stay with CPU 0; the one that was full when the third began went to the depot
    expect(cache.get(1, 1, NO_LIMIT)).toBe(2 * IOVA_MAG_SIZE);
    expect(cache.size).toBe(3 * IOVA_MAG_SIZE - 1);
  });

  test('behaves as stacks of 127 do, whatever is put in and taken out', () => {
    const step = fc.record({ put: fc.boolean(), burst: fc.integer({ min: 1, max: 200 }), cpu: fc.nat({ max: 1 }) });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
        const cache = new IovaRcache(2);
        const cpus = [0, 1].map(() => ({ loaded: [] as number[], prev: [] as number[] }));
        const depot: number[][] = [];
        let pfn = 0;
        let different = 0;
        for (const { put, burst, cpu } of steps) {
          const naive = cpus[cpu]!;
          for (let count = 0; count < burst; count += 1) {
            if (put) {
              pfn += 1;
              if (naive.loaded.length === IOVA_MAG_SIZE) {
                if (naive.prev.length < IOVA_MAG_SIZE) [naive.loaded, naive.prev] = [naive.prev, naive.loaded];
                else naive.loaded = (depot.push(naive.loaded), []);
              }
              naive.loaded.push(pfn);
              cache.insert(cpu, pfn, 1);
            } else {
              if (naive.loaded.length === 0) {
                if (naive.prev.length > 0) [naive.loaded, naive.prev] = [naive.prev, naive.loaded];
                else naive.loaded = depot.pop() ?? naive.loaded;
              }
              if (cache.get(cpu, 1, NO_LIMIT) !== (naive.loaded.pop() ?? 0)) different += 1;
            }
          }
        }
        expect(different).toBe(0);
      }),
    );
  });
});

describe('an IOVA domain (alloc_iova_fast)', () => {
  test('empties all caches into the tree when the tree is full, and tries once more', () => {
    const domain = new IovaDomain(2);
    domain.tree.reserve(0, 0xf_fffb);
    const pages = [1, 2, 3, 4].map(() => domain.allocateFast(0, 1, 0xf_ffff, true));
    expect(pages).toEqual([0xf_ffff, 0xf_fffe, 0xf_fffd, 0xf_fffc]);
    for (const pfn of pages) domain.freeFast(1, pfn, 1);
    expect(domain.allocateFast(0, 4, 0xf_ffff, false)).toBe(0);
    expect(domain.lastSlow).toBe(1);
    expect(domain.allocateFast(0, 4, 0xf_ffff, true)).toBe(0xf_fffc);
    expect(domain.lastSlow).toBe(2);
    expect(domain.rcache.size).toBe(0);
  });

  test('caches a range by the size given, while the tree keeps the whole of it', () => {
    const domain = new IovaDomain(1);
    const pfn = domain.allocateFast(0, 32, 0xf_ffff, false);
    domain.freeFast(0, pfn, 4);
    expect(domain.allocateFast(0, 4, 0xf_ffff, false)).toBe(pfn);
    expect([...domain.tree.ranges()]).toEqual([{ lo: pfn, hi: pfn + 31 }]);
  });

  test('can be given the past of a recorded boot', () => {
    const domain = new IovaDomain(1);
    expect(domain.seedRcache(0, 3, 0xf_ffff)).toBe(true);
    expect(domain.allocateFast(0, 4, 0xf_ffff, false)).toBe(0xf_fffc);
    expect(domain.lastSlow).toBe(0);
    domain.freeFast(0, 0xf_fffc, 4);
    domain.forceSlowOnce();
    expect(domain.allocateFast(0, 4, 0xf_ffff, false)).toBe(0xf_fff8);
    expect(domain.lastSlow).toBe(1);
    expect(domain.seedRcache(0, 33, 0xf_ffff)).toBe(false);
  });
});
