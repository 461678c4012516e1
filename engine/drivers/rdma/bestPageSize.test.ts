/** `ib_umem_find_best_pgsz` against a search that tries every size on every page of memory. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { fillPageAddresses, findBestPageSize, pagesOfRange } from './bestPageSize.ts';

const PAGE = 4096;
const MIB = 2 ** 20;

interface Region {
  readonly ranges: { count: number; address: Float64Array; length: Float64Array };
  readonly iova: number;
  readonly offset: number;
  readonly length: number;
}

function regionOf(pieces: readonly [number, number][], iova: number, trim = 0): Region {
  const offset = iova % PAGE;
  const bytes = pieces.reduce((sum, [, length]) => sum + length, 0);
  return {
    ranges: {
      count: pieces.length,
      address: Float64Array.from(pieces, ([address]) => address),
      length: Float64Array.from(pieces, ([, length]) => length),
    },
    iova,
    offset,
    length: bytes - offset - trim,
  };
}

function best({ ranges, iova, offset, length }: Region, sizes: readonly number[]): number {
  return findBestPageSize(ranges, iova, offset, length, sizes);
}

/** The device address of every page of the region that holds any of its bytes. */
function pagesOf({ ranges }: Region): number[] {
  const pages: number[] = [];
  for (let index = 0; index < ranges.count; index += 1) {
    for (let done = 0; done < ranges.length[index]!; done += PAGE) pages.push(ranges.address[index]! + done);
  }
  return pages;
}

/** Whether a table of pages of `size` can name the memory: within each of them one base serves every byte. */
function serves(region: Region, size: number): boolean {
  const bases = new Map<number, number>();
  const start = region.iova - region.offset;
  for (const [index, address] of pagesOf(region).entries()) {
    const virtual = start + index * PAGE;
    const block = Math.floor(virtual / size);
    const base = address - (virtual % size);
    if (base % size !== 0) return false;
    if ((bases.get(block) ?? base) !== base) return false;
    bases.set(block, base);
  }
  return true;
}

/** Of all sizes that serve, the largest of which no smaller one names the region by one page. */
function naive(region: Region, sizes: readonly number[]): number {
  let found = 0;
  for (const size of sizes.toSorted((left, right) => left - right)) {
    if (!serves(region, size)) continue;
    found = size;
    const first = Math.floor(region.iova / size);
    if (first === Math.floor((region.iova + region.length - 1) / size)) break;
  }
  return found;
}

const piece = fc.record({
  /** Where it lies: aligned to some power of two of pages, then moved by some pages. */
  base: fc.integer({ min: 1, max: 40 }),
  align: fc.integer({ min: 0, max: 10 }),
  shift: fc.constantFrom(0, 0, 0, 1, 3),
  pages: fc.oneof(fc.integer({ min: 1, max: 8 }), fc.constantFrom(16, 64, 256, 512)),
  follows: fc.boolean(),
  far: fc.boolean(),
});

const regions = fc
  .record({
    pieces: fc.array(piece, { minLength: 1, maxLength: 6 }),
    page: fc.oneof(fc.integer({ min: 1, max: 2000 }), fc.constantFrom(512, 1024, 2 ** 20, 2 ** 24)),
    offset: fc.constantFrom(0, 0, 1, 512, 4095),
    trim: fc.constantFrom(0, 1, 511),
  })
  .filter(({ pieces, offset, trim }) => pieces.reduce((sum, { pages }) => sum + pages, 0) * PAGE > offset + trim)
  .map(({ pieces, page, offset, trim }) => {
    let end = 0;
    const placed = pieces.map(({ base, align, shift, pages, follows, far }): [number, number] => {
      const address = follows && end > 0 ? end : (base * 2 ** align + shift) * PAGE + (far ? 2 ** 44 : 0);
      end = address + pages * PAGE;
      return [address, pages * PAGE];
    });
    return regionOf(placed, page * PAGE + offset, trim);
  });

const supported = fc.uniqueArray(fc.integer({ min: 12, max: 34 }), { minLength: 1, maxLength: 12 });

describe('the best page size', () => {
  test('is what a search over all sizes finds', () => {
    let larger = 0;
    fc.assert(
      fc.property(regions, supported, (region, shifts) => {
        const sizes = shifts.map((shift) => 2 ** shift);
        const found = best(region, sizes);
        expect(found).toBe(naive(region, sizes));
        if (found > PAGE) larger += 1;
      }),
      { numRuns: 1500, seed: 15 },
    );
    expect(larger).toBeGreaterThan(200);
  });

  test('gives a table that names every byte', () => {
    fc.assert(
      fc.property(regions, supported, (region, shifts) => {
        const sizes = [PAGE, ...shifts.map((shift) => 2 ** shift)];
        const size = best(region, sizes);
        const { ranges, iova, offset, length } = region;
        const table = new Float64Array(pagesOfRange(iova, length, size));
        expect(fillPageAddresses(ranges, iova, offset, length, size, table)).toBe(table.length);
        const first = Math.floor(iova / size);
        const reached = (at: number): number => table[Math.floor((iova + at) / size) - first]! + ((iova + at) % size);
        const pages = pagesOf(region);
        for (let at = 0; at < length; at += PAGE - 1) {
          const inMemory = offset + at;
          expect(reached(at)).toBe(pages[Math.floor(inMemory / PAGE)]! + (inMemory % PAGE));
        }
      }),
      { numRuns: 300, seed: 16 },
    );
  });

  test('two MiB of memory in one piece are one page, and two pieces of 4 KiB are two', () => {
    const sizes = Array.from({ length: 20 }, (_, index) => 2 ** (12 + index));
    expect(best(regionOf([[64 * MIB, 2 * MIB]], 128 * MIB), sizes)).toBe(2 * MIB);
    const scattered: [number, number][] = [
      [5 * PAGE, PAGE],
      [9 * PAGE, PAGE],
    ];
    expect(best(regionOf(scattered, 16 * MIB), sizes)).toBe(PAGE);
  });

  test('an adapter without small pages has none that fits', () => {
    expect(best(regionOf([[5 * PAGE, PAGE]], 16 * MIB), [2 * MIB])).toBe(0);
  });
});
