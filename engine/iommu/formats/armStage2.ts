/**
 * Arm stage 2 tables, from the addresses that a guest takes for physical to physical ones (Arm architecture reference manual DDI
 * 0487, D8.3; SMMUv3 specification IHI 0070, 3.4; Linux drivers/iommu/io-pgtable-arm.c).
 *
 * | bit   | name    | meaning                                                                         |
 * | ----- | ------- | ------------------------------------------------------------------------------- |
 * | 0     | V       | valid                                                                           |
 * | 1     | T       | 1: points at a table, or at level 0 a page; 0: a block                          |
 * | 5:2   | MemAttr | memory attributes                                                               |
 * | 6     | S2AP[0] | of a leaf: read allowed                                                         |
 * | 7     | S2AP[1] | of a leaf: write allowed                                                        |
 * | 9:8   | SH      | shareability                                                                    |
 * | 10    | AF      | used; an access to a leaf without it faults, or sets it                         |
 * | 47:12 | OA      | page of the next table, or of the leaf; from bit 14 or 16 with larger granules  |
 * | 51    | DBM     | of a leaf: where S2AP[1] says no writes, hardware sets it at the first one       |
 * | 52    | Contiguous | a hint, see armGranule.ts                                                    |
 *
 * The root may be up to 16 tables side by side, which saves a level. Leaves out: execution.
 */
import {
  ARM_16K,
  ARM_4K,
  ARM_64K,
  armGroupPages,
  armLeafLow,
  armLeafSizes,
  armPagesPerEntry,
  armTableLow,
  ARM_USUAL_ENTRIES,
  armTarget,
  DIRTY_MODIFIER,
  isArmLeaf,
  isArmPresent,
  isArmValid,
  type ArmGranule,
} from './armGranule.ts';
import { addressHigh, PLAIN_ENTRIES, pageTableFormat, READ_WRITE, type PageTableFormat } from './pageTableFormat.ts';

const NORMAL_CACHED = 0xf << 2;
const PERMISSION_SHIFT = 6;
const WRITABLE = 1 << 7;
const INNER_SHAREABLE = 3 << 8;
const ACCESS_FLAG = 1 << 10;
const MOST_ROOT_TABLES = 16;
/** Pages of a 48-bit address space. */
const ADDRESS_SPACE_PAGES = 2 ** 36;

function armStage2(granule: ArmGranule): PageTableFormat {
  const pagesPerEntry = armPagesPerEntry(granule);
  const limit = (levels: number): number => Math.min(pagesPerEntry[levels]! * MOST_ROOT_TABLES, ADDRESS_SPACE_PAGES);
  return pageTableFormat({
    ...PLAIN_ENTRIES,
    name: `arm-stage2-${granule.suffix}`,
    stage: 2,
    levels: granule.levels,
    dynamicTop: false,
    granulePages: granule.pages,
    rootTables: MOST_ROOT_TABLES,
    pagesPerEntry,
    leafSizes: armLeafSizes(granule),
    accessedBit: ACCESS_FLAG,
    dirtyBit: WRITABLE,
    dirtyValue: WRITABLE,
    dirtyModifier: DIRTY_MODIFIER,
    hintsAtGroups: true,
    usual: ARM_USUAL_ENTRIES,
    pageLimit: limit,
    translates: (page, levels) => page < limit(levels),
    permissions: (low, _high, level) => {
      if (!isArmPresent(low)) return 0;
      return isArmLeaf(low, level) ? (low >>> PERMISSION_SHIFT) & READ_WRITE : READ_WRITE;
    },
    isLeaf: isArmLeaf,
    leafPages: (_low, _high, level) => pagesPerEntry[level]!,
    target: (low, high, level) => armTarget(low, high, isArmLeaf(low, level) ? pagesPerEntry[level]! : granule.pages),
    isValid: (low, _high, level) => isArmValid(granule, low, level),
    groupPages: (_low, high, level) => armGroupPages(granule, high, level),
    leafLow: (physPage, level, _pages, permissions) =>
      armLeafLow(physPage, level, NORMAL_CACHED | INNER_SHAREABLE | ACCESS_FLAG | (permissions << PERMISSION_SHIFT)),
    leafHigh: addressHigh,
    tableLow: armTableLow,
    tableHigh: addressHigh,
  });
}

export const ARM_STAGE2_4K = armStage2(ARM_4K);
export const ARM_STAGE2_16K = armStage2(ARM_16K);
export const ARM_STAGE2_64K = armStage2(ARM_64K);
