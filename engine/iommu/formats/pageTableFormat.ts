/**
 * What a page-table format is: data and a few small functions on one entry, which is two 32-bit words, low first. Tables of
 * all formats here have 512 entries of 8 bytes; level 0 holds 4 KiB leaves. The walker and the generic page-table code work over any
 * format. Sizes and places are pages of 4 KiB.
 * Leaves out: granules other than 4 KiB.
 */

/** Permissions as this emulator writes them, whatever bits a format uses. */
export const READ = 1;
export const WRITE = 2;
export const READ_WRITE = READ | WRITE;

export const ENTRIES_PER_TABLE = 512;
/** Bits 51:32 of an address lie in the low 20 bits of the high word. */
const ADDRESS_HIGH_MASK = 0xf_ffff;
const LOW_PAGES = 2 ** 20;

/** Pages that one entry of a level spans, by level: 1, 512, 512^2 ... */
export const PAGES_PER_ENTRY: readonly number[] = [1, 512, 512 ** 2, 512 ** 3, 512 ** 4, 512 ** 5, 512 ** 6];

export type PageTableFormatName = 'vtd-second-stage' | 'vtd-first-stage' | 'amd-v1' | 'riscv-sv';

export interface PageTableFormat {
  readonly name: PageTableFormatName;
  /** Levels that a root may have; where the top is dynamic, tables begin with the first and grow to the last as needed. */
  readonly levels: readonly number[];
  readonly dynamicTop: boolean;
  /** Leaf sizes, ascending powers of two. */
  readonly leafSizes: readonly number[];
  /** Bits of a leaf's low word that tell of an access, and of a write; 0: the format has none. */
  readonly accessedBit: number;
  readonly dirtyBit: number;
  /** One past the last page that tables of so many levels map; of signed addresses, in the lower half. */
  pageLimit(levels: number): number;
  /** Whether tables of so many levels translate a page: one below the limit, or in the upper half of signed addresses. */
  translates(page: number, levels: number): boolean;
  /** READ and WRITE; 0 where nothing is present. */
  permissions(low: number, high: number): number;
  /** Of a present entry: whether it maps memory rather than pointing at a table. */
  isLeaf(low: number, level: number): boolean;
  /** Of a leaf: the pages that it maps; more than an entry spans where equal entries stand side by side. */
  leafPages(low: number, high: number, level: number): number;
  /** Of a leaf: the first page that it maps. Of another entry: the page of the table. */
  target(low: number, high: number): number;
  /** Of a leaf: whether its reserved bits are clear. Of another entry: whether it points at a table of the level below. */
  isValid(low: number, high: number, level: number): boolean;
  leafLow(physPage: number, level: number, pages: number, permissions: number): number;
  leafHigh(physPage: number, level: number, pages: number, permissions: number): number;
  /** An entry of this level that points at a table. */
  tableLow(tablePage: number, level: number): number;
  tableHigh(tablePage: number): number;
}

/** Index of a page's entry in its table at this level. */
export function tableIndex(page: number, level: number): number {
  return (page / PAGES_PER_ENTRY[level]!) & (ENTRIES_PER_TABLE - 1);
}

/** The page number in bits 51:12 of an entry. */
export function addressPage(low: number, high: number): number {
  return (low >>> 12) + (high & ADDRESS_HIGH_MASK) * LOW_PAGES;
}

/** Bits 31:12 of an entry that holds a page number. */
export function addressLow(page: number): number {
  // a shift takes a number modulo 2^32 and drops what rises above it: no division needed
  return page << 12;
}

/** Bits 51:32 of an entry that holds a page number. */
export function addressHigh(page: number): number {
  return Math.floor(page / LOW_PAGES);
}
