/** Which devices are read again after context-cache and PASID-cache descriptors (VT-d specification 6.5.2.1, 6.5.2.2). */
import { expect, test } from 'vitest';
import { FrameAllocator } from '../../memory/frameAllocator.ts';
import { PhysicalMemory } from '../../memory/physicalMemory.ts';
import { Counters } from '../../metrics/counters.ts';
import { picoseconds } from '../../time/picoseconds.ts';
import { NO_PASID } from '../../pcie/translator.ts';
import { NO_DEVICES } from '../ats/deviceTlbs.ts';
import { ContextCache } from '../caches/contextCache.ts';
import { Iotlb } from '../caches/iotlb.ts';
import { PagingStructureCache } from '../caches/pagingStructureCache.ts';
import { FREE_IOMMU_COSTS } from '../freeCosts.ts';
import { PAGES_PER_ENTRY } from '../formats/pageTableFormat.ts';
import { contextOf } from '../testContext.ts';
import { InvalidationQueue } from './invalidationQueue.ts';

const SOURCES = Array.from({ length: 24 }, (_, index) => 0x0100 + index);

/** Domains alternate between 5 and 6. Returns the sources whose entries survive a descriptor. */
function survivors(...descriptor: [number, number]): number[] {
  const memory = new PhysicalMemory(64 * 4096);
  const contextCache = new ContextCache(64);
  const geometry = { entries512G: 1, entries1G: 1, entries2M: 1 };
  const caches = {
    iotlb: new Iotlb({ entries4K: 1, entries2M: 1, entries1G: 1, ways: 1 }),
    pagingCache: new PagingStructureCache(geometry, PAGES_PER_ENTRY),
    contextCache,
    emptiesSets: false,
    deviceTlbs: NO_DEVICES,
  };
  const queue = new InvalidationQueue(
    memory,
    new FrameAllocator(memory, 1, 63),
    caches,
    FREE_IOMMU_COSTS,
    new Counters(),
  );
  for (const source of SOURCES) {
    const context = contextOf({ domainId: 5 + (source % 2), tablePage: 1, levels: 4 });
    contextCache.fill(source, NO_PASID, context);
  }
  queue.submit(new Uint32Array([...descriptor, 0, 0]), 1, picoseconds(0));
  return SOURCES.filter((source) => contextCache.holds(source, NO_PASID));
}

test.each([
  [0, [0x010a]],
  [1, [0x010a, 0x010e]],
  [2, [0x0108, 0x010a, 0x010c, 0x010e]],
  [3, [0x0108, 0x0109, 0x010a, 0x010b, 0x010c, 0x010d, 0x010e, 0x010f]],
])('a function mask of %i ignores the upper bits of the function number', (mask, dropped) => {
  expect(survivors(1 | (3 << 4), 0x010a | (mask << 16))).toEqual(SOURCES.filter((source) => !dropped.includes(source)));
});

test('PASID-cache descriptors: a domain, one PASID of it, everything', () => {
  const others = SOURCES.filter((source) => source % 2 === 1);
  expect(survivors(7 | (5 << 16), 0)).toEqual(others);
  expect(survivors(7 | (1 << 4) | (5 << 16), 9)).toEqual(others);
  expect(survivors(7 | (3 << 4), 0)).toEqual([]);
  expect(survivors(7 | (7 << 16), 0)).toEqual(SOURCES);
});
