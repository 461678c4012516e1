/**
 * VT-d second-stage page tables: the bits of an entry (VT-d specification 3.7.1 and 9.8, second-stage paging entries).
 *
 * | bit   | name | meaning                                                              |
 * | ----- | ---- | -------------------------------------------------------------------- |
 * | 0     | R    | read allowed                                                         |
 * | 1     | W    | write allowed; an entry is absent iff R and W are both 0             |
 * | 7     | PS   | leaf at level 1 (2 MiB) or level 2 (1 GiB)                           |
 * | 11    | SNP  | force snoop                                                          |
 * | 51:12 | ADDR | page of the next table, or of the leaf                               |
 *
 * Tables are 512 entries of 8 bytes; an entry is two 32-bit words here, low first. Level 0 holds 4 KiB leaves; 3 levels
 * cover 39 bits of IOVA, 4 levels 48. Permissions are those of every entry on the way, combined.
 * Leaves out: 5 levels, EMT and IPAT (memory types), A and D (scalable mode only).
 */
export const SECOND_STAGE_READ = 1 << 0;
export const SECOND_STAGE_WRITE = 1 << 1;
export const SECOND_STAGE_PAGE_SIZE = 1 << 7;
export const SECOND_STAGE_PERMISSIONS = SECOND_STAGE_READ | SECOND_STAGE_WRITE;

export const ENTRIES_PER_TABLE = 512;
/** The highest level that may hold a leaf: 1 GiB. */
export const HIGHEST_LEAF_LEVEL = 2;

const LOW_PAGES = 2 ** 20;
const ADDRESS_HIGH_MASK = 0xf_ffff;

/** Pages that one entry of a level spans: 1, 512, 512^2, 512^3. */
export const PAGES_PER_ENTRY: readonly number[] = [1, 512, 512 ** 2, 512 ** 3];

/** Index of a page's entry in its table at this level. */
export function secondStageIndex(iovaPage: number, level: number): number {
  return (iovaPage / PAGES_PER_ENTRY[level]!) & (ENTRIES_PER_TABLE - 1);
}

/** The page that an entry points at, from its two words. */
export function secondStageTarget(low: number, high: number): number {
  return (low >>> 12) + (high & ADDRESS_HIGH_MASK) * LOW_PAGES;
}

export function secondStagePresent(low: number): boolean {
  return (low & SECOND_STAGE_PERMISSIONS) !== 0;
}

/** Whether a present entry of this level maps memory rather than pointing at a table. */
export function secondStageIsLeaf(low: number, level: number): boolean {
  return level === 0 || (low & SECOND_STAGE_PAGE_SIZE) !== 0;
}

/** IOVA pages that tables of this many levels can hold, by the number of levels. */
export const SECOND_STAGE_PAGES: readonly number[] = [1, 512, 512 ** 2, 512 ** 3, 512 ** 4];
