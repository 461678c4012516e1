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
import {
  ENTRIES_PER_TABLE,
  HIGHEST_LEAF_LEVEL,
  PAGES_PER_ENTRY,
  SECOND_STAGE_PAGE_SIZE,
  SECOND_STAGE_PERMISSIONS,
  SECOND_STAGE_READ,
  SECOND_STAGE_WRITE,
  secondStageIndex,
  secondStageIsLeaf,
  secondStagePresent,
  secondStageTarget,
} from './vtdSecondStage.ts';

/** The caller, told of changes that the IOMMU's caches must follow while the operation goes on. */
export interface TableWatcher {
  /** Tables gave way to large leaves. A range in bytes, its last byte as the kernel passes it to the flush. */
  tablesReplaced(start: number, end: number): void;
  /** One step of an unmap has left the tables; the caller gathers ranges, and flushes between steps that do not join. */
  rangeUnmapped(iovaPage: number, pages: number): void;
  /** A leaf was already there, and the kernel complains and goes on. */
  alreadyMapped(iovaPage: number): void;
}

const LOW_PAGES = 2 ** 20;
const NO_TABLE = -1;

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
    const recent = this.recentTable(iovaPage);
    let table = recent === NO_TABLE ? this.rootPage : recent;
    for (let level = recent === NO_TABLE ? this.levels - 1 : 0; level >= 0; level -= 1) {
      const index = secondStageIndex(iovaPage, level);
      const low = this.entryLow(table, index);
      if (!secondStagePresent(low)) return -1;
      const target = this.entryTarget(table, index, low);
      if (secondStageIsLeaf(low, level)) return target + (iovaPage % PAGES_PER_ENTRY[level]!);
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
      for (let index = 0; level > 0 && index < ENTRIES_PER_TABLE; index += 1) {
        const low = this.entryLow(table, index);
        if (secondStagePresent(low) && !secondStageIsLeaf(low, level))
          freeTable(this.entryTarget(table, index, low), level - 1);
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
    return secondStageTarget(low, this.memory.readWord(table, index * 2 + 1));
  }

  protected writeLeaf(table: number, index: number, physPage: number, permissions: number, level: number): void {
    const low = ((physPage % LOW_PAGES) << 12) | permissions | (level > 0 ? SECOND_STAGE_PAGE_SIZE : 0);
    this.memory.writeWord(table, index * 2 + 1, Math.floor(physPage / LOW_PAGES));
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
    const region = level === 0 ? Math.floor(iovaPage / PAGES_PER_ENTRY[1]!) : -2;
    if (region === this.recentLeafRegion) return this.recentLeafTable;
    let table = this.rootPage;
    for (let above = this.levels - 1; above > level; above -= 1) {
      const index = secondStageIndex(iovaPage, above);
      const low = this.entryLow(table, index);
      if (secondStagePresent(low)) {
        if (secondStageIsLeaf(low, above)) return NO_TABLE;
        table = this.entryTarget(table, index, low);
      } else {
        const child = this.frames.allocatePage();
        this.memory.writeWord(table, index * 2 + 1, Math.floor(child / LOW_PAGES));
        this.memory.writeWord(table, index * 2, (((child % LOW_PAGES) << 12) | SECOND_STAGE_PERMISSIONS) >>> 0);
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
    return Math.floor(iovaPage / PAGES_PER_ENTRY[1]!) === this.recentLeafRegion ? this.recentLeafTable : NO_TABLE;
  }

  protected rememberTable(iovaPage: number, table: number): void {
    this.recentLeafRegion = Math.floor(iovaPage / PAGES_PER_ENTRY[1]!);
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

export function leafPermissions(readable: boolean, writable: boolean): number {
  return (readable ? SECOND_STAGE_READ : 0) | (writable ? SECOND_STAGE_WRITE : 0);
}

/** The level of the largest leaf that address bits and length allow: lowest set bit of iova | phys | 2^floor(log2 length). */
export function largestLeafLevel(iovaPage: number, physPage: number, pages: number): number {
  let level = 0;
  while (level < HIGHEST_LEAF_LEVEL) {
    const span = PAGES_PER_ENTRY[level + 1]!;
    if (pages < span || iovaPage % span !== 0 || physPage % span !== 0) break;
    level += 1;
  }
  return level;
}
