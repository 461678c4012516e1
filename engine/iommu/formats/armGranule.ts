/**
 * What the two stages of Arm's tables share: the three granules (Arm architecture reference manual DDI 0487, D8.2 and D8.3,
 * VMSAv8-64 translation; SMMUv3 specification IHI 0070, 3.4). Level 0 here is the architecture's level 3.
 *
 * | granule | index bits | levels of 48 bits | leaves            | contiguous group            |
 * | ------- | ---------- | ----------------- | ----------------- | --------------------------- |
 * | 4 KiB   | 9          | 4                 | 4 KiB, 2 MiB, 1 GiB | 16 entries                |
 * | 16 KiB  | 11         | 4, the top of 1 bit | 16 KiB, 32 MiB  | 128 pages, 32 blocks        |
 * | 64 KiB  | 13         | 3, the top of 6 bits | 64 KiB, 512 MiB | 32 entries                  |
 *
 * Bits 1:0 say what an entry is: 1 a block, 3 a table, or at level 0 a page; other values are absent or reserved. The Contiguous bit
 * (52) is a hint that a group lies side by side and may be cached as one: it changes no translation. Real software that sets it on entries
 * that do not go together meets anything; here such a hint counts for nothing. DBM (51) gives a leaf a dirty state where hardware manages it.
 * Leaves out: 52-bit addresses.
 */
import { addressLow, addressPage, type UsualEntries } from './pageTableFormat.ts';

export interface ArmGranule {
  readonly suffix: '4k' | '16k' | '64k';
  readonly pages: 1 | 4 | 16;
  readonly indexBits: number;
  /** The highest level that may hold a block. */
  readonly highestBlock: number;
  readonly levels: readonly number[];
  /** Entries of a contiguous group, by level. */
  readonly groups: readonly number[];
}

export const ARM_4K: ArmGranule = {
  suffix: '4k',
  pages: 1,
  indexBits: 9,
  highestBlock: 2,
  levels: [3, 4],
  groups: [16, 16, 16],
};
export const ARM_16K: ArmGranule = {
  suffix: '16k',
  pages: 4,
  indexBits: 11,
  highestBlock: 1,
  levels: [3, 4],
  groups: [128, 32],
};
export const ARM_64K: ArmGranule = {
  suffix: '64k',
  pages: 16,
  indexBits: 13,
  highestBlock: 1,
  levels: [2, 3],
  groups: [32, 32],
};

/** Of the high word. */
export const DIRTY_MODIFIER = 1 << 19;
const CONTIGUOUS = 1 << 20;
/** Pages of a 48-bit address space. */
const ADDRESS_SPACE_PAGES = 2 ** 36;
/** Bits 47:32 of an address in the high word. */
const ADDRESS_HIGH = 0xffff;
const VALID = 1;
const TABLE_OR_PAGE = 2;

/** Of tables of 4 KiB. */
export const ARM_USUAL_ENTRIES: UsualEntries = {
  tableMask: VALID | TABLE_OR_PAGE,
  tableBits: VALID | TABLE_OR_PAGE,
  leafMask: VALID | TABLE_OR_PAGE,
  leafBits: VALID | TABLE_OR_PAGE,
  pageShift: 12,
  highLimit: 1 << 11,
};

export function armPagesPerEntry({ pages, indexBits, levels }: ArmGranule): readonly number[] {
  return Array.from({ length: levels.at(-1)! + 1 }, (_, level) => pages * 2 ** (indexBits * level));
}

export function armPageLimit(granule: ArmGranule, levels: number): number {
  return Math.min(armPagesPerEntry(granule)[levels]!, ADDRESS_SPACE_PAGES);
}

export function armLeafSizes(granule: ArmGranule): readonly number[] {
  return armPagesPerEntry(granule).slice(0, granule.highestBlock + 1);
}

export function isArmPresent(low: number): boolean {
  return (low & VALID) !== 0;
}

export function isArmLeaf(low: number, level: number): boolean {
  return level === 0 || (low & TABLE_OR_PAGE) === 0;
}

/** Of a present entry: a block stands where blocks may, and level 0 holds pages only. */
export function isArmValid(granule: ArmGranule, low: number, level: number): boolean {
  const block = (low & TABLE_OR_PAGE) === 0;
  return level === 0 ? !block : !block || level <= granule.highestBlock;
}

/** Of a valid leaf: the pages that its Contiguous bit says to lie side by side, or its own. */
export function armGroupPages({ pages, indexBits, groups }: ArmGranule, high: number, level: number): number {
  const span = pages * 2 ** (indexBits * level);
  return (high & CONTIGUOUS) === 0 ? span : span * groups[level]!;
}

/** The page of a table or leaf; address bits below its size are ignored. */
export function armTarget(low: number, high: number, span: number): number {
  const page = addressPage(low, high & ADDRESS_HIGH);
  return page - (page % span);
}

export function armLeafLow(physPage: number, level: number, attributes: number): number {
  return (addressLow(physPage) | VALID | (level === 0 ? TABLE_OR_PAGE : 0) | attributes) >>> 0;
}

export function armTableLow(tablePage: number): number {
  return (addressLow(tablePage) | VALID | TABLE_OR_PAGE) >>> 0;
}
