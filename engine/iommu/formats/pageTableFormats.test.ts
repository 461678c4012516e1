/** All formats against readers and operations written from the specifications' bit tables alone (naiveTables.ts). */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { FrameAllocator } from '../../memory/frameAllocator.ts';
import { PhysicalMemory } from '../../memory/physicalMemory.ts';
import { Counters } from '../../metrics/counters.ts';
import { AMD_V1 } from './amdV1.ts';
import { naiveWalk, NaiveMap, readEntry, writeEntry } from './naiveTables.ts';
import { READ, READ_WRITE, WRITE, type PageTableFormat } from './pageTableFormat.ts';
import { EADDRINUSE, EINVAL, ERANGE } from '../tables/tableErrors.ts';
import { GenericPageTable } from '../tables/tableOperationsGeneric.ts';
import { VTD_FIRST_STAGE } from './vtdFirstStage.ts';
import { VTD_SECOND_STAGE } from './vtdSecondStage.ts';
import { Walker } from '../walk/walker.ts';

const MOST_LEAVES = 300;
const KINDS: readonly { readonly format: PageTableFormat; readonly levels: number }[] = [
  ...[3, 4, 5].map((levels) => ({ format: VTD_SECOND_STAGE, levels })),
  ...[4, 5].map((levels) => ({ format: VTD_FIRST_STAGE, levels })),
  { format: AMD_V1, levels: 3 },
];

class CountingFrames extends FrameAllocator {
  live = 0;

  override allocatePage(): number {
    this.live += 1;
    return super.allocatePage();
  }

  override freePage(page: number): void {
    this.live -= 1;
    super.freePage(page);
  }
}

function build(format: PageTableFormat, levels: number) {
  const memory = new PhysicalMemory(2 ** 32);
  const frames = new CountingFrames(memory, 2 ** 19, 2 ** 19);
  const tops: number[] = [];
  const unmapped: number[] = [];
  const table = new GenericPageTable(memory, frames, format, levels, new Counters(), {
    topChanged: (_root, count) => tops.push(count),
    tablesReplaced: () => undefined,
    rangeUnmapped: (first, pages) => unmapped.push(first, pages),
    alreadyMapped: () => undefined,
  });
  return { memory, frames, table, tops, unmapped };
}

const near = fc.integer({ min: 0, max: 5 });
const place = fc.record({
  bits: fc.constantFrom(0, 1, 4, 8, 9, 12, 17, 18, 20, 26, 27, 28, 30, 35, 36, 38, 39, 45, 47),
  times: fc.integer({ min: 0, max: 3 }),
  more: fc.oneof(fc.constant(0), near),
});
const length = fc.oneof(
  fc.integer({ min: 1, max: 40 }),
  fc.record({ bits: fc.constantFrom(1, 4, 8, 9, 10, 18, 20, 27, 28, 36), more: fc.oneof(fc.constant(0), near) }),
);
const call = fc.record({
  map: fc.boolean(),
  at: place,
  phys: place,
  pages: length,
  /** The physical address has the offset of the IOVA below this bit, so that large leaves are possible. */
  alike: fc.constantFrom(0, 4, 9, 18, 28, 39),
  permissions: fc.constantFrom(READ, WRITE, READ_WRITE, READ_WRITE, 0),
  /** Unmaps what this number chooses, rather than a place. */
  which: fc.option(fc.nat(), { nil: null }),
});

function pageOf({ bits, times, more }: { bits: number; times: number; more: number }): number {
  return times * 2 ** bits + more;
}

describe.each(KINDS)('$format.name from $levels levels', ({ format, levels }) => {
  // present and readable are one bit to a processor's tables
  const alwaysRead = format === VTD_FIRST_STAGE ? READ : 0;

  test('maps and unmaps as a plain list of leaves does, and loses no table', () => {
    fc.assert(
      fc.property(fc.array(call, { maxLength: 16 }), (calls) => {
        const { memory, frames, table, unmapped } = build(format, levels);
        const naive = new NaiveMap(format.name, levels);
        const walker = new Walker(memory, format);
        for (const { map, at, phys, pages: asked, alike, permissions, which } of calls) {
          const mapped = [...naive.leaves.values()];
          const chosen = which === null || mapped.length === 0 ? null : mapped[which % mapped.length]!;
          const first = chosen === null || map ? pageOf(at) : chosen.first;
          const pages = typeof asked === 'number' ? asked : 2 ** asked.bits + asked.more;
          const unit = 2 ** alike;
          const to = (pageOf(phys) - (pageOf(phys) % unit) + (first % unit)) % 2 ** 39;
          const cut = naive.cut(first, to, pages, permissions, MOST_LEAVES);
          if (map && cut !== null && to + pages <= 2 ** 40) {
            expect(table.map(first, to, pages, permissions)).toBe(naive.map(first, pages, permissions, cut));
            expect(table.error).toBe(naive.error);
          } else if (!map) {
            unmapped.length = 0;
            const removed = naive.unmap(first, pages);
            expect(table.unmap(first, pages)).toBe(removed);
            expect(unmapped).toEqual(removed === 0 ? [] : [first, removed]);
          }
          table.releaseTables(table.detachedTables);
          table.detachedTables = [];
          for (const page of [first, first + pages - 1, first + pages, first + Math.floor(pages / 2), first - 1]) {
            if (page < 0 || page >= format.pageLimit(table.levels)) continue;
            const leaf = naive.find(page);
            const expected = leaf === null ? -1 : leaf.phys + page - leaf.first;
            expect(table.lookup(page)).toBe(expected);
            for (const write of [false, true]) {
              const may = (leaf?.permissions ?? 0) | alwaysRead;
              const allowed = leaf !== null && (may & (write ? WRITE : READ)) !== 0;
              const address = BigInt(page) * 4096n;
              const way = naiveWalk(memory, format.name, table.rootPage, table.levels, address, write);
              expect(way).toBe(allowed ? BigInt(expected) * 4096n : null);
              const walk = walker.walkFromRoot(1, page, write, table.rootPage, table.levels);
              expect(walk ? walker.physPage(page) : -1).toBe(allowed ? expected : -1);
            }
          }
        }
        for (const leaf of naive.leaves.values()) expect(table.unmap(leaf.first, 1)).toBe(leaf.pages);
        table.releaseTables(table.detachedTables);
        table.destroy();
        expect(frames.live).toBe(0);
      }),
      { numRuns: 60, seed: levels },
    );
  });

  test('the walker reads any bits as the plain reader does', () => {
    const entry = fc.record({
      level: fc.integer({ min: 0, max: 5 }),
      page: fc.nat(2 ** 28 - 1),
      low: fc.nat(0xfff),
      high: fc.nat(7),
      keep: fc.constantFrom('bits', 'all', 'nothing'),
    });
    fc.assert(
      fc.property(
        fc.array(entry, { minLength: 1, maxLength: 12 }),
        fc.integer({ min: levels, max: 6 }),
        (entries, top) => {
          const count = format.dynamicTop ? top : levels;
          const { memory, frames } = build(format, levels);
          const tables = Array.from({ length: count }, () => frames.allocatePage());
          // a way down whose every table is reached by the first two entries, and entries of any bits over it
          for (let level = count - 1; level > 0; level -= 1) {
            const target = tables[level - 1]!;
            for (const index of [0, 1]) {
              writeEntry(
                memory,
                tables[level]!,
                index,
                BigInt(format.tableLow(target, level)) | (BigInt(format.tableHigh(target)) << 32n),
              );
            }
          }
          for (const { level, page, low, high, keep } of entries) {
            if (level >= count) continue;
            const base =
              keep === 'bits' ? BigInt(page) << 12n : keep === 'all' ? BigInt(2 ** (page % 20) - 1) << 12n : 0n;
            writeEntry(memory, tables[level]!, page % 3, base | BigInt(low) | (BigInt(high) << 60n));
          }
          const walker = new Walker(memory, format);
          for (let path = 0; path < 3 ** Math.min(count, 4); path += 1) {
            let page = 0;
            for (let level = 0, rest = path; level < count; level += 1, rest = Math.floor(rest / 3)) {
              page += (rest % 3) * 512 ** level;
            }
            if (page >= format.pageLimit(count)) continue;
            for (const write of [false, true]) {
              const expected = naiveWalk(memory, format.name, tables.at(-1)!, count, BigInt(page) << 12n, write);
              const found = walker.walkFromRoot(1, page, write, tables.at(-1)!, count);
              expect(found ? BigInt(walker.physPage(page)) << 12n : null).toBe(expected);
            }
          }
        },
      ),
      { numRuns: 80, seed: levels },
    );
  });

  test('refuses what allows nothing, what is taken, and what lies beyond its width', () => {
    const { table } = build(format, levels);
    const limit = format.pageLimit(format.levels.at(-1)!);
    const widest = format.dynamicTop ? limit : format.pageLimit(levels);
    expect([table.map(5, 5, 1, 0), table.error]).toEqual([0, EINVAL]);
    expect([table.map(5, 5, 0, 3), table.error]).toEqual([0, EINVAL]);
    expect([table.map(5, 2 ** 40, 1, 3), table.error]).toEqual([0, ERANGE]);
    expect([table.map(widest - 1, 5, 2, 3), table.error]).toEqual([0, ERANGE]);
    expect([table.map(widest - 1, 5, 1, 3), table.error]).toEqual([1, 0]);
    expect([table.map(widest - 1, 5, 1, 3), table.error]).toEqual([0, EADDRINUSE]);
    expect(table.lookup(widest - 1)).toBe(5);
    expect(table.unmap(widest - 1, 1)).toBe(1);
  });
});

/** The entries on the way to a page, from the root down to the leaf. */
function entriesOf(memory: PhysicalMemory, table: GenericPageTable, page: number): string[] {
  const found: string[] = [];
  let at = table.rootPage;
  for (let level = table.levels - 1; level >= 0; level -= 1) {
    const low = readEntry(memory, at, Math.floor(page / 512 ** level) % 512);
    const leaf = table.format.isLeaf(Number(low & 0xffff_ffffn), level);
    found.push(leaf ? low.toString(16) : (low & ~(((1n << 52n) - 1n) & ~0xfffn)).toString(16));
    if (leaf) break;
    at = Number((low & ((1n << 52n) - 1n)) >> 12n);
  }
  return found;
}

describe('bits that are reserved', () => {
  const translates = (format: PageTableFormat, levels: number, level: number, entry: bigint): boolean => {
    const memory = new PhysicalMemory(64 * 4096);
    for (let above = levels - 1; above > level; above -= 1) {
      const table = levels - above + 1;
      const pointer = BigInt(format.tableLow(table, above)) | (BigInt(format.tableHigh(table)) << 32n);
      writeEntry(memory, levels - above, 0, pointer);
    }
    writeEntry(memory, levels - level, 0, entry);
    writeEntry(memory, 40, 0, BigInt(format.leafLow(7, 0, 1, 3)) | (BigInt(format.leafHigh(7, 0, 1, 3)) << 32n));
    return new Walker(memory, format).walkFromRoot(1, 0, false, 1, levels);
  };

  test('VT-d second stage: bit 62 anywhere, SNP (bit 11) where an entry points at a table, PS above 1 GiB (9.8)', () => {
    const refused = (level: number, entry: bigint): boolean => !translates(VTD_SECOND_STAGE, 5, level, entry);
    const table = (40n << 12n) | 3n;
    expect([refused(1, table), refused(1, table | (1n << 11n)), refused(1, table | (1n << 62n))]).toEqual([
      false,
      true,
      true,
    ]);
    for (const level of [0, 1, 2]) {
      const leaf = (level === 0 ? 0n : 1n << 7n) | 3n;
      expect([refused(level, leaf | (1n << 11n)), refused(level, leaf | (1n << 62n))]).toEqual([false, true]);
    }
    for (const level of [3, 4]) expect(refused(level, 3n | (1n << 7n))).toBe(true);
    // 63, 61:52 and 10 are ignored
    expect(refused(0, 3n | (0xbffn << 52n) | (1n << 10n))).toBe(false);
  });

  test("first stage: PS above 1 GiB, bits of a large leaf's address below its size; 62:52 are ignored (9.7)", () => {
    const refused = (level: number, entry: bigint): boolean => !translates(VTD_FIRST_STAGE, 5, level, entry);
    for (const level of [3, 4]) expect(refused(level, 7n | (1n << 7n))).toBe(true);
    expect([refused(1, 0x87n), refused(1, 0x87n | (1n << 12n)), refused(1, 0x87n | (1n << 13n))]).toEqual([
      false,
      false,
      true,
    ]);
    expect([refused(2, 0x87n), refused(2, 0x87n | (1n << 12n)), refused(2, 0x87n | (1n << 29n))]).toEqual([
      false,
      false,
      true,
    ]);
    expect(refused(0, 7n | (0x7ffn << 52n))).toBe(false);
  });

  test('AMD: the sixth level has no leaves, by neither encoding, and an entry of the first points at no table (2.2.3)', () => {
    const open = 1n | (3n << 61n);
    const refused = (level: number, entry: bigint): boolean => !translates(AMD_V1, 6, level, open | entry);
    expect([refused(4, 0n), refused(5, 0n)]).toEqual([false, true]);
    expect(refused(5, (((1n << 40n) - 1n) << 12n) | (7n << 9n))).toBe(true);
    for (const next of [1n, 6n]) expect(refused(0, next << 9n)).toBe(true);
  });
});

describe('the bits that are written', () => {
  test('VT-d second stage: R, W and PS, nothing else (9.8)', () => {
    const { memory, table } = build(VTD_SECOND_STAGE, 4);
    table.map(0, 0x1_2345_6789, 1, READ);
    table.map(512, 0x200 * 7, 512, WRITE);
    expect(entriesOf(memory, table, 0)).toEqual(['3', '3', '3', '123456789001']);
    expect(entriesOf(memory, table, 512)).toEqual(['3', '3', 'e00082']);
  });

  test('first stage: P, U and A always, R/W and D where it may be written, PS in large leaves (9.7)', () => {
    const { memory, table } = build(VTD_FIRST_STAGE, 4);
    table.map(0, 0x1_2345_6789, 1, READ);
    table.map(1, 9, 1, READ_WRITE);
    table.map(512 ** 2, 512 ** 2 * 3, 512 ** 2, READ_WRITE);
    expect(entriesOf(memory, table, 0)).toEqual(['27', '27', '27', '123456789025']);
    expect(entriesOf(memory, table, 1).at(-1)).toBe('9067');
    expect(entriesOf(memory, table, 512 ** 2)).toEqual(['27', 'c00000e7']);
  });

  test('AMD: tables name the level below, leaves 0 for their own size, permissions in bits 61 and 62 (2.2.3)', () => {
    const { memory, table } = build(AMD_V1, 3);
    table.map(0x1, 0x1_2345_6789, 1, READ);
    table.map(512, 512 * 7, 512, READ_WRITE);
    expect(entriesOf(memory, table, 1)).toEqual(['6000000000000401', '6000000000000201', '3000123456789001']);
    expect(entriesOf(memory, table, 512)).toEqual(['6000000000000401', '7000000000e00001']);
  });

  test('AMD: 64 KiB is sixteen equal entries whose address ends in 0x7000 (2.2.3, page size encodings)', () => {
    const { memory, table } = build(AMD_V1, 3);
    expect(table.map(0x10, 0x40, 16, READ_WRITE)).toBe(16);
    expect(table.leafWrites).toBe(16);
    for (let page = 0x10; page < 0x20; page += 1)
      expect(entriesOf(memory, table, page).at(-1)).toBe('7000000000047e01');
    expect(table.lookup(0x1f)).toBe(0x4f);
  });

  test('AMD: 512 GiB is never one leaf, 1 TiB is two entries', () => {
    const { memory, table } = build(AMD_V1, 3);
    expect(table.map(2 ** 27, 2 ** 27, 2 ** 27, READ_WRITE)).toBe(2 ** 27);
    expect(entriesOf(memory, table, 2 ** 27)).toHaveLength(2);
    expect(entriesOf(memory, table, 2 ** 27)[1]).toBe('7000009ffffffe01');
    expect(table.map(2 ** 28, 2 ** 28, 2 ** 28, READ_WRITE)).toBe(2 ** 28);
    expect(table.leafWrites).toBe(2);
    expect(entriesOf(memory, table, 2 ** 28 + 12_345)).toHaveLength(1);
  });
});

describe("AMD's contiguous leaves and dynamic top (drivers/iommu/generic_pt/fmt/amdv1.h)", () => {
  test('a leaf whose place is taken in part is refused whole', () => {
    const { table } = build(AMD_V1, 3);
    table.map(7, 100, 1, READ_WRITE);
    expect([table.map(0, 16, 16, READ_WRITE), table.error]).toEqual([0, EADDRINUSE]);
    expect([table.map(0, 17, 16, READ_WRITE), table.error]).toEqual([7, EADDRINUSE]);
  });

  test('an unmap that begins inside a leaf removes nothing, one that ends inside removes it whole', () => {
    const { table } = build(AMD_V1, 3);
    table.map(16, 32, 16, READ_WRITE);
    expect(table.unmap(17, 4)).toBe(0);
    expect(table.unmap(16, 4)).toBe(16);
    expect(table.lookup(31)).toBe(-1);
  });

  test('the top grows as far as an address needs, once for each map, and what was mapped stays', () => {
    const { table, tops } = build(AMD_V1, 3);
    table.map(5, 50, 1, READ_WRITE);
    table.map(2 ** 27, 60, 1, READ_WRITE);
    table.map(2 ** 51, 70, 1, READ_WRITE);
    expect(tops).toEqual([4, 6]);
    expect([5, 2 ** 27, 2 ** 51].map((page) => table.lookup(page))).toEqual([50, 60, 70]);
    expect(table.lookup(2 ** 51 + 2 ** 27)).toBe(-1);
  });
});
