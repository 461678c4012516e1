/**
 * How long translations take while others are under way, against a queue of servers written from the description: each of the walkers
 * serves one walk at a time in the order in which they begin, a lookup of a page whose walk is under way waits for that walk, and one that
 * begins at a table of which another walk is about to read waits for that read.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Counters } from '../metrics/counters.ts';
import { nanoseconds } from '../time/picoseconds.ts';
import { NO_SPACE } from './caches/owner.ts';
import { FREE_IOMMU_COSTS } from './freeCosts.ts';
import { Iommu } from './iommu.ts';
import { TestTables } from './tables/testTables.ts';

const DEVICE = 0x18;
const DOMAIN = 3;
const NS = { hit: 3, prefix: 2, overhead: 150, read: 75 };
const LEVELS = 4;
/** Side by side in one leaf table, and under other tables of every level. */
const ADDRESSES = [
  0,
  1,
  2,
  511,
  512,
  513,
  512 * 7,
  512 ** 2,
  512 ** 2 + 1,
  512 ** 2 * 5 + 512,
  512 ** 3,
  512 ** 3 * 2 + 9,
] as const;
const SPANS = [512, 512 ** 2, 512 ** 3] as const;

/** Moments in ns: when each walker is done, and until when each page is on its way into the IOTLB. */
class NaiveWalkers {
  walks = 0;
  merged = 0;
  waited = 0;
  private readonly doneAt: number[];
  private readonly pages = new Map<number, number>();
  /** By the level of the table that it names, and by what it spans: when a prefix is known. */
  private readonly prefixes = SPANS.map(() => new Map<number, number>());
  private readonly keepsPrefixes: boolean;

  constructor(walkers: number, keepsPrefixes: boolean) {
    this.doneAt = Array.from({ length: walkers }, () => 0);
    this.keepsPrefixes = keepsPrefixes;
  }

  lookup(page: number, at: number): number {
    const looked = at + NS.hit;
    const known = this.pages.get(page);
    if (known !== undefined) {
      if (known > looked) this.merged += 1;
      return Math.max(looked, known);
    }
    this.doneAt.sort((left, right) => left - right);
    const begun = Math.max(looked + NS.prefix, this.doneAt[0]!);
    const longest = SPANS.findIndex((span, level) => this.prefixes[level]!.has(Math.floor(page / span)));
    const level = longest < 0 ? LEVELS - 1 : longest;
    let done = begun + NS.overhead;
    if (longest >= 0) {
      const knownAt = this.prefixes[longest]!.get(Math.floor(page / SPANS[longest]!))!;
      if (knownAt > done) this.waited += 1;
      done = Math.max(done, knownAt);
    }
    for (let table = level; table >= 0; table -= 1) {
      done += NS.read;
      if (this.keepsPrefixes && table > 0) this.prefixes[table - 1]!.set(Math.floor(page / SPANS[table - 1]!), done);
    }
    this.doneAt[0] = done;
    this.pages.set(page, done);
    this.walks += 1;
    return done;
  }

  drop(first: number, last: number): void {
    for (const page of [...this.pages.keys()]) if (page >= first && page <= last) this.pages.delete(page);
  }
}

function machine(walkers: number, prefixes = 0): { iommu: Iommu; counters: Counters } {
  const tables = new TestTables(LEVELS);
  const counters = new Counters();
  const iommu = new Iommu({
    name: 'iommu0',
    memory: tables.memory,
    frames: tables.frames,
    geometry: {
      iotlb: { entries4K: 64, entries2M: 4, entries1G: 4, ways: 64 },
      pagingCache: { entries512G: prefixes, entries1G: prefixes, entries2M: prefixes },
      contextCacheEntries: 2,
      walkers,
    },
    costs: {
      ...FREE_IOMMU_COSTS,
      iotlbHit: nanoseconds(NS.hit),
      pagingCacheLookup: nanoseconds(NS.prefix),
      walkOverhead: nanoseconds(NS.overhead),
      tableRead: nanoseconds(NS.read),
    },
    counters,
    log: null,
  });
  iommu.setRootTable(tables.deviceRoot);
  tables.attach(DEVICE, DOMAIN);
  for (const page of ADDRESSES) tables.leaf(page, 0, 100 + (page % 1000), 3);
  // the device's entry is read before the clock of the test begins
  iommu.translate(DEVICE, 3, false, 1, nanoseconds(0));
  iommu.pagingCache.invalidateAll();
  return { iommu, counters };
}

test('every lookup is answered when the naive walkers answer it, and as many walk and as many wait', () => {
  const action = fc.record({
    kind: fc.constantFrom('lookup', 'lookup', 'lookup', 'lookup', 'lookup', 'lookup', 'drop'),
    page: fc.constantFrom(...ADDRESSES),
    after: fc.constantFrom(0, 0, 1, 40, 200, 900),
  });
  let merged = 0;
  let waited = 0;
  const prefixes = fc.constantFrom(0, 16);
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 6 }),
      prefixes,
      fc.array(action, { maxLength: 80 }),
      (walkers, kept, actions) => {
        const { iommu, counters } = machine(walkers, kept);
        const naive = new NaiveWalkers(walkers, kept > 0);
        const before = counters.get('iotlbMissesMerged');
        let now = 100_000;
        for (const { kind, page, after } of actions) {
          now += after;
          if (kind === 'drop') {
            iommu.iotlb.invalidateRange(DOMAIN, NO_SPACE, page, page + 3);
            naive.drop(page, page + 3);
            continue;
          }
          expect(iommu.translate(DEVICE, page, false, 1, nanoseconds(now))).toBe(true);
          expect(iommu.readyAt).toBe(nanoseconds(naive.lookup(page, now)));
        }
        expect(counters.get('iotlbMisses4K')).toBe(naive.walks);
        expect(counters.get('iotlbMissesMerged') - before).toBe(naive.merged);
        merged += naive.merged;
        waited += naive.waited;
      },
    ),
    { seed: 9, numRuns: 400 },
  );
  expect(merged).toBeGreaterThan(50);
  expect(waited).toBeGreaterThan(50);
});

test('one walker serves its walks one after the other, six at once', () => {
  const walk = NS.hit + NS.prefix + NS.overhead + LEVELS * NS.read;
  for (const [walkers, last] of [
    [1, 5 + 6 * (walk - 5)],
    [2, 5 + 3 * (walk - 5)],
    [6, walk],
  ] as const) {
    const { iommu } = machine(walkers);
    for (const page of ADDRESSES.slice(0, 6)) iommu.translate(DEVICE, page, false, 1, nanoseconds(100_000));
    expect([walkers, iommu.readyAt]).toEqual([walkers, nanoseconds(100_000 + last)]);
  }
});
