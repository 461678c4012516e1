/**
 * What the kernel's page-table code does to the tables of one domain: map, unmap and look up ranges, on real bits in
 * emulated memory. Two codes exist, and a kernel profile chooses: tableOperationsGeneric.ts (drivers/iommu/generic_pt) and
 * tableOperationsLegacy.ts (drivers/iommu/intel/iommu.c before it). This file is what they share: the walk down to a table,
 * and the choice of a leaf size.
 * Leaves out: time (the DMA API charges for what was done) and invalidation (the caller is told what to invalidate).
 */
import type { FrameAllocator } from '../memory/frameAllocator.ts';
import type { PhysicalMemory } from '../memory/physicalMemory.ts';
import { COUNTER, type Counters } from '../metrics/counters.ts';

/** The caller, told of changes that the IOMMU's caches must follow while the operation goes on. */
export interface TableWatcher {
  /** Tables gave way to large leaves. A range in bytes, its last byte as the kernel passes it to the flush. */
  tablesReplaced(start: number, end: number): void;
  /** One step of an unmap has left the tables; the caller gathers ranges, and flushes between steps that do not join. */
  rangeUnmapped(iovaPage: number, pages: number): void;
  /** A leaf was already there, and the kernel complains and goes on. */
  alreadyMapped(iovaPage: number): void;
}

/** Pages that one entry spans, by level: 4 KiB, 2 MiB, 1 GiB, 512 GiB. */
export const ENTRY_PAGES: readonly number[] = [1, 512, 512 ** 2, 512 ** 3];
/** The highest level that may hold a leaf: 1 GiB. */
export const HIGHEST_LEAF_LEVEL = 2;

const INDEX_MASK = 511;
const READ = 1;
const WRITE = 2;
const LEAF = 1 << 7;
const HIGH_PAGES = 2 ** 20;
const NO_TABLE = -1;

/** Index of a page's entry in its table of this level. */
export function tableIndex(iovaPage: number, level: number): number {
  return Math.floor(iovaPage / ENTRY_PAGES[level]!) & INDEX_MASK;
}

export abstract class PageTable {
  readonly rootPage: number;
  readonly levels: 3 | 4;
  /** Why the last map ended early: 0, or a negative errno. */
  error = 0;
  /** Leaves that the last operation wrote or cleared. */
  leafWrites = 0;
  /** Pages of tables that the last operation allocated. */
  tablesAllocated = 0;
  /**
   * Pages of tables that unmaps cut off and nobody may reuse before the next invalidation (the gather's freelist). The caller
   * takes them.
   */
  detachedTables: number[] = [];
  protected readonly memory: PhysicalMemory;
  protected readonly frames: FrameAllocator;
  protected readonly watcher: TableWatcher;
  protected readonly counters: Counters;
  private recentLeafRegion = -1;
  private recentLeafTable = NO_TABLE;

  constructor(
    memory: PhysicalMemory,
    frames: FrameAllocator,
    levels: 3 | 4,
    counters: Counters,
    watcher: TableWatcher,
  ) {
    this.memory = memory;
    this.frames = frames;
    this.levels = levels;
    this.counters = counters;
    this.watcher = watcher;
    this.rootPage = frames.allocatePage();
  }

  /** Maps a range; returns the pages mapped, fewer than asked when `error` says why. */
  abstract map(iovaPage: number, physPage: number, pages: number, readable: boolean, writable: boolean): number;

  /** Unmaps a range; returns the pages removed. Tells the watcher of every step. */
  abstract unmap(iovaPage: number, pages: number): number;

  /** `iommu_iova_to_phys`: the page behind an IOVA page, -1 when nothing is mapped. */
  lookup(iovaPage: number): number {
    let table = this.rootPage;
    for (let level = this.levels - 1; level >= 0; level -= 1) {
      const index = tableIndex(iovaPage, level);
      const low = this.entryLow(table, index);
      if (!entryPresent(low)) return -1;
      const target = this.entryTarget(table, index, low);
      if (level === 0) return target;
      if (entryIsLeaf(low)) return target + (iovaPage % ENTRY_PAGES[level]!);
      table = target;
    }
    return -1;
  }

  /** Gives back detached tables, after the invalidation that makes it safe. */
  releaseTables(pages: readonly number[]): void {
    for (const page of pages) this.frames.freePage(page);
    this.counters.values[COUNTER.tablePagesFreed]! += pages.length;
  }

  /** Frees every table, the root too. Nothing may be mapped any more. */
  destroy(): void {
    const freeTable = (table: number, level: number): void => {
      for (let index = 0; level > 0 && index <= INDEX_MASK; index += 1) {
        const low = this.entryLow(table, index);
        if (entryPresent(low) && !entryIsLeaf(low)) freeTable(this.entryTarget(table, index, low), level - 1);
      }
      this.frames.freePage(table);
    };
    this.forgetRecentTable();
    freeTable(this.rootPage, this.levels - 1);
  }

  protected entryLow(table: number, index: number): number {
    return this.memory.readWord(table, index * 2);
  }

  protected entryTarget(table: number, index: number, low: number): number {
    return (low >>> 12) + (this.memory.readWord(table, index * 2 + 1) & (HIGH_PAGES - 1)) * HIGH_PAGES;
  }

  protected writeLeaf(table: number, index: number, physPage: number, permissions: number, level: number): void {
    const low = ((physPage % HIGH_PAGES) << 12) | permissions | (level > 0 ? LEAF : 0);
    this.memory.writeWord(table, index * 2 + 1, Math.floor(physPage / HIGH_PAGES));
    this.memory.writeWord(table, index * 2, low >>> 0);
    this.leafWrites += 1;
  }

  protected clearEntry(table: number, index: number): void {
    this.memory.writeWord(table, index * 2, 0);
    this.memory.writeWord(table, index * 2 + 1, 0);
  }

  /**
   * The table of this level that holds an IOVA page, with tables above it made as needed; -1 when a large leaf is in the
   * way.
   */
  protected makeTable(iovaPage: number, level: number): number {
    const region = level === 0 ? Math.floor(iovaPage / ENTRY_PAGES[1]!) : -2;
    if (region === this.recentLeafRegion) return this.recentLeafTable;
    let table = this.rootPage;
    for (let above = this.levels - 1; above > level; above -= 1) {
      const index = tableIndex(iovaPage, above);
      const low = this.entryLow(table, index);
      if (entryPresent(low)) {
        if (entryIsLeaf(low)) return NO_TABLE;
        table = this.entryTarget(table, index, low);
      } else {
        const child = this.frames.allocatePage();
        this.memory.writeWord(table, index * 2 + 1, Math.floor(child / HIGH_PAGES));
        this.memory.writeWord(table, index * 2, (((child % HIGH_PAGES) << 12) | READ | WRITE) >>> 0);
        this.tablesAllocated += 1;
        this.counters.values[COUNTER.tablePagesAllocated]! += 1;
        table = child;
      }
    }
    if (level === 0) {
      this.recentLeafRegion = region;
      this.recentLeafTable = table;
    }
    return table;
  }

  /** The leaf table of a page if it is the one that was used last; -1 otherwise. Saves the walk for neighbouring calls. */
  protected recentTable(iovaPage: number): number {
    return Math.floor(iovaPage / ENTRY_PAGES[1]!) === this.recentLeafRegion ? this.recentLeafTable : NO_TABLE;
  }

  protected rememberTable(iovaPage: number, table: number): void {
    this.recentLeafRegion = Math.floor(iovaPage / ENTRY_PAGES[1]!);
    this.recentLeafTable = table;
  }

  protected forgetRecentTable(): void {
    this.recentLeafRegion = -1;
    this.recentLeafTable = NO_TABLE;
  }

  protected countLeafWrites(): void {
    this.counters.values[COUNTER.pteWrites]! += this.leafWrites;
  }
}

export function entryPresent(low: number): boolean {
  return (low & (READ | WRITE)) !== 0;
}

/** Whether an entry above the lowest level is a large leaf. */
export function entryIsLeaf(low: number): boolean {
  return (low & LEAF) !== 0;
}

export function leafPermissions(readable: boolean, writable: boolean): number {
  return (readable ? READ : 0) | (writable ? WRITE : 0);
}

/** The level of the largest leaf that address bits and length allow: lowest set bit of iova | phys | 2^floor(log2 length). */
export function largestLeafLevel(iovaPage: number, physPage: number, pages: number): number {
  let level = 0;
  while (level < HIGHEST_LEAF_LEVEL) {
    const span = ENTRY_PAGES[level + 1]!;
    if (pages < span || iovaPage % span !== 0 || physPage % span !== 0) break;
    level += 1;
  }
  return level;
}
