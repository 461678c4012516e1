import fc from 'fast-check';
import { expect, test } from 'vitest';
import { EVERY_SPACE } from './owner.ts';
import { PagingStructureCache } from './pagingStructureCache.ts';

const SPANS = [512, 512 ** 2, 512 ** 3] as const;

test('the longest prefix wins, the least recently used goes, as in a naive model (VT-d 6.2.5)', () => {
  const action = fc.record({
    kind: fc.constantFrom('fill', 'fill', 'find', 'find', 'range', 'domain'),
    domain: fc.integer({ min: 1, max: 2 }),
    page: fc.constantFrom(0, 5, 512, 700, 512 * 4, 512 ** 2, 512 ** 2 * 3 + 9, 512 ** 3, 512 ** 3 * 2 + 1),
    level: fc.constantFrom(0, 1, 2),
  });
  fc.assert(
    fc.property(fc.array(action, { maxLength: 120 }), (actions) => {
      const cache = new PagingStructureCache({ entries2M: 3, entries1G: 2, entries512G: 1 });
      const capacity = [3, 2, 1];
      const naive: { domain: number; prefix: number; table: number }[][] = [[], [], []];
      let next = 100;
      for (const { kind, domain, page, level } of actions) {
        if (kind === 'fill') {
          next += 1;
          cache.fill(domain, page, level, next, 3);
          const entries = naive[level]!;
          const prefix = Math.floor(page / SPANS[level]);
          const known = entries.findIndex((entry) => entry.domain === domain && entry.prefix === prefix);
          if (known >= 0) entries.splice(known, 1);
          else if (entries.length === capacity[level]) entries.shift();
          entries.push({ domain, prefix, table: next });
        } else if (kind === 'find') {
          const hit = SPANS.findIndex((span, at) =>
            naive[at]!.some((entry) => entry.domain === domain && entry.prefix === Math.floor(page / span)),
          );
          expect(cache.find(domain, page)).toBe(hit >= 0);
          if (hit >= 0) {
            const entries = naive[hit]!;
            const index = entries.findIndex(
              (entry) => entry.domain === domain && entry.prefix === Math.floor(page / SPANS[hit]!),
            );
            entries.push(...entries.splice(index, 1));
            expect([cache.level, cache.table]).toEqual([hit, entries.at(-1)!.table]);
          }
        } else {
          const last = kind === 'range' ? page : Infinity;
          const first = kind === 'range' ? page : 0;
          if (kind === 'range') cache.invalidateRange(domain, EVERY_SPACE, first, last);
          else cache.invalidateDomain(domain);
          naive.forEach((entries, at) => {
            const span = SPANS[at]!;
            const kept = entries.filter(
              (entry) => entry.domain !== domain || entry.prefix * span > last || (entry.prefix + 1) * span <= first,
            );
            entries.splice(0, entries.length, ...kept);
          });
        }
      }
    }),
  );
});

test('a cache of no entries never hits', () => {
  const cache = new PagingStructureCache({ entries2M: 0, entries1G: 0, entries512G: 0 });
  cache.fill(1, 5, 0, 9, 3);
  expect(cache.find(1, 5)).toBe(false);
});
