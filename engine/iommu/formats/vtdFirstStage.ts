/**
 * VT-d first-stage page tables, which are those of x86-64 processors (VT-d specification 3.6 and 9.7, first-stage paging
 * entries; Linux drivers/iommu/generic_pt/fmt/x86_64.h).
 *
 * | bit   | name | meaning                                                              |
 * | ----- | ---- | -------------------------------------------------------------------- |
 * | 0     | P    | present, and read allowed                                            |
 * | 1     | R/W  | write allowed                                                        |
 * | 2     | U/S  | user access: needed, since requests of devices are user requests     |
 * | 5     | A    | accessed, in tables' entries too: Linux sets it beforehand           |
 * | 6     | D    | dirty: Linux sets it beforehand in leaves that may be written        |
 * | 7     | PS   | leaf at level 1 (2 MiB) or level 2 (1 GiB)                           |
 * | 12    | PAT  | of a leaf with PS: memory type, no part of the address               |
 * | 51:12 | ADDR | page of the next table, or of the leaf                               |
 * | 63    | XD   | execute disable                                                      |
 *
 * 4 levels cover 48 bits, 5 levels 57. Addresses are sign-extended: the bits above equal the top bit. A domain for DMA uses the lower half
 * only, one bit less. Permissions are those of every entry on the way, combined. Hardware sets A and D whenever they are not.
 * Leaves out: PWT, PCD, G, the extended-accessed bit, supervisor requests.
 */
import {
  addressHigh,
  addressLow,
  addressPage,
  isSignExtended,
  PAGES_PER_ENTRY,
  PLAIN_ENTRIES,
  pageTableFormat,
  READ,
  READ_WRITE,
  WRITE,
  type PageTableFormat,
} from './pageTableFormat.ts';
import { isAligned } from './vtdSecondStage.ts';

const PRESENT = 1 << 0;
const READ_WRITE_BIT = 1 << 1;
const USER = 1 << 2;
const USER_PRESENT = USER | PRESENT;
const ACCESSED = 1 << 5;
const DIRTY = 1 << 6;
const PAGE_SIZE_BIT = 1 << 7;
const MEMORY_TYPE = 1 << 12;

/** Of which AMD v2 is a variant. */
export const FIRST_STAGE_DESCRIPTION: PageTableFormat = {
  ...PLAIN_ENTRIES,
  name: 'vtd-first-stage',
  stage: 1,
  levels: [4, 5],
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
    tableMask: USER_PRESENT | READ_WRITE_BIT | PAGE_SIZE_BIT,
    tableBits: USER_PRESENT | READ_WRITE_BIT,
    leafMask: 0,
    leafBits: 0,
    pageShift: 12,
    highLimit: 1 << 11,
  },
  pageLimit: (levels) => PAGES_PER_ENTRY[levels]! / 2,
  translates: (page, levels) => isSignExtended(page, PAGES_PER_ENTRY[levels]! / 2),
  permissions: (low) => {
    if ((low & USER_PRESENT) !== USER_PRESENT) return 0;
    return (low & READ_WRITE_BIT) === 0 ? READ : READ_WRITE;
  },
  isLeaf: (low, level) => level === 0 || (low & PAGE_SIZE_BIT) !== 0,
  leafPages: (_low, _high, level) => PAGES_PER_ENTRY[level]!,
  target: (low, high, level) => addressPage(withoutMemoryType(low, level), high),
  isValid: (low, high, level) => isAligned(withoutMemoryType(low, level), high, level),
  leafLow: (physPage, level, _pages, permissions) => {
    const write = (permissions & WRITE) === 0 ? 0 : READ_WRITE_BIT | DIRTY;
    return (addressLow(physPage) | PRESENT | USER | ACCESSED | write | (level > 0 ? PAGE_SIZE_BIT : 0)) >>> 0;
  },
  leafHigh: addressHigh,
  tableLow: (tablePage) => (addressLow(tablePage) | PRESENT | READ_WRITE_BIT | USER | ACCESSED) >>> 0,
  tableHigh: addressHigh,
};

export const VTD_FIRST_STAGE = pageTableFormat(FIRST_STAGE_DESCRIPTION);

/** The low word with bit 12 clear where it is no part of the address. */
function withoutMemoryType(low: number, level: number): number {
  return level > 0 && (low & PAGE_SIZE_BIT) !== 0 ? low & ~MEMORY_TYPE : low;
}
