/**
 * VT-d second-stage page tables: the bits of an entry (VT-d specification 3.7.1 and 9.8, second-stage paging entries).
 *
 * | bit   | name | meaning                                                              |
 * | ----- | ---- | -------------------------------------------------------------------- |
 * | 0     | R    | read allowed                                                         |
 * | 1     | W    | write allowed; an entry is absent iff R and W are both 0             |
 * | 7     | PS   | leaf at level 1 (2 MiB) or level 2 (1 GiB)                           |
 * | 8     | A    | accessed, in scalable mode where the PASID entry asks for it (SSADE) |
 * | 9     | D    | of a leaf: dirty, likewise                                           |
 * | 11    | SNP  | of a leaf: force snoop; reserved in an entry that points at a table  |
 * | 51:12 | ADDR | page of the next table, or of the leaf                               |
 * | 62    |      | reserved; until revision 3.2 of the specification it was TM          |
 *
 * 3 levels cover 39 bits of IOVA, 4 levels 48, 5 levels 57. Permissions are those of every entry on the way, combined.
 * Leaves out: EMT and IPAT (memory types).
 */
import {
  addressHigh,
  addressLow,
  addressPage,
  PAGES_PER_ENTRY,
  PLAIN_ENTRIES,
  pageTableFormat,
  READ_WRITE,
} from './pageTableFormat.ts';

const PAGE_SIZE_BIT = 1 << 7;
const ACCESSED = 1 << 8;
const DIRTY = 1 << 9;
const SNOOP = 1 << 11;
/** Bit 62, in the high word. */
const RESERVED = 1 << 30;
/** The highest level that may hold a leaf: 1 GiB. */
const HIGHEST_LEAF_LEVEL = 2;

/** R and W are bits 0 and 1, as READ and WRITE are. */
export const VTD_SECOND_STAGE = pageTableFormat({
  ...PLAIN_ENTRIES,
  name: 'vtd-second-stage',
  stage: 2,
  levels: [3, 4, 5],
  dynamicTop: false,
  granulePages: 1,
  rootTables: 1,
  pagesPerEntry: PAGES_PER_ENTRY,
  leafSizes: [1, 512, 512 ** 2],
  accessedBit: ACCESSED,
  dirtyBit: DIRTY,
  dirtyValue: DIRTY,
  tableAccessedBit: ACCESSED,
  usual: {
    tableMask: READ_WRITE | PAGE_SIZE_BIT | SNOOP,
    tableBits: READ_WRITE,
    leafMask: 0,
    leafBits: 0,
    pageShift: 12,
    highLimit: 1 << 11,
  },
  pageLimit: (levels) => PAGES_PER_ENTRY[levels]!,
  translates: (page, levels) => page < PAGES_PER_ENTRY[levels]!,
  permissions: (low) => low & READ_WRITE,
  isLeaf: (low, level) => level === 0 || (low & PAGE_SIZE_BIT) !== 0,
  leafPages: (_low, _high, level) => PAGES_PER_ENTRY[level]!,
  target: addressPage,
  isValid: (low, high, level) => {
    if ((high & RESERVED) !== 0) return false;
    if (level === 0) return true;
    return (low & PAGE_SIZE_BIT) === 0 ? (low & SNOOP) === 0 : isAligned(low, high, level);
  },
  leafLow: (physPage, level, _pages, permissions) =>
    (addressLow(physPage) | permissions | (level > 0 ? PAGE_SIZE_BIT : 0)) >>> 0,
  leafHigh: addressHigh,
  tableLow: (tablePage) => (addressLow(tablePage) | READ_WRITE) >>> 0,
  tableHigh: addressHigh,
});

/** A large leaf stands at a level that has one, on its own boundary. Shared with the first stage. */
export function isAligned(low: number, high: number, level: number): boolean {
  if (level === 0 || (low & PAGE_SIZE_BIT) === 0) return true;
  return level <= HIGHEST_LEAF_LEVEL && (addressPage(low, high) & (PAGES_PER_ENTRY[level]! - 1)) === 0;
}
