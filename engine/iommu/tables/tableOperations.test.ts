import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { FrameAllocator } from '../../memory/frameAllocator.ts';
import { PhysicalMemory } from '../../memory/physicalMemory.ts';
import { Counters } from '../../metrics/counters.ts';
import { EADDRINUSE, EINVAL } from './tableErrors.ts';
import { largestLeaf, type PageTable } from './tableOperations.ts';
import { GenericPageTable } from './tableOperationsGeneric.ts';
import { batchPages, LegacyPageTable } from './tableOperationsLegacy.ts';
import { VTD_SECOND_STAGE } from '../formats/vtdSecondStage.ts';

const MEGA = 512;
const GIGA = 512 * 512;

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

function build(Code: typeof GenericPageTable | typeof LegacyPageTable, levels: 3 | 4 = 4) {
  const told: string[] = [];
  const memory = new PhysicalMemory(2 ** 32);
  const frames = new CountingFrames(memory, 2 ** 19, 2 ** 19);
  const table: PageTable = new Code(memory, frames, VTD_SECOND_STAGE, levels, new Counters(), {
    topChanged: () => told.push('top'),
    tablesReplaced: (start, end) => told.push(`replaced ${start.toString(16)}-${end.toString(16)}`),
    rangeUnmapped: (page, pages) => told.push(`unmapped ${page}+${pages}`),
    alreadyMapped: (page) => told.push(`already ${page}`),
  });
  return { table, frames, told };
}

function dropTables(table: PageTable): void {
  table.releaseTables(table.detachedTables);
  table.detachedTables = [];
}

describe('leaf sizes (drivers/iommu/iommu.c, iommu_pgsize)', () => {
  test('are the largest that IOVA, physical address and length allow', () => {
    expect(largestLeaf(VTD_SECOND_STAGE, 0, 0, MEGA)).toBe(MEGA);
    expect(largestLeaf(VTD_SECOND_STAGE, 0, 0, MEGA - 1)).toBe(1);
    expect(largestLeaf(VTD_SECOND_STAGE, 0, 1, MEGA)).toBe(1);
    expect(largestLeaf(VTD_SECOND_STAGE, GIGA, 2 * GIGA, GIGA + MEGA)).toBe(GIGA);
  });

  test('make batches of one size: up to the next boundary, the large leaves, the rest', () => {
    // iova 0x1ff000, phys 0x3ff000, 0x402000 bytes: 4K x 1, 2M x 2, 4K x 1
    expect(batchPages(VTD_SECOND_STAGE, 0x1ff, 0x3ff, 0x402)).toBe(1);
    expect(batchPages(VTD_SECOND_STAGE, 0x200, 0x400, 0x401)).toBe(0x400);
    expect(batchPages(VTD_SECOND_STAGE, 0x600, 0x800, 1)).toBe(1);
    // not congruent: 4K x 1024
    expect(batchPages(VTD_SECOND_STAGE, 0x200, 0x401, 0x400)).toBe(0x400);
    // 1G x 1, 2M x 1, 4K x 1
    expect(batchPages(VTD_SECOND_STAGE, GIGA, 2 * GIGA, GIGA + MEGA + 1)).toBe(GIGA);
    expect(batchPages(VTD_SECOND_STAGE, 2 * GIGA, 3 * GIGA, MEGA + 1)).toBe(MEGA);
  });
});

describe('both page-table codes', () => {
  test.each([GenericPageTable, LegacyPageTable])('map with mixed leaves and find every page again: %o', (Code) => {
    const { table } = build(Code);
    expect(table.map(0x1ff, 0x3ff, 0x402, 3)).toBe(0x402);
    expect(table.leafWrites).toBe(4);
    expect([0x1ff, 0x200, 0x3ff, 0x5ff, 0x600].map((page) => table.lookup(page))).toEqual([
      0x3ff, 0x400, 0x5ff, 0x7ff, 0x800,
    ]);
    expect(table.lookup(0x601)).toBe(-1);
  });

  test.each([3, 4] as const)('write 1 GiB leaves and physical pages beyond 32 bits with %i levels', (levels) => {
    const { table } = build(GenericPageTable, levels);
    const phys = 2 ** 26;
    expect(table.map(GIGA, phys, GIGA, 1)).toBe(GIGA);
    expect(table.leafWrites).toBe(1);
    expect(table.lookup(GIGA + 12_345)).toBe(phys + 12_345);
  });

  test('give back every table when the domain goes', () => {
    const { table, frames } = build(GenericPageTable);
    table.map(7, 7, 3, 3);
    table.map(GIGA * 5, 9, 700, 3);
    table.destroy();
    expect(frames.live).toBe(0);
  });
});

describe('generic_pt (drivers/iommu/generic_pt/iommu_pt.h)', () => {
  test('refuses to map over a leaf, and says how far it came', () => {
    const { table } = build(GenericPageTable);
    table.map(3, 100, 1, 3);
    expect(table.map(0, 200, 8, 3)).toBe(3);
    expect(table.error).toBe(EADDRINUSE);
    expect(table.lookup(3)).toBe(100);
  });

  test('refuses a mapping that allows nothing', () => {
    const { table } = build(GenericPageTable);
    expect(table.map(0, 0, 1, 0)).toBe(0);
    expect(table.error).toBe(EINVAL);
  });

  test('replaces empty tables by large leaves and names them in one range', () => {
    const { table, told, frames } = build(GenericPageTable);
    table.map(MEGA + 4, 9, 1, 3);
    table.map(2 * MEGA + 4, 9, 1, 3);
    table.unmap(MEGA + 4, 1);
    table.unmap(2 * MEGA + 4, 1);
    told.length = 0;
    const before = frames.live;
    expect(table.map(MEGA, 4 * MEGA, 2 * MEGA, 3)).toBe(2 * MEGA);
    expect(told).toEqual(['replaced 200000-5fffff']);
    expect(frames.live).toBe(before - 2);
    expect(table.lookup(MEGA + 4)).toBe(4 * MEGA + 4);
  });

  test('does not replace a table that still holds a leaf', () => {
    const { table } = build(GenericPageTable);
    table.map(MEGA + 4, 9, 1, 3);
    expect(table.map(MEGA, 4 * MEGA, MEGA, 3)).toBe(0);
    expect(table.error).toBe(EADDRINUSE);
  });

  test('stops an unmap at the first hole', () => {
    const { table, told } = build(GenericPageTable);
    table.map(0, 100, 2, 3);
    table.map(3, 200, 2, 3);
    expect(table.unmap(0, 5)).toBe(2);
    expect(told).toEqual(['unmapped 0+2']);
    expect(table.lookup(3)).toBe(200);
  });

  test('removes a whole large leaf when the range ends inside it, and nothing when it begins inside', () => {
    const { table } = build(GenericPageTable);
    table.map(MEGA, 2 * MEGA, MEGA, 3);
    expect(table.unmap(MEGA + 1, 4)).toBe(0);
    expect(table.unmap(MEGA, 1)).toBe(MEGA);
    expect(table.lookup(MEGA + 7)).toBe(-1);
  });

  test('detaches the tables that the range covers, and only those', () => {
    const { table } = build(GenericPageTable);
    for (let page = 0; page < 2 * MEGA + 1; page += 1) table.map(MEGA + page, page * 2, 1, 3);
    expect(table.unmap(MEGA, 2 * MEGA + 1)).toBe(2 * MEGA + 1);
    expect(table.detachedTables.length).toBe(2);
  });

  test('keeps a table when a hole stopped the walk inside it', () => {
    const { table } = build(GenericPageTable);
    for (let page = 0; page < MEGA - 1; page += 1) table.map(page, page * 2, 1, 3);
    expect(table.unmap(0, MEGA)).toBe(MEGA - 1);
    expect(table.detachedTables).toEqual([]);
  });

  test('agrees with a plain map of pages, and loses no table', () => {
    const page = fc.oneof(
      fc.integer({ min: 0, max: 40 }),
      fc.integer({ min: MEGA - 6, max: MEGA + 6 }),
      fc.constantFrom(0, MEGA, 2 * MEGA),
    );
    const pages = fc.oneof(fc.integer({ min: 1, max: 12 }), fc.constantFrom(MEGA - 1, MEGA, MEGA + 1, 2 * MEGA));
    const step = fc.record({ map: fc.boolean(), at: page, pages, phys: page });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
        const { table, frames } = build(GenericPageTable);
        const naive = new Map<number, number>();
        for (const { map, at, pages: count, phys } of steps) {
          if (map) {
            const done = table.map(at, phys, count, 3);
            let overwritten = 0;
            for (let index = 0; index < done; index += 1) {
              if (naive.has(at + index)) overwritten += 1;
              naive.set(at + index, phys + index);
            }
            expect(overwritten).toBe(0);
            if (done < count) expect(table.error).toBe(EADDRINUSE);
          } else {
            const removed = table.unmap(at, count);
            let missing = 0;
            for (let index = 0; index < removed; index += 1) if (!naive.delete(at + index)) missing += 1;
            expect(missing).toBe(0);
            dropTables(table);
          }
          const wrong: number[] = [];
          for (let index = Math.max(at - 1, 0); index <= at + count; index += 1) {
            if (table.lookup(index) !== (naive.get(index) ?? -1)) wrong.push(index);
          }
          expect(wrong).toEqual([]);
        }
        for (const left of naive.keys()) table.unmap(left, 1);
        dropTables(table);
        table.destroy();
        expect(frames.live).toBe(0);
      }),
    );
  });
});

describe("VT-d's own code of earlier kernels (drivers/iommu/intel/iommu.c)", () => {
  test('maps over nothing: the old leaf stays, and the kernel complains', () => {
    const { table, told } = build(LegacyPageTable);
    table.map(3, 100, 1, 3);
    expect(table.map(2, 200, 3, 3)).toBe(3);
    expect(told).toEqual(['already 3']);
    expect([2, 3, 4].map((page) => table.lookup(page))).toEqual([200, 100, 202]);
  });

  test('flushes once per replaced table, up to the address of the last page of the run', () => {
    const { table, told } = build(LegacyPageTable);
    table.map(4 * MEGA + 1, 9, 1, 3);
    table.map(5 * MEGA + 1, 9, 1, 3);
    told.length = 0;
    table.map(4 * MEGA, 8 * MEGA, 2 * MEGA, 3);
    expect(told).toEqual(['replaced 800000-bff000', 'replaced a00000-bff000']);
    expect(table.lookup(5 * MEGA + 1)).toBe(9 * MEGA + 1);
  });

  test('unmaps 2 MiB and 4 KiB in two batches', () => {
    const { table, told } = build(LegacyPageTable);
    table.map(MEGA, 2 * MEGA, MEGA + 1, 3);
    expect(table.unmap(MEGA, MEGA + 1)).toBe(MEGA + 1);
    expect(told).toEqual([`unmapped ${MEGA}+${MEGA}`, `unmapped ${2 * MEGA}+1`]);
  });

  test('goes on behind a hole', () => {
    const { table, told } = build(LegacyPageTable);
    table.map(0, 100, 2, 3);
    table.map(3, 200, 2, 3);
    expect(table.unmap(0, 5)).toBe(5);
    expect(told).toEqual(['unmapped 0+5']);
    expect(table.lookup(3)).toBe(-1);
  });

  test('takes a whole large leaf for a batch that is smaller than it', () => {
    const { table, told } = build(LegacyPageTable);
    table.map(MEGA, 2 * MEGA, MEGA, 3);
    expect(table.unmap(MEGA, 4)).toBe(MEGA);
    expect(told).toEqual([`unmapped ${MEGA}+${MEGA}`]);
  });

  test('detaches a table whose 2 MiB a batch covers', () => {
    const { table } = build(LegacyPageTable);
    for (let page = 0; page < MEGA; page += 1) table.map(MEGA + page, page * 2, 1, 3);
    table.unmap(MEGA, MEGA);
    expect(table.detachedTables.length).toBe(1);
    expect(table.leafWrites).toBe(MEGA);
  });
});
