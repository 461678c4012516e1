import fc from 'fast-check';
import { expect, test } from 'vitest';
import { AssociativeArray, NO_ENTRY } from './associativeArray.ts';
import { Iotlb } from './iotlb.ts';

const ENTRIES = 64;
const WAYS = 4;
const SETS = ENTRIES / WAYS;

test('an emptied set holds nothing, whoever filled it, and all others hold what they held', () => {
  const tag = fc.integer({ min: 0, max: 200 });
  fc.assert(
    fc.property(fc.array(tag, { maxLength: 80 }), tag, fc.integer({ min: 0, max: 30 }), (fills, first, more) => {
      const array = new AssociativeArray(ENTRIES, WAYS);
      for (const one of fills) array.fill(one % 3, one);
      const heldBefore = fills.filter((one) => array.find(one % 3, one) !== NO_ENTRY);
      array.emptySets(first, first + more);
      const emptied = new Set(Array.from({ length: more + 1 }, (_, index) => (first + index) % SETS));
      const held = new Set(heldBefore.filter((one) => !emptied.has(one % SETS)));
      for (const one of fills) expect(array.find(one % 3, one) !== NO_ENTRY).toBe(held.has(one));
      expect(array.count).toBe(held.size);
    }),
    { numRuns: 300, seed: 6 },
  );
});

test('an IOTLB empties the sets of a page for every size of page', () => {
  const iotlb = new Iotlb({ entries4K: ENTRIES, entries2M: 8, entries1G: 4, ways: WAYS });
  const neighbour = 5 + SETS;
  iotlb.fill(1, neighbour, 0, 100, 3, 0, 0);
  iotlb.fill(1, 6, 0, 101, 3, 0, 0);
  iotlb.fill(2, 2 * 512, 1, 512, 3, 0, 0);
  iotlb.emptySets(5, 5);
  expect(iotlb.find(1, neighbour)).toBe(false);
  expect(iotlb.find(1, 6)).toBe(true);
  // 8 entries in 4 ways: page 5 lies in the first of two sets, as 2-MiB page 2 does
  expect(iotlb.find(2, 2 * 512)).toBe(false);
});
