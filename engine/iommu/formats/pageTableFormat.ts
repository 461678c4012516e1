/**
 * What a page-table format is: data and a few small functions on one entry, which is two 32-bit words, low first. Level 0 holds the
 * smallest leaves. Most formats have tables of 512 entries and leaves of 4 KiB; Arm's also come with granules of 16 and 64 KiB,
 * whose tables lie in as many pages side by side. The walker works over any format, the kernel's page-table code over those of 4 KiB.
 * Sizes and places are pages of 4 KiB.
 */

/** Permissions as this emulator writes them, whatever bits a format uses. */
export const READ = 1;
export const WRITE = 2;
export const READ_WRITE = READ | WRITE;

export const ENTRIES_PER_TABLE = 512;
/** Bits 51:32 of an address lie in the low 20 bits of the high word. */
const ADDRESS_HIGH_MASK = 0xf_ffff;
const LOW_PAGES = 2 ** 20;
/** One past the last page of a 64-bit address. */
const ADDRESS_SPACE_PAGES = 2 ** 52;

/** Pages that one entry of a level spans, by level: 1, 512, 512^2 ... */
export const PAGES_PER_ENTRY: readonly number[] = [1, 512, 512 ** 2, 512 ** 3, 512 ** 4, 512 ** 5, 512 ** 6];

export type PageTableFormatName =
  | 'vtd-second-stage'
  | 'vtd-first-stage'
  | 'amd-v1'
  | 'amd-v2'
  | 'riscv-sv'
  | 'riscv-svx4'
  | `arm-stage${1 | 2}-${'4k' | '16k' | '64k'}`;

/**
 * What nearly all entries of a format look like, in bits of the low word; the high word has nothing but address bits then. Whoever walks
 * many tables takes such entries at a glance, and leaves all others to the functions of the format.
 */
export interface UsualEntries {
  /** An entry above level 0 with `tableBits` under `tableMask` is a valid pointer to a table of the level below, and allows everything. */
  readonly tableMask: number;
  readonly tableBits: number;
  /** One of level 0 with `leafBits` under `leafMask` is a valid leaf of one page, if its permissions are not 0. */
  readonly leafMask: number;
  readonly leafBits: number;
  /** Where page numbers begin, and the limit of the high word under which they are below 2^31. */
  readonly pageShift: number;
  readonly highLimit: number;
}

export interface PageTableFormat {
  readonly name: PageTableFormatName;
  /** 1: of a process or a domain, as processors have them. 2: of a machine or a guest. */
  readonly stage: 1 | 2;
  /** Levels that a root may have; where the top is dynamic, tables begin with the first and grow to the last as needed. */
  readonly levels: readonly number[];
  readonly dynamicTop: boolean;
  /** Pages of a table below the root and of the smallest leaf: 1, or 4 and 16 for granules of 16 and 64 KiB. */
  readonly granulePages: number;
  /** Tables side by side that a root may have: indices of the top level run through all of them. */
  readonly rootTables: number;
  /** Pages that one entry spans, by level; of the level above the top, what a root of one table spans. */
  readonly pagesPerEntry: readonly number[];
  /** Leaf sizes, ascending powers of two. */
  readonly leafSizes: readonly number[];
  /** Bits of a leaf's low word that tell of an access, and of a write; 0: the format has none. `dirtyValue`: what the latter is then. */
  readonly accessedBit: number;
  readonly dirtyBit: number;
  readonly dirtyValue: number;
  /** A bit of the high word: only leaves with it have a dirty bit, and allow the first write, which changes it. 0: all have one. */
  readonly dirtyModifier: number;
  /** Of entries that point at tables: the bit that tells that a walk came by; 0: none. */
  readonly tableAccessedBit: number;
  /** Whether an entry may point at a table that is not of the level below; `tableLevel` says of which. */
  readonly skipsLevels: boolean;
  /** Whether an entry may say that its neighbours lie side by side with it, as hints that caches may use or not. */
  readonly hintsAtGroups: boolean;
  /** Null: the low word alone does not tell. */
  readonly usual: UsualEntries | null;
  /** One past the last page that tables of so many levels map; of signed addresses, in the lower half. */
  pageLimit(levels: number): number;
  /** Whether tables of so many levels translate a page: one below the limit, or in the upper half of signed addresses. */
  translates(page: number, levels: number): boolean;
  /** READ and WRITE; 0 where nothing is present, or nobody may pass. */
  permissions(low: number, high: number, level: number): number;
  /** Of a present entry: whether it maps memory rather than pointing at a table. */
  isLeaf(low: number, level: number): boolean;
  /** Of a leaf: the pages that it maps; more than an entry spans where equal entries stand side by side. */
  leafPages(low: number, high: number, level: number): number;
  /** Of a leaf: the first page that it maps. Of another entry: the page of the table. */
  target(low: number, high: number, level: number): number;
  /** Of a leaf: whether its reserved bits are clear. Of another entry: whether it points at a table of the level below. */
  isValid(low: number, high: number, level: number): boolean;
  tableLevel(low: number, level: number): number;
  /** Of a leaf: the pages of its group; its own where it hints at none. */
  groupPages(low: number, high: number, level: number): number;
  leafLow(physPage: number, level: number, pages: number, permissions: number): number;
  leafHigh(physPage: number, level: number, pages: number, permissions: number): number;
  /** An entry of this level that points at a table. */
  tableLow(tablePage: number, level: number): number;
  tableHigh(tablePage: number): number;
}

/** What most formats do without. */
export const PLAIN_ENTRIES = {
  dirtyModifier: 0,
  tableAccessedBit: 0,
  skipsLevels: false,
  hintsAtGroups: false,
  usual: null,
  tableLevel: (_low: number, level: number): number => level - 1,
  groupPages: (): number => 1,
} as const satisfies Partial<PageTableFormat>;

/**
 * A format from its description. Its functions move to a prototype: of an object's own functions the engine knows only at the call which they
 * are, and a process that walks tables of two formats would pay for every entry.
 */
export function pageTableFormat(description: PageTableFormat): PageTableFormat {
  const functions: Record<string, unknown> = {};
  const data: Record<string, unknown> = {};
  for (const [name, member] of Object.entries(description)) {
    if (typeof member === 'function') functions[name] = member;
    else data[name] = member;
  }
  return Object.assign(Object.create(functions), data) as PageTableFormat;
}

/** The same with leaves of the smallest size only, as on hardware that has no larger ones, or under a kernel that is told not to use them. */
export function withSmallestLeaves(format: PageTableFormat): PageTableFormat {
  const functions = Object.getPrototypeOf(format) as object;
  return Object.assign(Object.create(functions), format, {
    leafSizes: format.leafSizes.slice(0, 1),
  }) as PageTableFormat;
}

/** Index of a page's entry in its table at this level. */
export function tableIndex(page: number, level: number): number {
  return (page / PAGES_PER_ENTRY[level]!) & (ENTRIES_PER_TABLE - 1);
}

/** The same for any format. The root may hold more entries than other tables, so the top index is not cut off. */
export function entryIndex(format: PageTableFormat, page: number, level: number, top: boolean): number {
  const { pagesPerEntry } = format;
  const index = Math.floor(page / pagesPerEntry[level]!);
  return top ? index : index % (pagesPerEntry[level + 1]! / pagesPerEntry[level]!);
}

/** Whether a page of a 64-bit address has nothing but copies of its top bit above; `half`: the pages of the lower half. */
export function isSignExtended(page: number, half: number): boolean {
  return page < half || (page >= ADDRESS_SPACE_PAGES - half && page < ADDRESS_SPACE_PAGES);
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
