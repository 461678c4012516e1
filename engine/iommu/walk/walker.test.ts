import fc from 'fast-check';
import { expect, test } from 'vitest';
import { FAULT_ADDRESS_BEYOND_WIDTH, FAULT_READ_NOT_ALLOWED, FAULT_WRITE_NOT_ALLOWED } from '../faults.ts';
import { TestTables } from '../tables/testTables.ts';
import { VTD_SECOND_STAGE } from '../formats/vtdSecondStage.ts';
import { Walker } from './walker.ts';

test('a walk finds what was mapped and nothing else, against a naive map (VT-d 3.7)', () => {
  const leaf = fc.record({
    region: fc.nat(5),
    page: fc.nat(511),
    phys: fc.nat(2 ** 36),
    permissions: fc.constantFrom(1, 2, 3),
    write: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.constantFrom<3 | 4>(3, 4), fc.array(leaf, { maxLength: 30 }), (levels, leaves) => {
      const tables = new TestTables(levels);
      const walker = new Walker(tables.memory, VTD_SECOND_STAGE);
      const naive = new Map<number, { phys: number; permissions: number }>();
      // Regions far apart, so that every level has several entries.
      const regions = [0, 1, 512, 512 ** 2 - 1, levels === 4 ? 512 ** 2 * 3 : 512 * 7, 512 * 5 + 3];
      for (const { region, page, phys, permissions } of leaves) {
        const iovaPage = regions[region]! * 512 + page;
        tables.leaf(iovaPage, 0, phys, permissions);
        naive.set(iovaPage, { phys, permissions });
      }
      for (const { region, page, write } of leaves) {
        for (const iovaPage of [regions[region]! * 512 + page, regions[region]! * 512 + ((page + 1) % 512)]) {
          const expected = naive.get(iovaPage);
          const allowed = expected !== undefined && (expected.permissions & (write ? 2 : 1)) !== 0;
          expect(walker.walkFromRoot(1, iovaPage, write, tables.root, levels)).toBe(allowed);
          if (allowed) expect(walker.physPage(iovaPage)).toBe(expected.phys);
          else expect(walker.fault).toBe(write ? FAULT_WRITE_NOT_ALLOWED : FAULT_READ_NOT_ALLOWED);
        }
      }
    }),
    { numRuns: 50 },
  );
});

test('2 MiB and 1 GiB leaves end the walk early and keep the offset inside them', () => {
  const tables = new TestTables(4);
  const walker = new Walker(tables.memory, VTD_SECOND_STAGE);
  tables.leaf(512 * 9, 1, 512 * 40, 3);
  tables.leaf(512 ** 2 * 2, 2, 512 ** 2 * 7, 1);
  expect(walker.walkFromRoot(1, 512 * 9 + 77, true, tables.root, 4)).toBe(true);
  expect([walker.level, walker.physPage(512 * 9 + 77), walker.reads]).toEqual([1, 512 * 40 + 77, 3]);
  expect(walker.walkFromRoot(1, 512 ** 2 * 2 + 12_345, false, tables.root, 4)).toBe(true);
  expect([walker.level, walker.physPage(512 ** 2 * 2 + 12_345), walker.reads]).toEqual([2, 512 ** 2 * 7 + 12_345, 2]);
});

test('permissions of all entries on the way are combined', () => {
  const tables = new TestTables(3);
  const walker = new Walker(tables.memory, VTD_SECOND_STAGE);
  tables.leaf(5, 0, 99, 3);
  tables.memory.writeWord(tables.root, 0, tables.memory.readWord(tables.root, 0) - 2);
  expect(walker.walkFromRoot(1, 5, false, tables.root, 3)).toBe(true);
  expect(walker.walkFromRoot(1, 5, true, tables.root, 3)).toBe(false);
  expect(walker.fault).toBe(FAULT_WRITE_NOT_ALLOWED);
});

test('a page beyond the width of the tables is refused without a read', () => {
  const tables = new TestTables(3);
  const walker = new Walker(tables.memory, VTD_SECOND_STAGE);
  tables.leaf(0, 0, 99, 3);
  expect(walker.walkFromRoot(1, 512 ** 3, false, tables.root, 3)).toBe(false);
  expect([walker.fault, walker.reads]).toEqual([FAULT_ADDRESS_BEYOND_WIDTH, 0]);
});
