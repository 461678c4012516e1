import { describe, expect, test } from 'vitest';
import { Counters } from '../metrics/counters.ts';
import { EventLog } from '../metrics/eventLog.ts';
import { nanoseconds, picoseconds } from '../time/picoseconds.ts';
import { writeContextEntry } from './vtd/contextTable.ts';
import { Iommu } from './iommu.ts';
import { TestTables } from './tables/testTables.ts';

const COSTS = {
  iotlbHit: nanoseconds(2),
  contextCacheHit: nanoseconds(0),
  pagingCacheLookup: nanoseconds(2),
  tableRead: nanoseconds(75),
  walkOverhead: nanoseconds(150),
  invalidationWait: nanoseconds(900),
  invalidationService: nanoseconds(350),
  invalidationDescriptor: nanoseconds(60),
};
const DEVICE = 0x18;
const DOMAIN = 3;
const PAGE_SELECTIVE = 0xf2;
const DOMAIN_SELECTIVE = 0xe2;
const GLOBAL = 0xd2;
const HINT = 0x40;

function machine(walkers = 6): { tables: TestTables; iommu: Iommu; counters: Counters; log: EventLog } {
  const tables = new TestTables(4);
  const counters = new Counters();
  const log = new EventLog();
  const iommu = new Iommu({
    name: 'iommu0',
    memory: tables.memory,
    frames: tables.frames,
    geometry: {
      iotlb: { entries4K: 128, entries2M: 32, entries1G: 4, ways: 8 },
      pagingCache: { entries512G: 8, entries1G: 16, entries2M: 64 },
      contextCacheEntries: 16,
      walkers,
    },
    costs: COSTS,
    counters,
    log,
  });
  iommu.setRootTable(tables.deviceRoot);
  tables.attach(DEVICE, DOMAIN);
  return { tables, iommu, counters, log };
}

function latencyNs(iommu: Iommu, page: number, atNs: number, write = false): number {
  iommu.translate(DEVICE, page, write, 1, nanoseconds(atNs));
  return (iommu.readyAt - nanoseconds(atNs)) / 1000;
}

function invalidate(iommu: Iommu, low: number, address: number, rest: number): number {
  const descriptor = new Uint32Array([(low | (DOMAIN << 16)) >>> 0, 0, address + rest, 0]);
  return iommu.invalidationQueue.submit(descriptor, 1, picoseconds(0));
}

describe('time of a translation', () => {
  test('a miss with the leaf table known costs one read: 2 + 2 + 150 + 75 = 229 ns (fit of pcie-bench, Haswell 228)', () => {
    const { tables, iommu } = machine();
    tables.leaf(100, 0, 7, 3);
    tables.leaf(101, 0, 8, 3);
    latencyNs(iommu, 100, 0);
    expect(latencyNs(iommu, 101, 10_000)).toBe(229);
    expect(latencyNs(iommu, 101, 20_000)).toBe(2);
  });

  test('a cold walk reads the context and all four levels', () => {
    const { tables, iommu, counters } = machine();
    tables.leaf(100, 0, 7, 3);
    expect(latencyNs(iommu, 100, 0)).toBe(2 * 75 + 2 + 2 + 150 + 4 * 75);
    expect(counters.get('tableReads')).toBe(6);
    expect(counters.get('contextCacheMisses')).toBe(1);
  });

  test('a lookup of a page whose walk is under way waits for that walk and reads nothing', () => {
    const { tables, iommu, counters } = machine();
    tables.leaf(100, 0, 7, 3);
    latencyNs(iommu, 100, 0);
    const end = iommu.readyAt;
    const reads = counters.get('tableReads');
    iommu.translate(DEVICE, 100, false, 4, nanoseconds(50));
    expect(iommu.readyAt).toBe(end);
    expect(counters.get('iotlbMissesMerged')).toBe(1);
    expect(counters.get('iotlbHits4K')).toBe(3);
    expect(counters.get('tableReads')).toBe(reads);
  });

  test('a walk that begins at a table which another one is about to read of waits for that read', () => {
    const { tables, iommu } = machine();
    for (const page of [100, 101, 102, 700]) tables.leaf(page, 0, 7 + page, 3);
    const cold = 2 * 75 + 2 + 2 + 150 + 4 * 75;
    // pages 100 to 102 share the leaf table, 700 the table above it: the last reads of all four go side by side
    expect([100, 101, 700].map((page) => latencyNs(iommu, page, 0))).toEqual([cold, cold, cold]);
    // the leaf table is known after 529 ns, and this walk is ready to read it after 554
    expect(latencyNs(iommu, 102, 400)).toBe(229);
  });

  test('an access waits for the entry of its device that is on its way', () => {
    const { tables, iommu } = machine();
    tables.leaf(100, 0, 7, 1);
    latencyNs(iommu, 100, 0, true);
    iommu.iotlb.invalidateAll();
    expect(iommu.contextCache.readyAtOf(DEVICE, -1)).toBe(nanoseconds(150));
    expect(iommu.contextCache.readyAtOf(DEVICE + 1, -1)).toBe(-1);
    iommu.pagingCache.invalidateAll();
    expect(latencyNs(iommu, 100, 100)).toBe(50 + 2 + 2 + 150 + 4 * 75);
  });

  test('walks run in parallel up to the number of walkers; the next one waits', () => {
    const { tables, iommu } = machine(2);
    for (let page = 0; page < 4; page += 1) tables.leaf(page, 0, 7 + page, 3);
    latencyNs(iommu, 0, 0);
    expect([1, 2, 3].map((page) => latencyNs(iommu, page, 10_000))).toEqual([229, 229, 229 + 225]);
  });

  test('hits, misses, merged and refused lookups add up to the lookups', () => {
    const { tables, iommu, counters } = machine();
    for (let page = 0; page < 300; page += 2) tables.leaf(page, 0, 7 + page, page % 4 === 0 ? 3 : 1);
    for (let step = 0; step < 5000; step += 1) {
      iommu.translate(DEVICE, (step * 37) % 300, step % 3 === 0, 1 + (step % 4), nanoseconds(step * 20));
    }
    const parts = ['iotlbHits4K', 'iotlbMisses4K', 'iotlbMissesMerged', 'iotlbMissesFaulted'] as const;
    expect(parts.reduce((sum, name) => sum + counters.get(name), 0)).toBe(counters.get('iotlbLookups'));
    expect(counters.get('iotlbMissesFaulted')).toBeGreaterThan(0);
  });
});

describe('stale translations (a device may use what the IOTLB still holds)', () => {
  test('a cleared entry is still used until its page is invalidated', () => {
    const { tables, iommu } = machine();
    tables.leaf(100, 0, 7, 3);
    expect(iommu.translate(DEVICE, 100, true, 1, picoseconds(0))).toBe(true);
    tables.clear(100);
    expect(iommu.translate(DEVICE, 100, true, 1, nanoseconds(5_000))).toBe(true);
    invalidate(iommu, PAGE_SELECTIVE, 100 * 4096, HINT);
    expect(iommu.translate(DEVICE, 100, true, 1, nanoseconds(9_000))).toBe(false);
  });

  test('what a device does with a page that software took back, or mapped anew, is counted access by access', () => {
    const { tables, iommu, counters } = machine();
    tables.leaf(100, 0, 7, 3);
    iommu.translate(DEVICE, 100, true, 4, picoseconds(0));
    iommu.translate(DEVICE, 100, true, 4, nanoseconds(5_000));
    expect(counters.get('staleWindowAccesses')).toBe(0);
    tables.clear(100);
    iommu.translate(DEVICE, 100, true, 4, nanoseconds(6_000));
    expect(counters.get('staleWindowAccesses')).toBe(4);
    tables.leaf(100, 0, 9, 3);
    iommu.translate(DEVICE, 100, true, 1, nanoseconds(7_000));
    expect([iommu.physPage, counters.get('staleWindowAccesses')]).toEqual([7, 5]);
    invalidate(iommu, PAGE_SELECTIVE, 100 * 4096, HINT);
    iommu.translate(DEVICE, 100, true, 1, nanoseconds(9_000));
    expect([iommu.physPage, counters.get('staleWindowAccesses')]).toEqual([9, 5]);
  });

  test('a large page that is still mapped is no stale one', () => {
    const { tables, iommu, counters } = machine();
    tables.leaf(512, 1, 1024, 3);
    for (let page = 512; page < 1024; page += 1) iommu.translate(DEVICE, page, true, 1, nanoseconds(page * 1000));
    expect(counters.get('iotlbHits2M')).toBe(511);
    expect(counters.get('staleWindowAccesses')).toBe(0);
  });

  test('the hint keeps paging-structure caches; without it those of the range go (VT-d 6.5.2.3, IH)', () => {
    const { tables, iommu, counters } = machine();
    tables.leaf(100, 0, 7, 3);
    latencyNs(iommu, 100, 0);
    const readsOfNextWalk = (low: number, rest: number): number => {
      invalidate(iommu, low, 100 * 4096, rest);
      const before = counters.get('tableReads');
      latencyNs(iommu, 100, 50_000);
      return counters.get('tableReads') - before;
    };
    expect(readsOfNextWalk(PAGE_SELECTIVE, HINT)).toBe(1);
    expect(readsOfNextWalk(PAGE_SELECTIVE, 0)).toBe(4);
    expect(readsOfNextWalk(DOMAIN_SELECTIVE, 0)).toBe(4);
    expect(readsOfNextWalk(GLOBAL, 0)).toBe(4);
    expect(counters.get('invalidationsPage')).toBe(2);
    expect(counters.get('invalidationsDomain')).toBe(1);
    expect(counters.get('invalidationsGlobal')).toBe(1);
  });

  test('the address mask names 2^AM aligned pages', () => {
    const { tables, iommu } = machine();
    for (let page = 96; page < 112; page += 1) {
      tables.leaf(page, 0, page, 3);
      iommu.translate(DEVICE, page, false, 1, picoseconds(0));
    }
    invalidate(iommu, PAGE_SELECTIVE, 101 * 4096, HINT | 2);
    const kept = Array.from({ length: 16 }, (_, index) => iommu.iotlb.find(DOMAIN, 96 + index));
    expect(kept.map((hit) => (hit ? 1 : 0)).join('')).toBe('1111000011111111');
  });
});

describe('the invalidation queue', () => {
  test('a submission costs the wait, more for further descriptors, and other CPUs queue behind it', () => {
    const { iommu } = machine();
    const two = new Uint32Array([PAGE_SELECTIVE, 0, 0, 0, PAGE_SELECTIVE, 0, 4096, 0]);
    expect(iommu.invalidationQueue.submit(two, 2, nanoseconds(100))).toBe(nanoseconds(100 + 900 + 60));
    expect(iommu.invalidationQueue.submit(two, 1, nanoseconds(100))).toBe(nanoseconds(100 + 700 + 900));
  });

  test('the ring wraps: every slot is used and every wait is answered', () => {
    const { iommu, tables, counters } = machine();
    for (let round = 0; round < 300; round += 1) invalidate(iommu, PAGE_SELECTIVE, 4096 * round, HINT);
    expect(counters.get('invalidationWaits')).toBe(300);
    const types = new Set(
      Array.from({ length: 256 }, (_, slot) => tables.memory.readWord(iommu.invalidationQueue.ringPage, slot * 4) & 15),
    );
    expect([...types].sort()).toEqual([2, 5]);
  });

  test('a submission longer than the ring is taken in as the hardware makes room', () => {
    const { tables, iommu, counters } = machine();
    for (let page = 0; page < 64; page += 1) {
      tables.leaf(page, 0, page, 3);
      iommu.translate(DEVICE, page, false, 1, picoseconds(0));
    }
    const words = Array.from({ length: 600 }, (_, index) => [
      (PAGE_SELECTIVE | (DOMAIN << 16)) >>> 0,
      0,
      4096 * (index % 64) + HINT,
      0,
    ]);
    iommu.invalidationQueue.submit(new Uint32Array(words.flat()), 600, picoseconds(0));
    expect(counters.get('invalidationsPage')).toBe(600);
    expect(iommu.iotlb.occupancy()).toEqual([0, 0, 0]);
  });

  test('context entries are cached until the context cache is invalidated (VT-d 6.5.2.1)', () => {
    const { tables, iommu } = machine();
    tables.leaf(100, 0, 7, 3);
    iommu.translate(DEVICE, 100, false, 1, picoseconds(0));
    writeContextEntry(tables.memory, tables.frames, tables.deviceRoot, DEVICE, { domainId: 1, passthrough: true });
    iommu.translate(DEVICE, 100, false, 1, picoseconds(0));
    expect(iommu.physPage).toBe(7);
    const deviceSelective = new Uint32Array([0x31 | (DOMAIN << 16), DEVICE, 0, 0]);
    iommu.invalidationQueue.submit(deviceSelective, 1, picoseconds(0));
    iommu.translate(DEVICE, 100, false, 1, picoseconds(0));
    expect(iommu.physPage).toBe(100);
  });
});

describe('faults', () => {
  test('a device without a context entry is refused, and the log names it as lspci does', () => {
    const { iommu, log, counters } = machine();
    expect(iommu.translate(0x20, 5, false, 1, picoseconds(0))).toBe(false);
    expect(counters.get('faults')).toBe(1);
    expect(log.entries()[0]?.message).toBe(
      'DMA read by 00:04.0 at 0x5000 refused, reason 0x02: the device has no context entry',
    );
  });

  test('a write to a page mapped for reading is refused on a hit and on a miss (reasons 5 and 6)', () => {
    const { tables, iommu, log } = machine();
    tables.leaf(100, 0, 7, 1);
    tables.leaf(101, 0, 7, 2);
    expect(iommu.translate(DEVICE, 100, true, 1, picoseconds(0))).toBe(false);
    expect(iommu.translate(DEVICE, 100, false, 1, picoseconds(0))).toBe(true);
    expect(iommu.translate(DEVICE, 100, true, 1, picoseconds(0))).toBe(false);
    expect(iommu.translate(DEVICE, 101, false, 1, picoseconds(0))).toBe(false);
    expect(log.entries().map((entry) => /reason 0x0(.)/.exec(entry.message)?.[1])).toEqual(['5', '5', '6']);
  });

  test('reserved bits are refused: a leaf above 1 GiB, or a large leaf at an unaligned address (reason 12)', () => {
    const { tables, iommu, log } = machine();
    tables.leaf(512 ** 3, 3, 0, 3);
    tables.leaf(512, 1, 1025, 3);
    expect(iommu.translate(DEVICE, 512 ** 3, false, 1, picoseconds(0))).toBe(false);
    expect(iommu.translate(DEVICE, 512, false, 1, picoseconds(0))).toBe(false);
    expect(log.entries().map((entry) => /reason 0x(..)/.exec(entry.message)?.[1])).toEqual(['0c', '0c']);
  });

  test('a device that faults on every access fills neither log nor memory', () => {
    const { iommu, log, counters } = machine();
    for (let page = 0; page < 1000; page += 1) iommu.translate(DEVICE, page, false, 1, picoseconds(0));
    expect(counters.get('faults')).toBe(1000);
    expect(log.entries()).toHaveLength(33);
  });
});
