/**
 * Arm stage 1 tables, as the SMMUv3 walks them for one address space (Arm architecture reference manual DDI 0487, D8.3; SMMUv3
 * specification IHI 0070, 3.4; Linux drivers/iommu/io-pgtable-arm.c).
 *
 * | bit   | name      | meaning                                                                     |
 * | ----- | --------- | --------------------------------------------------------------------------- |
 * | 0     | V         | valid                                                                       |
 * | 1     | T         | 1: points at a table, or at level 0 a page; 0: a block                      |
 * | 4:2   | AttrIndx  | memory attributes by index                                                  |
 * | 6     | AP[1]     | of a leaf: unprivileged access allowed, which requests of devices need      |
 * | 7     | AP[2]     | of a leaf: no writes                                                        |
 * | 9:8   | SH        | shareability                                                                |
 * | 10    | AF        | used; an access to a leaf without it faults, or sets it                     |
 * | 11    | nG        | of one address space                                                        |
 * | 47:12 | OA        | page of the next table, or of the leaf; from bit 14 or 16 with larger granules |
 * | 51    | DBM       | of a leaf: where AP[2] says no writes, hardware clears that at the first one   |
 * | 52    | Contiguous | a hint, see armGranule.ts                                                  |
 * | 54    | UXN       | no execution                                                                |
 * | 61    | APTable[0] | of a table: no unprivileged access below                                   |
 * | 62    | APTable[1] | of a table: no writes below                                                |
 *
 * Writes imply reads. Leaves out: execution, NS, a second table for upper addresses (TTB1).
 */
import {
  ARM_16K,
  ARM_4K,
  ARM_64K,
  armGroupPages,
  armLeafLow,
  armLeafSizes,
  armPageLimit,
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
import {
  addressHigh,
  PLAIN_ENTRIES,
  pageTableFormat,
  READ,
  READ_WRITE,
  WRITE,
  type PageTableFormat,
} from './pageTableFormat.ts';

const NORMAL_CACHED = 1 << 2;
const UNPRIVILEGED = 1 << 6;
const READ_ONLY = 1 << 7;
const INNER_SHAREABLE = 3 << 8;
const ACCESS_FLAG = 1 << 10;
const NOT_GLOBAL = 1 << 11;
/** Bits 61 and 62 in the high word. */
const NO_UNPRIVILEGED_BELOW = 1 << 29;
const NO_WRITES_BELOW = 1 << 30;

function armStage1(granule: ArmGranule): PageTableFormat {
  const pagesPerEntry = armPagesPerEntry(granule);
  return pageTableFormat({
    ...PLAIN_ENTRIES,
    name: `arm-stage1-${granule.suffix}`,
    stage: 1,
    levels: granule.levels,
    dynamicTop: false,
    granulePages: granule.pages,
    rootTables: 1,
    pagesPerEntry,
    leafSizes: armLeafSizes(granule),
    accessedBit: ACCESS_FLAG,
    dirtyBit: READ_ONLY,
    dirtyValue: 0,
    dirtyModifier: DIRTY_MODIFIER,
    hintsAtGroups: true,
    usual: ARM_USUAL_ENTRIES,
    pageLimit: (levels) => armPageLimit(granule, levels),
    translates: (page, levels) => page < armPageLimit(granule, levels),
    permissions: (low, high, level) => {
      if (!isArmPresent(low)) return 0;
      if (!isArmLeaf(low, level)) {
        if ((high & NO_UNPRIVILEGED_BELOW) !== 0) return 0;
        return (high & NO_WRITES_BELOW) === 0 ? READ_WRITE : READ;
      }
      if ((low & UNPRIVILEGED) === 0) return 0;
      return (low & READ_ONLY) === 0 ? READ_WRITE : READ;
    },
    isLeaf: isArmLeaf,
    leafPages: (_low, _high, level) => pagesPerEntry[level]!,
    target: (low, high, level) => armTarget(low, high, isArmLeaf(low, level) ? pagesPerEntry[level]! : granule.pages),
    isValid: (low, _high, level) => isArmValid(granule, low, level),
    groupPages: (_low, high, level) => armGroupPages(granule, high, level),
    leafLow: (physPage, level, _pages, permissions) => {
      const protection = UNPRIVILEGED | ((permissions & WRITE) === 0 ? READ_ONLY : 0);
      return armLeafLow(physPage, level, NORMAL_CACHED | INNER_SHAREABLE | ACCESS_FLAG | NOT_GLOBAL | protection);
    },
    leafHigh: addressHigh,
    tableLow: armTableLow,
    tableHigh: addressHigh,
  });
}

export const ARM_STAGE1_4K = armStage1(ARM_4K);
export const ARM_STAGE1_16K = armStage1(ARM_16K);
export const ARM_STAGE1_64K = armStage1(ARM_64K);
