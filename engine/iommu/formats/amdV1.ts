/**
 * AMD v1 page tables, of AMD's I/O virtualization technology (AMD specification 48882, 2.2.3; Linux
 * drivers/iommu/generic_pt/fmt/amdv1.h).
 *
 * | bit   | name      | meaning                                                              |
 * | ----- | --------- | -------------------------------------------------------------------- |
 * | 0     | PR        | present                                                              |
 * | 5     | A         | accessed, where the device table entry asks for it (HAD)             |
 * | 6     | D         | of a leaf: dirty, likewise                                           |
 * | 11:9  | NextLevel | level of the table it points at, counted from 1; 0: a leaf of the    |
 * |       |           | level's own size; 7: a leaf whose size the address says              |
 * | 51:12 | ADDR      | page of the next table, or of the leaf                               |
 * | 60    | FC        | force coherence                                                      |
 * | 61    | IR        | read allowed                                                         |
 * | 62    | IW        | write allowed                                                        |
 *
 * With NextLevel 7 the address field of a leaf of 2^n pages ends in n - 1 ones behind a zero, and the entry stands in all
 * places that the leaf covers. The sixth level has no leaves. Every power of two from 4 KiB to 2^51 bytes is a size, but for 512 GiB. Tables grow from
 * 3 levels to 6 as addresses ask for it; IOVAs have 64 bits. Permissions are those of every entry on the way, combined.
 * NextLevel may be lower than the level below: the levels between are skipped, and an address whose bits for them are not all zero faults.
 * Linux writes no such tables, and leaves without A and D.
 */
import {
  ENTRIES_PER_TABLE,
  addressHigh,
  addressLow,
  addressPage,
  PAGES_PER_ENTRY,
  PLAIN_ENTRIES,
  pageTableFormat,
  READ_WRITE,
} from './pageTableFormat.ts';

const PRESENT = 1 << 0;
const ACCESSED = 1 << 5;
const DIRTY = 1 << 6;
const NEXT_LEVEL_SHIFT = 9;
const NEXT_LEVEL_MASK = 7;
const SIZE_IN_ADDRESS = 7;
/** Bits 60, 61 and 62 in the high word. */
const FORCE_COHERENCE = 1 << 28;
const PERMISSION_SHIFT = 29;
const LARGEST_LEAF_EXPONENT = 51 - 12;
const MISSING_LEAF_EXPONENT = 39 - 12;
/** Pages of a 64-bit address space. */
const ADDRESS_SPACE_PAGES = 2 ** 52;
const HIGHEST_LEAF_LEVEL = 4;

const LEAF_SIZES = Array.from({ length: LARGEST_LEAF_EXPONENT + 1 }, (_, exponent) => 2 ** exponent).filter(
  (pages) => pages !== 2 ** MISSING_LEAF_EXPONENT,
);

export const AMD_V1 = pageTableFormat({
  ...PLAIN_ENTRIES,
  name: 'amd-v1',
  stage: 2,
  levels: [3, 4, 5, 6],
  dynamicTop: true,
  granulePages: 1,
  rootTables: 1,
  pagesPerEntry: PAGES_PER_ENTRY,
  leafSizes: LEAF_SIZES,
  accessedBit: ACCESSED,
  dirtyBit: DIRTY,
  dirtyValue: DIRTY,
  skipsLevels: true,
  pageLimit: (levels) => Math.min(PAGES_PER_ENTRY[levels]!, ADDRESS_SPACE_PAGES),
  translates: (page, levels) => page < Math.min(PAGES_PER_ENTRY[levels]!, ADDRESS_SPACE_PAGES),
  permissions: (low, high) => ((low & PRESENT) === 0 ? 0 : (high >>> PERMISSION_SHIFT) & READ_WRITE),
  isLeaf: (low) => nextLevel(low) === 0 || nextLevel(low) === SIZE_IN_ADDRESS,
  leafPages: (low, high, level) =>
    nextLevel(low) === SIZE_IN_ADDRESS ? sizeInAddress(addressPage(low, high)) : PAGES_PER_ENTRY[level]!,
  target: (low, high) => {
    const page = addressPage(low, high);
    return nextLevel(low) === SIZE_IN_ADDRESS ? page - (page % sizeInAddress(page)) : page;
  },
  isValid: (low, high, level) => {
    const next = nextLevel(low);
    const span = PAGES_PER_ENTRY[level]!;
    if (next !== 0 && next !== SIZE_IN_ADDRESS) return next <= level;
    if (level > HIGHEST_LEAF_LEVEL) return false;
    if (next === 0) return addressPage(low, high) % span === 0;
    const pages = sizeInAddress(addressPage(low, high));
    return pages > span && pages < span * ENTRIES_PER_TABLE;
  },
  tableLevel: (low) => nextLevel(low) - 1,
  leafLow: (physPage, level, pages) => {
    const own = pages === PAGES_PER_ENTRY[level]!;
    const address = own ? physPage : physPage + pages / 2 - 1;
    const next = own ? 0 : SIZE_IN_ADDRESS << NEXT_LEVEL_SHIFT;
    return (addressLow(address) | PRESENT | next) >>> 0;
  },
  leafHigh: (physPage, level, pages, permissions) => {
    const address = pages === PAGES_PER_ENTRY[level]! ? physPage : physPage + pages / 2 - 1;
    return (addressHigh(address) | FORCE_COHERENCE | (permissions << PERMISSION_SHIFT)) >>> 0;
  },
  tableLow: (tablePage, level) => (addressLow(tablePage) | PRESENT | (level << NEXT_LEVEL_SHIFT)) >>> 0,
  tableHigh: (tablePage) => (addressHigh(tablePage) | (READ_WRITE << PERMISSION_SHIFT)) >>> 0,
});

function nextLevel(low: number): number {
  return (low >>> NEXT_LEVEL_SHIFT) & NEXT_LEVEL_MASK;
}

/** Pages of a leaf from its address field: twice the value of the lowest bit that is zero. */
function sizeInAddress(page: number): number {
  let pages = 2;
  let rest = page;
  while (rest % 2 === 1) {
    rest = (rest - 1) / 2;
    pages *= 2;
  }
  return pages;
}
