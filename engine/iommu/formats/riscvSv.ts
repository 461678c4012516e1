/**
 * RISC-V page tables, Sv39, Sv48 and Sv57, as first-stage tables of an IOMMU (RISC-V privileged architecture, 12.3 to 12.6, with the
 * extensions Svnapot and Svpbmt; RISC-V IOMMU specification 1.0, 3.3).
 *
 * | bit   | name | meaning                                                                        |
 * | ----- | ---- | ------------------------------------------------------------------------------ |
 * | 0     | V    | present                                                                        |
 * | 1     | R    | read allowed; an entry with R or X is a leaf, at any level                     |
 * | 2     | W    | write allowed; W without R is reserved                                         |
 * | 3     | X    | execute allowed                                                                |
 * | 4     | U    | user access: set, since requests without a privileged PASID are user requests  |
 * | 5     | G    | global                                                                         |
 * | 6     | A    | accessed                                                                       |
 * | 7     | D    | dirty                                                                          |
 * | 9:8   | RSW  | software                                                                       |
 * | 53:10 | PPN  | page of the next table, or of the leaf                                         |
 * | 60:54 |      | reserved                                                                       |
 * | 62:61 | PBMT | memory type of a leaf; 3 is reserved                                           |
 * | 63    | N    | of a level-0 leaf whose PPN ends in 1000: one of 16 entries that map 64 KiB    |
 *
 * Addresses are signed: the bits above the width equal the top bit. A pointer to a table has A, D, U, PBMT and N clear, and a leaf
 * stands on the boundary of its own size. Every leaf is writable only where it says so; nothing is combined on the way.
 * Leaves out: supervisor requests, execute requests, Svrsw60t59b.
 */
import {
  isSignExtended,
  PAGES_PER_ENTRY,
  PLAIN_ENTRIES,
  pageTableFormat,
  READ,
  READ_WRITE,
  WRITE,
  type PageTableFormat,
} from './pageTableFormat.ts';

const VALID = 1 << 0;
const READ_BIT = 1 << 1;
const WRITE_BIT = 1 << 2;
const EXECUTE = 1 << 3;
const USER = 1 << 4;
const ACCESSED = 1 << 6;
const DIRTY = 1 << 7;
const LEAF = READ_BIT | EXECUTE;
const PPN_SHIFT = 10;
const PPN_HIGH_MASK = 0x3f_ffff;
const LOW_PPN_BITS = 2 ** 22;
/** Bits 60:54 in the high word. */
const RESERVED = 0x1fc0_0000;
const PBMT_SHIFT = 29;
const PBMT_MASK = 3;
const PBMT_RESERVED = 3;
const NAPOT_SHIFT = 31;
const NAPOT_PAGES = 16;
const NAPOT_PATTERN = 8;

/** Of which the second stage is a variant. */
export const RISCV_DESCRIPTION: PageTableFormat = {
  ...PLAIN_ENTRIES,
  name: 'riscv-sv',
  stage: 1,
  levels: [3, 4, 5],
  dynamicTop: false,
  granulePages: 1,
  rootTables: 1,
  pagesPerEntry: PAGES_PER_ENTRY,
  leafSizes: [1, NAPOT_PAGES, 512, 512 ** 2],
  accessedBit: ACCESSED,
  dirtyBit: DIRTY,
  dirtyValue: DIRTY,
  usual: {
    tableMask: VALID | READ_BIT | WRITE_BIT | EXECUTE | USER | ACCESSED | DIRTY,
    tableBits: VALID,
    leafMask: VALID | READ_BIT | USER,
    leafBits: VALID | READ_BIT | USER,
    pageShift: PPN_SHIFT,
    highLimit: 1 << 9,
  },
  pageLimit: (levels) => PAGES_PER_ENTRY[levels]! / 2,
  translates: (page, levels) => isSignExtended(page, PAGES_PER_ENTRY[levels]! / 2),
  permissions: (low) => {
    if ((low & VALID) === 0) return 0;
    if ((low & LEAF) === 0) return READ_WRITE;
    return ((low & READ_BIT) === 0 ? 0 : READ) | ((low & WRITE_BIT) === 0 ? 0 : WRITE);
  },
  isLeaf: (low) => (low & LEAF) !== 0,
  leafPages: (_low, high, level) => (high >>> NAPOT_SHIFT === 1 ? NAPOT_PAGES : PAGES_PER_ENTRY[level]!),
  target: (low, high) => {
    const page = pageOf(low, high);
    return high >>> NAPOT_SHIFT === 1 ? page - (page % NAPOT_PAGES) : page;
  },
  isValid: (low, high, level) => {
    if ((high & RESERVED) !== 0 || (low & (READ_BIT | WRITE_BIT)) === WRITE_BIT) return false;
    const memoryType = (high >>> PBMT_SHIFT) & PBMT_MASK;
    const napot = high >>> NAPOT_SHIFT;
    if ((low & LEAF) === 0) return (low & (ACCESSED | DIRTY | USER)) === 0 && memoryType === 0 && napot === 0;
    if (memoryType === PBMT_RESERVED || (low & USER) === 0) return false;
    const page = pageOf(low, high);
    if (napot === 1) return level === 0 && page % NAPOT_PAGES === NAPOT_PATTERN;
    const pages = PAGES_PER_ENTRY[level]!;
    return page % pages === 0;
  },
  leafLow: (physPage, _level, pages, permissions) => {
    const page = pages === NAPOT_PAGES ? physPage + NAPOT_PATTERN : physPage;
    // W without R is reserved, so that what may be written may be read
    const write = (permissions & WRITE) === 0 ? 0 : WRITE_BIT | DIRTY;
    return ((page << PPN_SHIFT) | VALID | USER | ACCESSED | READ_BIT | write) >>> 0;
  },
  leafHigh: (physPage, _level, pages) =>
    (Math.floor(physPage / LOW_PPN_BITS) | (pages === NAPOT_PAGES ? 1 << NAPOT_SHIFT : 0)) >>> 0,
  tableLow: (tablePage) => ((tablePage << PPN_SHIFT) | VALID) >>> 0,
  tableHigh: (tablePage) => Math.floor(tablePage / LOW_PPN_BITS),
};

export const RISCV_SV = pageTableFormat(RISCV_DESCRIPTION);

function pageOf(low: number, high: number): number {
  return (low >>> PPN_SHIFT) + (high & PPN_HIGH_MASK) * LOW_PPN_BITS;
}
