/**
 * The functional page walk: tables of any format read bit by bit from memory (VT-d specification 3.6 and 3.7; AMD
 * specification 48882, 2.2; Arm DDI 0487, D8.2; RISC-V privileged architecture, 12.3.2). It says what a translation is and which entries were
 * read; when it is finished is the matter of iommu.ts. Where there is a second stage (nestedWalker.ts), every address that the first one
 * yields goes through it, and through the paging-structure caches of that stage's tables.
 * Leaves out: caches of the second stage's translations as a whole.
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
  type UsualEntries,
} from '../formats/pageTableFormat.ts';
import type { PagingStructureCache } from '../caches/pagingStructureCache.ts';
import { accessed, isDirty, written, type AccessBits } from './accessBits.ts';
import { firstOfClass, HIGHEST_CLASS, sizeClass } from './sizeClass.ts';

const LOWER_LEVELS_MASK = 512 ** 3 - 1;
/** A page number times this is what the levels above have for their indices. */
const UPPER_LEVELS = 512 ** -3;
/** Page numbers below it are integers to the machine that runs this, also after a shift. */
const NEAR_PAGES = 2 ** 31;
/** As many as six levels over six ever read, with every entry's accessed bit set on the way. */
const LOGGED_READS = 128;
/** The most bits of an address that entries have room for, RISC-V's. */
const ENTRY_ADDRESS_BITS = 56;
const PAGE_SHIFT = 12;
const FIRST_STAGE = 1;
const SECOND_STAGE = 2;
/** No table to look into again. */
export const UNKNOWN_TABLE = -1;

export class Walker {
  readonly format: PageTableFormat;
  /** Level of the root of the tables that are walked; a root may have more entries than the tables below it. */
  topLevel = 0;
  /**
   * Of the last walk: 0 or a fault reason, and the stage that refused (1 where there is but one); entries read; the size class of the
   * translation (0 4 KiB, 1 2 MiB, 2 1 GiB: the largest that lies within the leaf), its first page, the table of its entry and the
   * combined permissions, 0 where the walk found no leaf. A leaf that is not dirty yet does not allow writes to those who keep its
   * translation: the first write has to walk.
   */
  fault = NO_FAULT;
  faultStage: 1 | 2 = FIRST_STAGE;
  reads = 0;
  level = 0;
  leafPage = 0;
  leafTable = 0;
  permissions = 0;
  /** Pages that one translation may cover: the leaf, and its neighbours where a hint says that they go together. */
  coveredPages = 1;
  /** Of each entry that was read, the page that holds it, and its index in that page. The first `reads` count. */
  readonly readTables: Float64Array;
  readonly readIndexes: Int32Array;
  /** Where the log of a walk begins: behind the reads of the walk that it is a part of. */
  readsBefore = 0;
  protected readonly second: Walker | null;
  private secondTable = 0;
  private secondLevels = 0;
  private secondOwner = 0;
  private secondEnd = Infinity;
  private readonly memory: PhysicalMemory;
  /** One past the last page that the host has address lines for. */
  private readonly hostPages: number;
  /** Tables that are not one page of 512 entries, or whose root is not. */
  private readonly otherTables: boolean;
  private bits: AccessBits = 'ignored';
  private marksTables = false;
  private grantsWrites = false;
  /** Accesses are noted in the tables, or levels may be skipped. */
  private unusual = false;
  /** What most entries look like, where they can be taken at a glance. */
  private usual: UsualEntries | null = null;
  /** Of their high words, so that page numbers are the host's, and near. */
  private highLimit = 0;

  /** `second`: the tables' addresses are a guest's, and these tables say where they lie. */
  constructor(
    memory: PhysicalMemory,
    format: PageTableFormat,
    accessBits: AccessBits = 'ignored',
    hostAddressBits = ENTRY_ADDRESS_BITS,
    second: Walker | null = null,
  ) {
    this.memory = memory;
    this.format = format;
    this.otherTables = format.granulePages > 1 || format.rootTables > 1;
    this.hostPages = 2 ** (hostAddressBits - PAGE_SHIFT);
    this.second = second;
    this.readTables = second === null ? new Float64Array(LOGGED_READS) : second.readTables;
    this.readIndexes = second === null ? new Int32Array(LOGGED_READS) : second.readIndexes;
    this.accessBits = accessBits;
  }

  /** Where the last walk was refused: what the tables that refused allow there, 0 where they have nothing. */
  get refusedPermissions(): number {
    return this.faultStage === SECOND_STAGE && this.second !== null ? this.second.permissions : this.permissions;
  }

  get accessBits(): AccessBits {
    return this.bits;
  }

  /** A device's entry may say so for each device. */
  set accessBits(accessBits: AccessBits) {
    const { format, second, otherTables } = this;
    this.bits = accessBits;
    this.marksTables = accessBits === 'updated' && format.tableAccessedBit !== 0;
    this.grantsWrites = accessBits === 'updated' && format.dirtyModifier !== 0;
    this.usual = second === null && accessBits === 'ignored' && !otherTables ? format.usual : null;
    if (this.usual !== null) {
      this.highLimit = Math.min(this.usual.highLimit, Math.floor(this.hostPages * 2 ** (this.usual.pageShift - 32)));
    }
    this.unusual = accessBits !== 'ignored' || format.skipsLevels;
  }

  /**
   * Walks from a table of level `startLevel`, which is the root's or one that a paging-structure cache knew, with the
   * permissions of the entries above it. Tables on the way are given to `caches`. True when there is a leaf that allows the
   * access.
   */
  walk(
    owner: number,
    iovaPage: number,
    write: boolean,
    startTable: number,
    startLevel: number,
    startPermissions: number,
    caches: PagingStructureCache | null,
  ): boolean {
    const { memory, format, readTables, readIndexes, usual, highLimit } = this;
    let table = startTable;
    let level = startLevel;
    let read = this.readsBefore;
    // Usual entries at a glance. V8 inlines a function of up to 460 bytecodes, which makes walks a fifth faster, and this one just fits.
    if (usual !== null && table < NEAR_PAGES) {
      // The three lower indices share one 32-bit integer, which keeps divisions out of the walk.
      const lower = iovaPage & LOWER_LEVELS_MASK;
      table |= 0;
      for (; level >= 0; level -= 1) {
        const index = (level < 3 ? lower >>> (9 * level) : (iovaPage * UPPER_LEVELS) >>> (9 * level - 27)) & 511;
        const word = memory.locate(table) + index * 2;
        const { words } = memory;
        const low = words[word]!;
        const high = words[word + 1]!;
        const page = (low >>> usual.pageShift) | (high << -usual.pageShift);
        if (high >= highLimit) break;
        readTables[read] = table;
        readIndexes[read] = index;
        if (level === 0) {
          const permissions = startPermissions & format.permissions(low, high, 0);
          if ((low & usual.leafMask) !== usual.leafBits || (permissions & (write ? WRITE : READ)) === 0) break;
          this.reads = read + 1;
          this.level = 0;
          this.leafPage = page;
          this.leafTable = table;
          this.coveredPages = 1;
          this.permissions = permissions;
          this.fault = NO_FAULT;
          return true;
        }
        if ((low & usual.tableMask) !== usual.tableBits) break;
        table = page;
        if (caches !== null) caches.fill(owner, iovaPage, level - 1, table, startPermissions, read);
        read += 1;
      }
    }
    return this.walkFully(owner, iovaPage, write, table, level, startPermissions, caches, read);
  }

  /** The same for entries of any kind, behind `readsMade` others. */
  private walkFully(
    owner: number,
    iovaPage: number,
    write: boolean,
    startTable: number,
    startLevel: number,
    startPermissions: number,
    caches: PagingStructureCache | null,
    readsMade: number,
  ): boolean {
    const { memory, format, readTables, readIndexes, second, hostPages, otherTables, unusual } = this;
    let table = startTable;
    let permissions = startPermissions;
    let read = readsMade;
    this.reads = read;
    this.permissions = 0;
    this.faultStage = FIRST_STAGE;
    const lower = iovaPage & LOWER_LEVELS_MASK;
    for (let level = startLevel; level >= 0; level -= 1) {
      let index = level < 3 ? (lower >>> (9 * level)) & 511 : tableIndex(iovaPage, level);
      let page = table;
      if (otherTables) {
        index = entryIndex(format, iovaPage, level, level === this.topLevel);
        page = table + (index >>> 9);
        index &= 511;
      }
      const guestPage = page;
      if (second !== null) {
        if (!this.throughSecond(second, guestPage, false, caches)) return false;
        page = second.physPage(guestPage);
        read = this.reads;
      }
      const word = memory.locate(page) + index * 2;
      const low = memory.words[word]!;
      const high = memory.words[word + 1]!;
      readTables[read] = page;
      readIndexes[read] = index;
      read += 1;
      this.reads = read;
      let own = format.permissions(low, high, level);
      if (unusual && this.grantsWrites && (high & format.dirtyModifier) !== 0 && format.isLeaf(low, level)) {
        own = format.permissions(written(format, low), high, level);
      }
      if (own === 0) return this.refuse(write);
      permissions &= own;
      const valid = format.isValid(low, high, level);
      const target = format.target(low, high, level);
      if (!valid || target >= hostPages) {
        this.fault = FAULT_RESERVED_BITS;
        return false;
      }
      if (format.isLeaf(low, level)) {
        this.found(iovaPage, level, target, low, high, page);
        this.permissions = permissions;
        if ((permissions & (write ? WRITE : READ)) === 0) return this.refuse(write);
        if (unusual && this.bits !== 'ignored' && !this.noteAccess(guestPage, page, index, low, high, write, caches))
          return false;
        if (second !== null) return this.finishNested(second, iovaPage, write, caches);
        this.fault = NO_FAULT;
        return true;
      }
      if (unusual && this.marksTables && (low & format.tableAccessedBit) === 0) {
        if (!this.update(guestPage, page, index, low | format.tableAccessedBit, caches)) return false;
        read = this.reads;
      }
      if (unusual && format.skipsLevels) {
        const skipped = level - 1 - format.tableLevel(low, level);
        // the address has nothing but zeros where levels are skipped
        if (skipped > 0 && iovaPage % PAGES_PER_ENTRY[level]! >= PAGES_PER_ENTRY[level - skipped]!)
          return this.refuse(write);
        level -= skipped;
      }
      table = target;
      if (caches !== null) caches.fill(owner, iovaPage, level - 1, table, permissions, read - 1);
    }
    return this.refuse(write);
  }

  /** A walk from the root of a domain. */
  walkFromRoot(
    owner: number,
    iovaPage: number,
    write: boolean,
    rootTable: number,
    levels: number,
    caches: PagingStructureCache | null = null,
  ): boolean {
    if (!this.format.translates(iovaPage, levels)) {
      this.reads = this.readsBefore;
      this.permissions = 0;
      this.faultStage = FIRST_STAGE;
      this.fault = FAULT_ADDRESS_BEYOND_WIDTH;
      return false;
    }
    this.topLevel = levels - 1;
    return this.walk(owner, iovaPage, write, rootTable, levels - 1, READ_WRITE, caches);
  }

  /** The second stage of the walks to come, which ends before a page; `owner`: of its tables in paging-structure caches. */
  setSecondStage(rootTable: number, levels: number, endPage = Infinity, owner = 0): void {
    this.secondTable = rootTable;
    this.secondLevels = levels;
    this.secondEnd = endPage;
    this.secondOwner = owner;
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

  private found(iovaPage: number, level: number, target: number, low: number, high: number, page: number): void {
    const { format } = this;
    let pages = format.leafPages(low, high, level);
    let first = target;
    if (format.hintsAtGroups) {
      const group = format.groupPages(low, high, level);
      // a hint that lies is none: the leaf must have the place in its group that the address has
      if (group > pages && first % group === (iovaPage - (iovaPage % pages)) % group) {
        pages = group;
        first -= first % group;
      }
    }
    this.coveredPages = pages;
    this.leafTable = page;
    this.level = level;
    this.leafPage = first;
    if (format.granulePages > 1) {
      // the IOTLB's page sizes are other than these tables', so that the entry cannot be found again by its size
      this.level = sizeClass(pages);
      this.leafTable = UNKNOWN_TABLE;
    } else if (level > HIGHEST_CLASS) {
      // such a leaf is cached in pieces, by whose size its entry cannot be found again
      this.level = HIGHEST_CLASS;
      this.leafTable = UNKNOWN_TABLE;
    }
    if (pages !== PAGES_PER_ENTRY[this.level]) this.leafPage = firstOfClass(iovaPage, this.level, first, pages);
  }

  /** Whether the accessed and dirty bits are as the access asks, by now. */
  private noteAccess(
    guestPage: number,
    page: number,
    index: number,
    low: number,
    high: number,
    write: boolean,
    caches: PagingStructureCache | null,
  ): boolean {
    const { format } = this;
    if (!write && !isDirty(format, low, high)) this.permissions &= ~WRITE;
    const wanted = accessed(format, low, high, write);
    if (wanted === low) return true;
    if (this.bits === 'checked') return this.refuse(write);
    return this.update(guestPage, page, index, wanted, caches);
  }

  /** Sets bits of an entry, which the second stage must allow. */
  private update(
    guestPage: number,
    page: number,
    index: number,
    low: number,
    caches: PagingStructureCache | null,
  ): boolean {
    if (this.second !== null && !this.throughSecond(this.second, guestPage, true, caches)) return false;
    this.memory.writeWord(page, index * 2, low >>> 0);
    return true;
  }

  /** Translates an address of the first stage's; its reads follow those made so far. */
  private throughSecond(
    second: Walker,
    guestPage: number,
    write: boolean,
    caches: PagingStructureCache | null,
  ): boolean {
    const { secondTable, secondLevels, secondOwner } = this;
    this.faultStage = SECOND_STAGE;
    this.fault = FAULT_ADDRESS_BEYOND_WIDTH;
    if (guestPage >= this.secondEnd) return false;
    second.readsBefore = this.reads;
    second.topLevel = secondLevels - 1;
    const mapped =
      caches !== null &&
      second.format.translates(guestPage, secondLevels) &&
      caches.find(secondOwner, guestPage, this.reads)
        ? second.walk(secondOwner, guestPage, write, caches.table, caches.level, caches.permissions, caches)
        : second.walkFromRoot(secondOwner, guestPage, write, secondTable, secondLevels, caches);
    this.reads = second.reads;
    this.fault = second.fault;
    if (mapped) this.faultStage = FIRST_STAGE;
    return mapped;
  }

  /** The leaf's own address through the second stage: the smaller of both sizes, and what both allow. */
  private finishNested(second: Walker, iovaPage: number, write: boolean, caches: PagingStructureCache | null): boolean {
    const guestPage = this.physPage(iovaPage);
    if (!this.throughSecond(second, guestPage, write, caches)) {
      this.permissions = 0;
      return false;
    }
    this.permissions &= second.permissions;
    this.level = Math.min(this.level, second.level);
    this.coveredPages = Math.min(this.coveredPages, second.coveredPages);
    const physPage = second.physPage(guestPage);
    this.leafPage = physPage - (physPage % PAGES_PER_ENTRY[this.level]!);
    this.leafTable = UNKNOWN_TABLE;
    this.fault = NO_FAULT;
    return true;
  }

  private refuse(write: boolean): false {
    this.fault = write ? FAULT_WRITE_NOT_ALLOWED : FAULT_READ_NOT_ALLOWED;
    return false;
  }
}
