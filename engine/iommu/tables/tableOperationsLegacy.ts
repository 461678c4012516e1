/**
 * VT-d's own page-table code of kernels before generic_pt (Linux drivers/iommu/intel/iommu.c: `__domain_mapping`,
 * `switch_to_super_page`, `pfn_to_dma_pte`, `dma_pte_clear_level`, `intel_iommu_unmap`), driven in batches of one page size by
 * the core (drivers/iommu/iommu.c: `iommu_pgsize`, `__iommu_map`, `__iommu_unmap`). It never refuses to map, does not stop at
 * holes, and clears what a large leaf replaces.
 */
import {
  ENTRIES_PER_TABLE,
  PAGES_PER_ENTRY,
  READ,
  tableIndex,
  type PageTableFormat,
} from '../formats/pageTableFormat.ts';
import { largestLeaf, levelOfLeaf, PageTable } from './tableOperations.ts';

const PAGE_BYTES = 4096;
const LAST_INDEX = ENTRIES_PER_TABLE - 1;

/** `iommu_pgsize`: pages of the next batch, all of one page size. */
export function batchPages(format: PageTableFormat, iovaPage: number, physPage: number, pages: number): number {
  const span = largestLeaf(format, iovaPage, physPage, pages);
  const next = format.leafSizes[levelOfLeaf(span) + 1];
  if (next !== undefined) {
    if (pages >= next && iovaPage % next === physPage % next) {
      const toBoundary = next - (iovaPage % next);
      if (toBoundary + next <= pages) return toBoundary;
    }
  }
  return pages - (pages % span);
}

export class LegacyPageTable extends PageTable {
  map(iovaPage: number, physPage: number, pages: number, permissions: number): number {
    this.error = 0;
    this.leafWrites = 0;
    this.tablesAllocated = 0;
    this.linesCleaned = 0;
    let done = 0;
    while (done < pages) {
      const batch = batchPages(this.format, iovaPage + done, physPage + done, pages - done);
      // `DMA_FL_PTE_PRESENT`, meant for the first stage, is set in every leaf; in the second stage the same bit permits reads.
      this.mapBatch(iovaPage + done, physPage + done, batch, permissions | READ);
      done += batch;
    }
    this.countLeafWrites();
    return done;
  }

  unmap(iovaPage: number, pages: number): number {
    this.leafWrites = 0;
    this.linesCleaned = 0;
    let done = 0;
    while (done < pages) {
      const at = iovaPage + done;
      const batch = Math.max(batchPages(this.format, at, at, pages - done), PAGES_PER_ENTRY[this.levelFound(at)]!);
      this.clearRange(this.rootPage, this.levels - 1, at, at + batch - 1, true);
      this.watcher.rangeUnmapped(at, batch);
      done += batch;
    }
    this.countLeafWrites();
    return done;
  }

  /** `__domain_mapping`. */
  private mapBatch(iovaPage: number, physPage: number, pages: number, permissions: number): void {
    const span = largestLeaf(this.format, iovaPage, physPage, pages);
    const level = levelOfLeaf(span);
    let done = 0;
    while (done < pages) {
      const at = iovaPage + done;
      const first = tableIndex(at, level);
      const run = Math.min(pages - done, (LAST_INDEX + 1 - first) * span);
      const table = this.makeTable(at, level);
      if (table === -1) {
        // a larger leaf covers the run; the kernel would take it for a table
        this.watcher.alreadyMapped(at);
        done += run;
        continue;
      }
      if (level > 0) this.switchToLargeLeaves(table, level, at, at + run - 1);
      for (let offset = 0; offset < run; offset += span) {
        const index = first + offset / span;
        if (this.isPresent(table, index, level)) this.watcher.alreadyMapped(at + offset);
        else this.writeLeaf(table, index, physPage + done + offset, level, span, permissions);
      }
      this.clean(table, first, run / span);
      done += run;
    }
  }

  /** `switch_to_super_page`: one flush for every table in the way, up to the last page's address of the whole run. */
  private switchToLargeLeaves(table: number, level: number, first: number, last: number): void {
    const span = PAGES_PER_ENTRY[level]!;
    for (let at = first; at <= last; at += span) {
      const index = tableIndex(at, level);
      if (!this.isPresent(table, index, level)) continue;
      if (this.holdsTable(table, index, level)) {
        this.detachTables(this.entryTarget(table, index), level - 1);
        this.releaseTables(this.detachedTables);
        this.detachedTables = [];
        this.forgetRecentTable();
        this.clearEntry(table, index);
        this.clean(table, index, 1);
      }
      this.watcher.tablesReplaced(at * PAGE_BYTES, last * PAGE_BYTES);
    }
  }

  /** `pfn_to_dma_pte` without a target level: the level of the leaf, or of the first entry that is not there. */
  private levelFound(iovaPage: number): number {
    if (this.recentTable(iovaPage) !== -1) return 0;
    let table = this.rootPage;
    let level = this.levels - 1;
    for (; level > 0; level -= 1) {
      const index = tableIndex(iovaPage, level);
      if (!this.holdsTable(table, index, level)) break;
      table = this.entryTarget(table, index);
    }
    if (level === 0) this.rememberTable(iovaPage, table);
    return level;
  }

  /** `dma_pte_clear_level`: clears [first, last]; an entry that it covers goes with all the tables below it. */
  private clearRange(table: number, level: number, first: number, last: number, top: boolean): void {
    const recent = top && tableIndex(first, 0) + (last - first) <= LAST_INDEX ? this.recentTable(first) : -1;
    if (recent !== -1 && last - first < LAST_INDEX) {
      this.clearRange(recent, 0, first, last, false);
      return;
    }
    const span = PAGES_PER_ENTRY[level]!;
    let base = first - (first % span);
    let firstCleared = -1;
    let lastCleared = -1;
    for (let index = tableIndex(first, level); index <= LAST_INDEX && base <= last; index += 1, base += span) {
      if (!this.isPresent(table, index, level)) continue;
      const end = base + span - 1;
      const leaf = !this.holdsTable(table, index, level);
      if (first <= base && last >= end) {
        if (leaf) {
          this.leafWrites += 1;
        } else {
          this.detachTables(this.entryTarget(table, index), level - 1);
          this.forgetRecentTable();
        }
        this.clearEntry(table, index);
        if (firstCleared === -1) firstCleared = index;
        lastCleared = index;
      } else if (!leaf) {
        const child = this.entryTarget(table, index);
        this.clearRange(child, level - 1, Math.max(first, base), Math.min(last, end), false);
      }
    }
    if (firstCleared !== -1) this.clean(table, firstCleared, lastCleared + 1 - firstCleared);
  }

  private detachTables(table: number, level: number): void {
    for (let index = 0; index <= LAST_INDEX; index += 1) {
      if (!this.isPresent(table, index, level)) continue;
      if (!this.holdsTable(table, index, level)) this.leafWrites += 1;
      else this.detachTables(this.entryTarget(table, index), level - 1);
    }
    this.detachedTables.push(table);
  }
}
