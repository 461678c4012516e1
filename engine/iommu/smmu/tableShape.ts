/**
 * From the fields that describe tables (T0SZ, TG0, S2T0SZ, S2SL0, S2TG) to a format and its number of levels (Arm SMMUv3 specification
 * IHI 0070, 5.2 and 5.4; Arm architecture reference manual DDI 0487, D8.2).
 */
import { ARM_STAGE1_16K, ARM_STAGE1_4K, ARM_STAGE1_64K } from '../formats/armStage1.ts';
import { ARM_STAGE2_16K, ARM_STAGE2_4K, ARM_STAGE2_64K } from '../formats/armStage2.ts';
import type { PageTableFormat } from '../formats/pageTableFormat.ts';

/** By TG0 and S2TG. */
export const STAGE1_FORMATS = [ARM_STAGE1_4K, ARM_STAGE1_64K, ARM_STAGE1_16K] as const;
export const STAGE2_FORMATS = [ARM_STAGE2_4K, ARM_STAGE2_64K, ARM_STAGE2_16K] as const;

const PAGE_BITS = 12;
const LEVELS = 4;

/** The fewest levels whose tables span addresses of so many bits. */
export function levelsOfWidth(addressBits: number, format: PageTableFormat): number {
  const pages = 2 ** (addressBits - PAGE_BITS);
  let levels = 1;
  while (levels < LEVELS && format.granulePages * spanOf(format, levels) < pages) levels += 1;
  return levels;
}

/** S2SL0 counts levels from the leaf for 16 and 64 KiB, and from the one above it for 4 KiB. */
export function levelsOfStart(startLevel: number, format: PageTableFormat): number {
  return startLevel + (format.granulePages === 1 ? 2 : 1);
}

/** Leaves under a table of so many levels. */
function spanOf(format: PageTableFormat, levels: number): number {
  return (format.pagesPerEntry[1]! / format.pagesPerEntry[0]!) ** levels;
}
