/**
 * The emulated IOMMU's own caches under the commands of Arm and RISC-V, against a list of tagged entries: after a command of any
 * granularity nothing that it covers is hit (SMMUv3 specification IHI 0070, 4.4; RISC-V IOMMU specification 1.0, 4.1.1).
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { EVERY_SPACE, HostCaches, NO_GUEST } from './cacheInvalidation.ts';
import { ContextCache } from './caches/contextCache.ts';
import { Iotlb } from './caches/iotlb.ts';
import { PagingStructureCache } from './caches/pagingStructureCache.ts';
import { TaggedCache } from './testTaggedCache.ts';

const MOST_PAGES = 4 * 512;
const SPACES = 3;

function caches() {
  const iotlb = new Iotlb({ entries4K: 4096, entries2M: 64, entries1G: 8, ways: 4096 });
  const pagingCache = new PagingStructureCache({ entries512G: 16, entries1G: 16, entries2M: 64 });
  return { iotlb, pagingCache, contextCache: new ContextCache(8), emptiesSets: false };
}

const space = fc.nat({ max: SPACES - 1 });
const page = fc.nat({ max: MOST_PAGES - 1 });
const command = fc.oneof(
  fc.record({ kind: fc.constant('all' as const) }),
  fc.record({
    kind: fc.constant('space' as const),
    guest: fc.nat({ max: 1 }),
    space: fc.integer({ min: EVERY_SPACE, max: 2 }),
  }),
  fc.record({
    kind: fc.constant('range' as const),
    guest: fc.nat({ max: 1 }),
    space: fc.integer({ min: EVERY_SPACE, max: 2 }),
    first: page,
    pages: fc.integer({ min: 1, max: 1200 }),
    leafOnly: fc.boolean(),
  }),
);

test('what a command covers is hit no more, neither a translation nor a pointer to a table; what it does not is there', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(space, page), { minLength: 1, maxLength: 60 }),
      fc.array(fc.tuple(space, fc.nat({ max: 3 })), { maxLength: 8 }),
      fc.array(command, { minLength: 1, maxLength: 3 }),
      (leaves, tables, commands) => {
        const real = caches();
        const host = new HostCaches(real);
        const model = new TaggedCache();
        for (const [tag, iova] of leaves) {
          real.iotlb.fill(tag, iova, 0, iova + 5000, 3, -1, 0);
          model.entries.push({ guest: NO_GUEST, space: tag, page: iova, table: false });
        }
        for (const [tag, table] of tables) real.pagingCache.fill(tag, table * 512, 0, table + 9000, 3);
        let kept = tables;
        for (const one of commands) {
          if (one.kind === 'all') {
            for (const each of [host, model]) each.dropAll();
            kept = [];
          } else if (one.kind === 'space') {
            for (const each of [host, model]) each.dropSpace(one.guest, one.space);
            if (one.guest === NO_GUEST) kept = kept.filter(([tag]) => one.space >= 0 && tag !== one.space);
          } else {
            const last = one.first + one.pages - 1;
            for (const each of [host, model]) each.dropRange(one.guest, one.space, one.first, last, one.leafOnly);
            if (one.guest === NO_GUEST && !one.leafOnly) {
              kept = kept.filter(([tag, table]) => {
                const touched = table * 512 <= last && table * 512 + 511 >= one.first;
                return !touched || (one.space >= 0 && tag !== one.space);
              });
            }
          }
        }
        for (const [tag, iova] of leaves) {
          const left = model.entries.some((entry) => entry.space === tag && entry.page === iova);
          expect(real.iotlb.find(tag, iova)).toBe(left);
        }
        for (const [tag, table] of tables) {
          const left = kept.some(([keptTag, keptTable]) => keptTag === tag && keptTable === table);
          expect(real.pagingCache.find(tag, table * 512 + 77)).toBe(left);
        }
      },
    ),
    { seed: 6, numRuns: 300 },
  );
});

test('what was read of devices goes by device, range and all', () => {
  const { contextCache, ...others } = caches();
  const host = new HostCaches({ contextCache, ...others });
  const context = {
    lookupReads: 1,
    domainId: 1,
    passthrough: false,
    tablePage: 5,
    levels: 4,
    fault: 0,
    read: () => true,
  };
  const held = (drop: () => void): number[] => {
    for (const source of [6, 7, 8, 9]) contextCache.fill(source, context);
    drop();
    return [6, 7, 8, 9].filter((source) => contextCache.holds(source));
  };
  expect(
    held(() => {
      host.dropDevices(7, 2);
    }),
  ).toEqual([6, 9]);
  expect(
    held(() => {
      host.dropDevices(0, 2 ** 31);
    }),
  ).toEqual([]);
  expect(
    held(() => {
      host.dropAllDevices();
    }),
  ).toEqual([]);
});
