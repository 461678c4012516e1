/**
 * The emulated IOMMU's own caches under the commands of Arm and RISC-V, against a list of tagged entries: after a command of any
 * granularity nothing that it covers is hit (SMMUv3 specification IHI 0070, 4.4; RISC-V IOMMU specification 1.0, 4.1.1).
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { NO_PASID } from '../pcie/translator.ts';
import { HostCaches } from './cacheInvalidation.ts';
import { NO_DEVICES } from './ats/deviceTlbs.ts';
import { ContextCache } from './caches/contextCache.ts';
import { Iotlb } from './caches/iotlb.ts';
import { EVERY_SPACE, NO_SPACE, ownerOf } from './caches/owner.ts';
import { PagingStructureCache } from './caches/pagingStructureCache.ts';
import { contextOf } from './testContext.ts';
import { TaggedCache } from './testTaggedCache.ts';

const MOST_PAGES = 4 * 512;
const MOST_SPACE = 2;

function caches() {
  const iotlb = new Iotlb({ entries4K: 4096, entries2M: 64, entries1G: 8, ways: 4096 });
  const pagingCache = new PagingStructureCache({ entries512G: 16, entries1G: 16, entries2M: 64 });
  return { iotlb, pagingCache, contextCache: new ContextCache(8), emptiesSets: false, deviceTlbs: NO_DEVICES };
}

const tags = fc.record({ guest: fc.nat({ max: 1 }), space: fc.integer({ min: NO_SPACE, max: MOST_SPACE }) });
const page = fc.nat({ max: MOST_PAGES - 1 });
const command = fc.oneof(
  fc.record({ kind: fc.constant('all' as const) }),
  fc.record({
    kind: fc.constant('space' as const),
    guest: fc.nat({ max: 1 }),
    space: fc.integer({ min: EVERY_SPACE, max: MOST_SPACE }),
  }),
  fc.record({
    kind: fc.constant('range' as const),
    guest: fc.nat({ max: 1 }),
    space: fc.integer({ min: EVERY_SPACE, max: MOST_SPACE }),
    first: page,
    pages: fc.integer({ min: 1, max: 1200 }),
    leafOnly: fc.boolean(),
  }),
);

test('what a command covers is hit no more, neither a translation nor a pointer to a table; what it does not is there', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(tags, page), { minLength: 1, maxLength: 60 }),
      fc.array(fc.tuple(tags, fc.nat({ max: 3 })), { maxLength: 8 }),
      fc.array(command, { minLength: 1, maxLength: 3 }),
      (leaves, tables, commands) => {
        const real = caches();
        const host = new HostCaches(real);
        const model = new TaggedCache();
        for (const [{ guest, space }, iova] of leaves) {
          real.iotlb.fill(ownerOf(guest, space), iova, 0, iova + 5000, 3, -1, 0);
          model.entries.push({ guest, space, page: iova, table: false });
        }
        for (const [{ guest, space }, table] of tables) {
          real.pagingCache.fill(ownerOf(guest, space), table * 512, 0, table + 9000, 3);
        }
        let kept = tables;
        for (const one of commands) {
          if (one.kind === 'all') {
            for (const each of [host, model]) each.dropAll();
            kept = [];
            continue;
          }
          const ranged = one.kind === 'range';
          const first = ranged ? one.first : 0;
          const last = ranged ? one.first + one.pages - 1 : Infinity;
          const leafOnly = ranged && one.leafOnly;
          for (const each of [host, model]) {
            if (ranged) each.dropRange(one.guest, one.space, first, last, leafOnly);
            else each.dropSpace(one.guest, one.space);
          }
          kept = kept.filter(([{ guest, space }, table]) => {
            const named = guest === one.guest && (one.space === EVERY_SPACE || space === one.space);
            return leafOnly || !named || table * 512 > last || table * 512 + 511 < first;
          });
        }
        for (const [{ guest, space }, iova] of leaves) {
          const left = model.entries.some(
            (entry) => entry.guest === guest && entry.space === space && entry.page === iova,
          );
          expect(real.iotlb.find(ownerOf(guest, space), iova)).toBe(left);
        }
        for (const [tag, table] of tables) {
          const left = kept.some(([one, at]) => one.guest === tag.guest && one.space === tag.space && at === table);
          expect(real.pagingCache.find(ownerOf(tag.guest, tag.space), table * 512 + 77)).toBe(left);
        }
      },
    ),
    { seed: 6, numRuns: 300 },
  );
});

test('what was read of devices goes by device, range and all', () => {
  const { contextCache, ...others } = caches();
  const host = new HostCaches({ contextCache, ...others });
  const context = contextOf({ domainId: 1, tablePage: 5, levels: 4 });
  const held = (drop: () => void): number[] => {
    for (const source of [6, 7, 8, 9]) contextCache.fill(source, NO_PASID, context);
    drop();
    return [6, 7, 8, 9].filter((source) => contextCache.holds(source, NO_PASID));
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
