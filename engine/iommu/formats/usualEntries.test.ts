/** What is taken at a glance is what the functions of a format make of it. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { AMD_V2 } from './amdV2.ts';
import { ARM_STAGE1_4K } from './armStage1.ts';
import { ARM_STAGE2_4K } from './armStage2.ts';
import { READ_WRITE } from './pageTableFormat.ts';
import { RISCV_SV } from './riscvSv.ts';
import { VTD_FIRST_STAGE } from './vtdFirstStage.ts';
import { VTD_SECOND_STAGE } from './vtdSecondStage.ts';

const FORMATS = [VTD_SECOND_STAGE, VTD_FIRST_STAGE, AMD_V2, ARM_STAGE1_4K, ARM_STAGE2_4K, RISCV_SV];

test('usual entries are valid tables that allow everything, or valid leaves of one page, by the tables of all formats', () => {
  const word = fc.integer({ min: 0, max: 2 ** 32 - 1 });
  const entry = fc.record({
    format: fc.constantFrom(...FORMATS),
    low: word,
    high: word,
    level: fc.integer({ min: 1, max: 4 }),
  });
  let leaves = 0;
  fc.assert(
    fc.property(entry, ({ format, low: anyLow, high: anyHigh, level }) => {
      const { tableMask, tableBits, leafMask, leafBits, pageShift, highLimit } = format.usual!;
      const high = anyHigh % highLimit;
      const pageOf = (low: number): number => (low >>> pageShift) + high * 2 ** (32 - pageShift);
      const table = ((anyLow & ~tableMask) | tableBits) >>> 0;
      expect(format.permissions(table, high, level)).toBe(READ_WRITE);
      expect([format.isLeaf(table, level), format.isValid(table, high, level)]).toEqual([false, true]);
      expect(format.target(table, high, level)).toBe(pageOf(table));
      const leaf = ((anyLow & ~leafMask) | leafBits) >>> 0;
      if (format.permissions(leaf, high, 0) === 0) return;
      leaves += 1;
      expect([format.isLeaf(leaf, 0), format.isValid(leaf, high, 0)]).toEqual([true, true]);
      expect([format.leafPages(leaf, high, 0), format.groupPages(leaf, high, 0) <= 1]).toEqual([1, true]);
      expect(format.target(leaf, high, 0)).toBe(pageOf(leaf));
    }),
    { seed: 4, numRuns: 5000 },
  );
  expect(leaves).toBeGreaterThan(1000);
});

test('page numbers of usual entries are below 2^31, so that shifts of them are exact', () => {
  for (const { usual } of FORMATS)
    expect((usual!.highLimit - 1) * 2 ** (32 - usual!.pageShift) + 2 ** (32 - usual!.pageShift)).toBe(2 ** 31);
});
