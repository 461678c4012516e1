import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Iotlb } from './iotlb.ts';
import { EVERY_SPACE, NO_SPACE, ownerOf } from './owner.ts';

interface Entry {
  domain: number;
  page: number;
  phys: number;
}

/** What an IOTLB of one page size is: per set, a list in the order of use. */
class NaiveIotlb {
  readonly sets: Entry[][];
  readonly ways: number;

  constructor(entries: number, ways: number) {
    this.ways = Math.min(entries, ways);
    this.sets = Array.from({ length: entries / this.ways }, () => []);
  }

  find(domain: number, page: number): number | undefined {
    const set = this.sets[page % this.sets.length]!;
    const index = set.findIndex((entry) => entry.domain === domain && entry.page === page);
    if (index < 0) return undefined;
    set.push(...set.splice(index, 1));
    return set.at(-1)!.phys;
  }

  fill(domain: number, page: number, phys: number): void {
    const set = this.sets[page % this.sets.length]!;
    const index = set.findIndex((entry) => entry.domain === domain && entry.page === page);
    if (index >= 0) set.splice(index, 1);
    else if (set.length === this.ways) set.shift();
    set.push({ domain, page, phys });
  }

  drop(matches: (entry: Entry) => boolean): void {
    for (const set of this.sets) set.splice(0, set.length, ...set.filter((entry) => !matches(entry)));
  }
}

test('hits, replacement and invalidation agree with a naive model (VT-d 6.2.4)', () => {
  const action = fc.record({
    kind: fc.constantFrom('access', 'access', 'access', 'access', 'range', 'domain', 'all'),
    domain: fc.integer({ min: 1, max: 3 }),
    page: fc.nat(40),
    length: fc.nat(9),
  });
  const geometry = fc.constantFrom([16, 4], [8, 8], [4, 16], [32, 2], [12, 4]);
  fc.assert(
    fc.property(geometry, fc.array(action, { maxLength: 200 }), ([entries, ways], actions) => {
      const iotlb = new Iotlb({ entries4K: entries, entries2M: 4, entries1G: 4, ways: ways });
      const naive = new NaiveIotlb(entries, ways);
      let next = 1000;
      for (const { kind, domain, page, length } of actions) {
        if (kind === 'access') {
          const expected = naive.find(domain, page);
          expect(iotlb.find(domain, page)).toBe(expected !== undefined);
          if (expected !== undefined) {
            expect(iotlb.physPage).toBe(expected);
          } else {
            next += 1;
            iotlb.fill(domain, page, 0, next, 3, 0, 0);
            naive.fill(domain, page, next);
          }
        } else if (kind === 'range') {
          iotlb.invalidateRange(domain, EVERY_SPACE, page, page + length);
          naive.drop((entry) => entry.domain === domain && entry.page >= page && entry.page <= page + length);
        } else if (kind === 'domain') {
          iotlb.invalidateDomain(domain);
          naive.drop((entry) => entry.domain === domain);
        } else {
          iotlb.invalidateAll();
          naive.drop(() => true);
        }
        expect(iotlb.occupancy()[0]).toBe(naive.sets.reduce((sum, set) => sum + set.length, 0));
      }
    }),
  );
});

test('a large page serves every page inside it, and goes when any of them is invalidated', () => {
  const iotlb = new Iotlb({ entries4K: 8, entries2M: 4, entries1G: 2, ways: 4 });
  iotlb.fill(1, 512 * 3 + 5, 1, 512 * 8, 3, 0, 0);
  expect(iotlb.find(1, 512 * 3 + 511)).toBe(true);
  expect([iotlb.level, iotlb.physPage]).toEqual([1, 512 * 8 + 511]);
  iotlb.invalidateRange(2, EVERY_SPACE, 0, 1e9);
  expect(iotlb.find(1, 512 * 3)).toBe(true);
  iotlb.invalidateRange(1, NO_SPACE, 512 * 3 + 100, 512 * 3 + 100);
  expect(iotlb.find(1, 512 * 3)).toBe(false);
});

test('pages of all sizes share the entries where the geometry says so', () => {
  const iotlb = new Iotlb({ entries4K: 4, entries2M: 0, entries1G: 0, ways: 4, unified: true });
  iotlb.fill(7, 5, 0, 100, 3, 0, 0);
  iotlb.fill(7, 512 * 3, 1, 1024, 3, 0, 0);
  iotlb.fill(7, 512 * 512 * 2, 2, 2 ** 18, 1, 0, 0);
  iotlb.fill(8, 5, 0, 200, 3, 0, 0);
  expect(iotlb.occupancy()).toEqual([4]);
  expect([iotlb.find(7, 512 * 3 + 9), iotlb.level, iotlb.physPage]).toEqual([true, 1, 1033]);
  expect([iotlb.find(7, 512 * 512 * 2 + 600), iotlb.level, iotlb.physPage]).toEqual([true, 2, 2 ** 18 + 600]);
  expect([iotlb.find(8, 5), iotlb.physPage]).toEqual([true, 200]);
  // the oldest gives way, whatever its size
  iotlb.fill(7, 6, 0, 300, 3, 0, 0);
  expect(iotlb.find(7, 5)).toBe(false);
  expect(iotlb.occupancy()).toEqual([4]);
  const [look, ...others] = iotlb.look();
  expect(others).toEqual([]);
  expect([...look!.pages].sort((left, right) => left - right)).toEqual([1, 1, 512, 512 * 512]);
  expect([...look!.domains].sort()).toEqual([7, 7, 7, 8]);
  expect([...look!.firstPages].sort((left, right) => left - right)).toEqual([5, 6, 512 * 3, 512 * 512 * 2]);
  iotlb.invalidateRange(7, NO_SPACE, 512 * 3 + 511, 512 * 3 + 511);
  expect(iotlb.find(7, 512 * 3)).toBe(false);
  iotlb.invalidateDomain(7);
  expect(iotlb.occupancy()).toEqual([1]);
  iotlb.invalidateAll();
  expect(iotlb.occupancy()).toEqual([0]);
});

test('an address space of a domain is invalidated alone, with its domain, or in any domain; sizes apart or together', () => {
  const owners = [1, 2].flatMap((domain) => [NO_SPACE, 0, 5].map((space) => ({ domain, space })));
  const command = fc.record({
    domain: fc.constantFrom(1, 2),
    space: fc.constantFrom(EVERY_SPACE, NO_SPACE, 0, 5),
    first: fc.nat(1500),
    pages: fc.integer({ min: 1, max: 700 }),
    spacesOnly: fc.boolean(),
  });
  const leaf = fc.record({ owner: fc.nat(owners.length - 1), page: fc.nat(1500), level: fc.constantFrom(0, 0, 1) });
  fc.assert(
    fc.property(fc.boolean(), fc.array(leaf, { maxLength: 40 }), command, (unified, leaves, asked) => {
      const iotlb = new Iotlb({ entries4K: 64, entries2M: 64, entries1G: 1, ways: 64, unified });
      for (const { owner, page, level } of leaves) {
        iotlb.fill(ownerOf(owners[owner]!.domain, owners[owner]!.space), page, level, 0, 3, -1, 0);
      }
      const last = asked.first + asked.pages - 1;
      if (asked.spacesOnly) iotlb.invalidateSpaces(asked.domain);
      else iotlb.invalidateRange(asked.domain, asked.space, asked.first, last);
      for (const { owner, page, level } of leaves) {
        const { domain, space } = owners[owner]!;
        const gone = ({ first, end }: { first: number; end: number }): boolean => {
          if (domain !== asked.domain) return false;
          if (asked.spacesOnly) return space !== NO_SPACE;
          return (asked.space === EVERY_SPACE || asked.space === space) && first <= last && end >= asked.first;
        };
        const covering = leaves.filter(
          (other) =>
            other.owner === owner &&
            (other.level === 0 ? other.page === page : Math.floor(other.page / 512) === Math.floor(page / 512)),
        );
        const held = covering.some((other) => {
          const start = other.level === 0 ? other.page : other.page - (other.page % 512);
          return !gone({ first: start, end: start + (other.level === 0 ? 0 : 511) });
        });
        expect([level, iotlb.find(ownerOf(domain, space), page)]).toEqual([level, held]);
      }
    }),
    { seed: 3, numRuns: 400 },
  );
});
