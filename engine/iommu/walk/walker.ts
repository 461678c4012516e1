/**
 * The functional page walk: tables of any format read bit by bit from memory (VT-d specification 3.6 and 3.7, AMD
 * specification 48882, 2.2.3). It says what a translation is and which entries were read; when it is finished is the matter
 * of iommu.ts.
 * Leaves out: nested translation; the reserved address bits above the width of the host.
 */
import type { PhysicalMemory } from '../../memory/physicalMemory.ts';
import {
  FAULT_ADDRESS_BEYOND_WIDTH,
  FAULT_READ_NOT_ALLOWED,
  FAULT_RESERVED_BITS,
  FAULT_WRITE_NOT_ALLOWED,
  NO_FAULT,
} from '../faults.ts';
import {
  entryIndex,
  PAGES_PER_ENTRY,
  READ,
  READ_WRITE,
  tableIndex,
  WRITE,
  type PageTableFormat,
} from '../formats/pageTableFormat.ts';
import type { PagingStructureCache } from '../caches/pagingStructureCache.ts';

const LOWER_LEVELS_MASK = 512 ** 3 - 1;
/** The IOTLB's largest pages, and the highest tables that paging-structure caches point at: 1 GiB leaves, 512 GiB tables. */
const HIGHEST_CACHED_LEVEL = 2;
/** No table to look into again. */
export const UNKNOWN_TABLE = -1;

/**
 * What hardware does about a leaf's accessed and dirty bits: nothing; refuse an access for which they are not set; or set them.
 */
export type AccessBits = 'ignored' | 'checked' | 'updated';

export class Walker {
  readonly format: PageTableFormat;
  private readonly memory: PhysicalMemory;
  readonly accessBits: AccessBits;
  /** Tables that are not one page of 512 entries, or whose root is not. */
  private readonly otherTables: boolean;
  /** Level of the root of the tables that are walked; a root may have more entries than the tables below it. */
  topLevel = 0;
  /**
   * Of the last walk: 0 or a fault reason; entries read; the size class of the translation (0 4 KiB, 1 2 MiB, 2 1 GiB: the
   * largest that lies within the leaf), its first page, the table of its entry and the combined permissions, 0 where the walk
   * found no leaf.
   */
  fault = NO_FAULT;
  reads = 0;
  level = 0;
  leafPage = 0;
  leafTable = 0;
  permissions = 0;

  constructor(memory: PhysicalMemory, format: PageTableFormat, accessBits: AccessBits = 'ignored') {
    this.memory = memory;
    this.format = format;
    this.accessBits = accessBits;
    this.otherTables = format.granulePages > 1 || format.rootTables > 1;
  }

  /**
   * Walks from a table of level `startLevel`, which is the root's or one that a paging-structure cache knew, with the
   * permissions of the entries above it. Tables on the way are given to `caches`. True when there is a leaf that allows the
   * access.
   */
  walk(
    domainId: number,
    iovaPage: number,
    write: boolean,
    startTable: number,
    startLevel: number,
    startPermissions: number,
    caches: PagingStructureCache | null,
  ): boolean {
    const { memory, format } = this;
    let table = startTable;
    let permissions = startPermissions;
    this.reads = 0;
    this.permissions = 0;
    // The three lower indices share one 32-bit integer, which keeps divisions out of the walk.
    const lower = iovaPage & LOWER_LEVELS_MASK;
    for (let level = startLevel; level >= 0; level -= 1) {
      let index = level < 3 ? (lower >>> (9 * level)) & 511 : tableIndex(iovaPage, level);
      let page = table;
      if (this.otherTables) {
        index = entryIndex(format, iovaPage, level, level === this.topLevel);
        page = table + (index >>> 9);
        index &= 511;
      }
      const word = memory.locate(page) + index * 2;
      const low = memory.words[word]!;
      const high = memory.words[word + 1]!;
      this.reads += 1;
      const own = format.permissions(low, high, level);
      if (own === 0) return this.refuse(write);
      permissions &= own;
      if (!format.isValid(low, high, level)) {
        this.fault = FAULT_RESERVED_BITS;
        return false;
      }
      const target = format.target(low, high, level);
      if (format.isLeaf(low, level)) {
        this.found(iovaPage, level, target, format.leafPages(low, high, level), table);
        this.permissions = permissions;
        if ((permissions & (write ? WRITE : READ)) === 0) return this.refuse(write);
        if (this.accessBits !== 'ignored' && !this.noteAccess(page, index, low, write)) return this.refuse(write);
        this.fault = NO_FAULT;
        return true;
      }
      table = target;
      if (caches !== null && level <= HIGHEST_CACHED_LEVEL + 1) {
        caches.fill(domainId, iovaPage, level - 1, table, permissions);
      }
    }
    return this.refuse(write);
  }

  /** A walk from the root of a domain. */
  walkFromRoot(domainId: number, iovaPage: number, write: boolean, rootTable: number, levels: number): boolean {
    if (!this.format.translates(iovaPage, levels)) {
      this.reads = 0;
      this.fault = FAULT_ADDRESS_BEYOND_WIDTH;
      return false;
    }
    this.topLevel = levels - 1;
    return this.walk(domainId, iovaPage, write, rootTable, levels - 1, READ_WRITE, null);
  }

  /** Whether the entry of a leaf still says what it said when it was read from this table. */
  stillMapped(iovaPage: number, level: number, leafPage: number, leafTable: number): boolean {
    if (leafTable === UNKNOWN_TABLE) return true;
    const { memory, format } = this;
    const word = memory.locate(leafTable) + tableIndex(iovaPage, level) * 2;
    const low = memory.words[word]!;
    const high = memory.words[word + 1]!;
    if (format.permissions(low, high, level) === 0) return false;
    const target = format.target(low, high, level);
    if (target === leafPage) return true;
    return firstOfClass(iovaPage, level, target, format.leafPages(low, high, level)) === leafPage;
  }

  /** The physical page of a page inside the leaf that was found. */
  physPage(iovaPage: number): number {
    return this.level === 0 ? this.leafPage : this.leafPage + (iovaPage & (PAGES_PER_ENTRY[this.level]! - 1));
  }

  private found(iovaPage: number, level: number, target: number, pages: number, table: number): void {
    this.leafTable = table;
    this.level = level;
    this.leafPage = target;
    if (this.format.granulePages > 1) {
      // the IOTLB's page sizes are other than these tables': the largest that fits, whose entry cannot be found again by its size
      this.level = pages >= PAGES_PER_ENTRY[2]! ? 2 : pages >= PAGES_PER_ENTRY[1]! ? 1 : 0;
      this.leafTable = UNKNOWN_TABLE;
    } else if (level > HIGHEST_CACHED_LEVEL) {
      // such a leaf is cached in pieces of 1 GiB, whose entry cannot be found again by their size
      this.level = HIGHEST_CACHED_LEVEL;
      this.leafTable = UNKNOWN_TABLE;
    }
    if (pages !== PAGES_PER_ENTRY[this.level]) this.leafPage = firstOfClass(iovaPage, this.level, target, pages);
  }

  /** Whether the accessed and dirty bits are as the access asks, by now. */
  private noteAccess(table: number, index: number, low: number, write: boolean): boolean {
    const { accessedBit, dirtyBit } = this.format;
    const wanted = accessedBit | (write ? dirtyBit : 0);
    if ((low & wanted) === wanted) return true;
    if (this.accessBits === 'checked') return false;
    this.memory.writeWord(table, index * 2, (low | wanted) >>> 0);
    return true;
  }

  private refuse(write: boolean): false {
    this.fault = write ? FAULT_WRITE_NOT_ALLOWED : FAULT_READ_NOT_ALLOWED;
    return false;
  }
}

/** Of a leaf, the first page of the piece of a size class that holds an IOVA page. */
function firstOfClass(iovaPage: number, level: number, target: number, pages: number): number {
  const inLeaf = iovaPage % pages;
  return target + inLeaf - (inLeaf % PAGES_PER_ENTRY[level]!);
}
