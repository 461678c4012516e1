/**
 * What the kernel's page-table code does to the tables of one domain: map, unmap and look up ranges, on real bits in
 * emulated memory. Two codes exist, and a kernel profile chooses: tableOperationsGeneric.ts (drivers/iommu/generic_pt), for
 * every format, and tableOperationsLegacy.ts (drivers/iommu/intel/iommu.c before it). This file is what they share: the walk
 * down to a table, and the making of tables on the way.
 * Leaves out: time (the DMA API charges for what was done) and invalidation (the caller is told what to invalidate).
 */
import type { FrameAllocator } from '../../memory/frameAllocator.ts';
import type { PhysicalMemory } from '../../memory/physicalMemory.ts';
import { COUNTER, type Counters } from '../../metrics/counters.ts';
import { ENTRIES_PER_TABLE, PAGES_PER_ENTRY, tableIndex, type PageTableFormat } from '../formats/pageTableFormat.ts';
import type { TableWrites } from './tableWrites.ts';

/** The caller, told of changes that the IOMMU's caches must follow while the operation goes on. */
export interface TableWatcher {
  /** Tables gave way to large leaves. A range in bytes, its last byte as the kernel passes it to the flush. */
  tablesReplaced(start: number, end: number): void;
  /** One step of an unmap has left the tables; the caller gathers ranges, and flushes between steps that do not join. */
  rangeUnmapped(iovaPage: number, pages: number): void;
  /** A leaf was already there, and the kernel complains and goes on. */
  alreadyMapped(iovaPage: number): void;
  /** A table with a dynamic top has grown: the hardware must be told of its new root. */
  topChanged(rootPage: number, levels: number): void;
}

const NO_TABLE = -1;
/** Entries that point at tables stand above level 0; which level it is makes no difference to where they point. */
const ANY_UPPER_LEVEL = 1;

export abstract class PageTable {
  readonly format: PageTableFormat;
  rootPage: number;
  levels: number;
  /** One past the last page that the tables translate now. */
  protected pageLimit: number;
  /** Why the last map ended early: 0, or a negative errno. */
  error = 0;
  /** Leaves that the last operation wrote or cleared. */
  leafWrites = 0;
  /** Pages of tables that the last operation allocated. */
  tablesAllocated = 0;
  /** Cache lines that the last operation cleaned, for walkers that do not look into caches. */
  linesCleaned = 0;
  /**
   * Pages of tables that unmaps cut off and nobody may reuse before the next invalidation (the gather's freelist). The caller
   * takes them.
   */
  detachedTables: number[] = [];
  protected readonly memory: PhysicalMemory;
  protected readonly frames: FrameAllocator;
  protected readonly watcher: TableWatcher;
  protected readonly counters: Counters;
  protected readonly writes: TableWrites | null;
  /** Neighbouring leaves that were written and not cleaned yet. */
  private runTable = NO_TABLE;
  private runFirst = 0;
  private runEnd = 0;
  private recentLeafRegion = -1;
  private recentLeafTable = NO_TABLE;

  /** `writes`: what becomes of writes before walkers see them; null: they see them at once. */
  constructor(
    memory: PhysicalMemory,
    frames: FrameAllocator,
    format: PageTableFormat,
    levels: number,
    counters: Counters,
    watcher: TableWatcher,
    writes: TableWrites | null = null,
  ) {
    this.memory = writes === null ? memory : writes.view;
    this.writes = writes;
    this.frames = frames;
    this.format = format;
    this.levels = levels;
    this.pageLimit = format.pageLimit(levels);
    this.counters = counters;
    this.watcher = watcher;
    this.rootPage = frames.allocatePage();
    writes?.tableAllocated(this.rootPage);
  }

  /** Maps a range; returns the pages mapped, fewer than asked when `error` says why. */
  abstract map(iovaPage: number, physPage: number, pages: number, permissions: number): number;

  /** Unmaps a range; returns the pages removed. Tells the watcher of every step. */
  abstract unmap(iovaPage: number, pages: number): number;

  /** `iommu_iova_to_phys`: the page behind an IOVA page, -1 when nothing is mapped. */
  lookup(iovaPage: number): number {
    const { memory, format } = this;
    if (iovaPage >= this.pageLimit) return -1;
    const recent = this.recentTable(iovaPage);
    let table = recent === NO_TABLE ? this.rootPage : recent;
    for (let level = recent === NO_TABLE ? this.levels - 1 : 0; level >= 0; level -= 1) {
      const word = memory.locate(table) + tableIndex(iovaPage, level) * 2;
      const low = memory.words[word]!;
      const high = memory.words[word + 1]!;
      if (format.permissions(low, high, level) === 0) return -1;
      const target = format.target(low, high, level);
      if (format.isLeaf(low, level)) return target + (iovaPage % format.leafPages(low, high, level));
      table = target;
    }
    return -1;
  }

  /** Gives back detached tables, after the invalidation that makes it safe. */
  releaseTables(pages: readonly number[]): void {
    for (const page of pages) this.freeTable(page);
    this.counters.values[COUNTER.tablePagesFreed]! += pages.length;
  }

  /** Frees every table, the root too. Nothing may be mapped any more. */
  destroy(): void {
    const freeTable = (table: number, level: number): void => {
      for (let index = 0; level > 0 && index < ENTRIES_PER_TABLE; index += 1) {
        if (this.holdsTable(table, index, level)) freeTable(this.entryTarget(table, index), level - 1);
      }
      this.freeTable(table);
    };
    this.forgetRecentTable();
    freeTable(this.rootPage, this.levels - 1);
  }

  protected isPresent(table: number, index: number, level: number): boolean {
    const { memory } = this;
    const word = memory.locate(table) + index * 2;
    return this.format.permissions(memory.words[word]!, memory.words[word + 1]!, level) !== 0;
  }

  /** Whether an entry points at a table. */
  protected holdsTable(table: number, index: number, level: number): boolean {
    return this.isPresent(table, index, level) && !this.format.isLeaf(this.memory.readWord(table, index * 2), level);
  }

  /** The table that an entry points at. */
  protected entryTarget(table: number, index: number): number {
    const { memory, format } = this;
    return format.target(memory.readWord(table, index * 2), memory.readWord(table, index * 2 + 1), ANY_UPPER_LEVEL);
  }

  /** A leaf of `pages` pages, in as many entries as they take. */
  protected writeLeaf(
    table: number,
    index: number,
    physPage: number,
    level: number,
    pages: number,
    permissions: number,
  ): void {
    const { memory, format } = this;
    const low = format.leafLow(physPage, level, pages, permissions);
    const high = format.leafHigh(physPage, level, pages, permissions);
    const base = memory.locateForWriting(table) + index * 2;
    const { words } = memory;
    const entries = pages / PAGES_PER_ENTRY[level]!;
    for (let entry = 0; entry < entries; entry += 1) {
      words[base + entry * 2 + 1] = high;
      words[base + entry * 2] = low;
    }
    this.leafWrites += entries;
  }

  protected writeTable(table: number, index: number, child: number, level: number): void {
    this.memory.writeWord(table, index * 2 + 1, this.format.tableHigh(child));
    this.memory.writeWord(table, index * 2, this.format.tableLow(child, level));
    if (this.writes !== null) this.clean(table, index, 1);
  }

  /** Cleans entries that were written, or may have been. */
  protected clean(table: number, first: number, entries: number): void {
    if (this.writes !== null && entries > 0) this.linesCleaned += this.writes.entriesWritten(table, first, entries);
  }

  /** The same for leaves of a map, as soon as a run of neighbours has ended. */
  protected cleanRun(table: number, first: number, entries: number): void {
    if (table !== this.runTable || first !== this.runEnd) {
      this.endRun();
      this.runTable = table;
      this.runFirst = first;
    }
    this.runEnd = first + entries;
  }

  protected endRun(): void {
    if (this.runTable !== NO_TABLE) this.clean(this.runTable, this.runFirst, this.runEnd - this.runFirst);
    this.runTable = NO_TABLE;
  }

  protected clearEntry(table: number, index: number): void {
    const base = this.memory.locateForWriting(table) + index * 2;
    this.memory.words[base] = 0;
    this.memory.words[base + 1] = 0;
  }

  protected newTable(): number {
    this.tablesAllocated += 1;
    this.counters.values[COUNTER.tablePagesAllocated]! += 1;
    const page = this.frames.allocatePage();
    if (this.writes !== null) this.linesCleaned += this.writes.tableAllocated(page);
    return page;
  }

  private freeTable(page: number): void {
    this.writes?.tableFreed(page);
    this.frames.freePage(page);
  }

  /**
   * The table of this level that holds an IOVA page, with tables above it made as needed; -1 when a large leaf is in the
   * way.
   */
  protected makeTable(iovaPage: number, level: number): number {
    if (level === 0) {
      const recent = this.recentTable(iovaPage);
      if (recent !== NO_TABLE) return recent;
    }
    let table = this.rootPage;
    for (let above = this.levels - 1; above > level; above -= 1) {
      const index = tableIndex(iovaPage, above);
      if (this.isPresent(table, index, above)) {
        if (!this.holdsTable(table, index, above)) return NO_TABLE;
        table = this.entryTarget(table, index);
      } else {
        const child = this.newTable();
        this.writeTable(table, index, child, above);
        table = child;
      }
    }
    if (level === 0) this.rememberTable(iovaPage, table);
    return table;
  }

  /** The leaf table of a page if it is the one that was used last; -1 otherwise. Saves the walk for neighbouring calls. */
  protected recentTable(iovaPage: number): number {
    return Math.floor(iovaPage / ENTRIES_PER_TABLE) === this.recentLeafRegion ? this.recentLeafTable : NO_TABLE;
  }

  protected rememberTable(iovaPage: number, table: number): void {
    this.recentLeafRegion = Math.floor(iovaPage / ENTRIES_PER_TABLE);
    this.recentLeafTable = table;
  }

  protected forgetRecentTable(): void {
    this.recentLeafRegion = -1;
    this.recentLeafTable = NO_TABLE;
  }

  protected countLeafWrites(): void {
    this.counters.values[COUNTER.pteWrites]! += this.leafWrites;
    this.counters.values[COUNTER.cacheLinesCleaned]! += this.linesCleaned;
  }
}

/** The largest leaf that the format, address bits and length allow: at most the lowest set bit of iova | phys | 2^floor(log2 length). */
export function largestLeaf(format: PageTableFormat, iovaPage: number, physPage: number, pages: number): number {
  const { leafSizes } = format;
  let largest = 1;
  for (let size = 1; size < leafSizes.length; size += 1) {
    const span = leafSizes[size]!;
    if (pages < span) break;
    if (iovaPage % span !== 0 || physPage % span !== 0) break;
    largest = span;
  }
  return largest;
}

/** The level of the table that holds leaves of this size. */
export function levelOfLeaf(pages: number): number {
  let level = 0;
  while (PAGES_PER_ENTRY[level + 1]! <= pages) level += 1;
  return level;
}
