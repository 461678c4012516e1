/**
 * The page-table code that all formats share in newer kernels (Linux drivers/iommu/generic_pt/iommu_pt.h, `map_range` and
 * `unmap_range`): it refuses to map over a leaf, replaces empty tables by large leaves, stops an unmap at the first hole,
 * and frees every table that the unmapped range covers.
 */
import { EADDRINUSE, EINVAL } from './tableErrors.ts';
import { largestLeafLevel, leafPermissions, PageTable } from './tableOperations.ts';
import {
  ENTRIES_PER_TABLE,
  PAGES_PER_ENTRY,
  secondStageIndex,
  secondStageIsLeaf,
  secondStagePresent,
} from './vtdSecondStage.ts';

const PAGE_BYTES = 4096;
const LAST_INDEX = ENTRIES_PER_TABLE - 1;

export class GenericPageTable extends PageTable {
  private unmapNext = 0;
  private replacedFirst = -1;
  private replacedEnd = -1;

  map(iovaPage: number, physPage: number, pages: number, readable: boolean, writable: boolean): number {
    this.error = 0;
    this.leafWrites = 0;
    this.tablesAllocated = 0;
    this.replacedFirst = -1;
    const permissions = leafPermissions(readable, writable);
    if (permissions === 0 || pages <= 0) {
      this.error = EINVAL;
      return 0;
    }
    let done = 0;
    while (done < pages) {
      const level = largestLeafLevel(iovaPage + done, physPage + done, pages - done);
      const table = this.makeTable(iovaPage + done, level);
      if (table === -1) {
        this.error = EADDRINUSE;
        break;
      }
      const before = done;
      if (level === 0) {
        done = this.writeSmallLeaves(table, iovaPage, physPage, done, pages, permissions);
        if (this.error !== 0) break;
      } else {
        if (!this.clearForLargeLeaf(table, iovaPage + done, level)) break;
        this.writeLeaf(table, secondStageIndex(iovaPage + done, level), physPage + done, permissions, level);
        done = before + PAGES_PER_ENTRY[level]!;
      }
    }
    this.countLeafWrites();
    if (this.replacedFirst !== -1) this.releaseReplaced();
    return done;
  }

  unmap(iovaPage: number, pages: number): number {
    this.leafWrites = 0;
    this.unmapNext = iovaPage;
    const last = iovaPage + pages - 1;
    const recent = this.recentTable(iovaPage);
    const oneTable = secondStageIndex(iovaPage, 0) + pages <= LAST_INDEX + 1 && pages <= LAST_INDEX;
    if (recent !== -1 && oneTable) this.unmapTable(recent, 0, iovaPage, last);
    else if (pages > 0) this.unmapTable(this.rootPage, this.levels - 1, iovaPage, last);
    this.countLeafWrites();
    const removed = this.unmapNext - iovaPage;
    if (removed > 0) this.watcher.rangeUnmapped(iovaPage, removed);
    return removed;
  }

  /** 4 KiB leaves up to the end of one table: a larger leaf could only begin at its end. Returns the pages done. */
  private writeSmallLeaves(
    table: number,
    iovaPage: number,
    physPage: number,
    from: number,
    pages: number,
    permissions: number,
  ): number {
    let done = from;
    for (let index = secondStageIndex(iovaPage + done, 0); index <= LAST_INDEX && done < pages; index += 1) {
      if (secondStagePresent(this.entryLow(table, index))) {
        this.error = EADDRINUSE;
        break;
      }
      this.writeLeaf(table, index, physPage + done, permissions, 0);
      done += 1;
    }
    return done;
  }

  /** Makes way for a large leaf: nothing there, or only empty tables. False: something is mapped there. */
  private clearForLargeLeaf(table: number, iovaPage: number, level: number): boolean {
    const index = secondStageIndex(iovaPage, level);
    const low = this.entryLow(table, index);
    if (!secondStagePresent(low)) return true;
    if (secondStageIsLeaf(low, level) || !this.isEmpty(this.entryTarget(table, index, low), level - 1)) {
      this.error = EADDRINUSE;
      return false;
    }
    this.detachTables(this.entryTarget(table, index, low), level - 1);
    this.clearEntry(table, index);
    this.forgetRecentTable();
    if (this.replacedFirst === -1) this.replacedFirst = iovaPage;
    this.replacedEnd = iovaPage + PAGES_PER_ENTRY[level]!;
    return true;
  }

  private releaseReplaced(): void {
    this.watcher.tablesReplaced(this.replacedFirst * PAGE_BYTES, this.replacedEnd * PAGE_BYTES - 1);
    this.releaseTables(this.detachedTables);
    this.detachedTables = [];
  }

  private isEmpty(table: number, level: number): boolean {
    for (let index = 0; index <= LAST_INDEX; index += 1) {
      const low = this.entryLow(table, index);
      if (!secondStagePresent(low)) continue;
      if (secondStageIsLeaf(low, level)) return false;
      if (!this.isEmpty(this.entryTarget(table, index, low), level - 1)) return false;
    }
    return true;
  }

  private detachTables(table: number, level: number): void {
    for (let index = 0; level > 0 && index <= LAST_INDEX; index += 1) {
      const low = this.entryLow(table, index);
      if (secondStagePresent(low)) this.detachTables(this.entryTarget(table, index, low), level - 1);
    }
    this.detachedTables.push(table);
  }

  /** Clears the leaves of [first, last] below one table. False: a hole or the inside of a leaf ended the walk. */
  private unmapTable(table: number, level: number, first: number, last: number): boolean {
    const span = PAGES_PER_ENTRY[level]!;
    let at = first;
    let index = secondStageIndex(first, level);
    if (level === 0) this.rememberTable(first, table);
    for (; at <= last && index <= LAST_INDEX; index += 1) {
      const low = this.entryLow(table, index);
      if (!secondStagePresent(low)) return false;
      const base = at - (at % span);
      if (secondStageIsLeaf(low, level)) {
        if (at !== base) return false;
        this.clearEntry(table, index);
        this.leafWrites += 1;
        this.unmapNext = base + span;
      } else {
        const end = base + span - 1;
        const child = this.entryTarget(table, index, low);
        if (!this.unmapTable(child, level - 1, at, Math.min(last, end))) return false;
        if (at === base && last >= end) {
          this.clearEntry(table, index);
          this.detachedTables.push(child);
          this.forgetRecentTable();
        }
      }
      at = base + span;
    }
    return true;
  }
}
