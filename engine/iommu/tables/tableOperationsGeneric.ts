/**
 * The page-table code that all formats share in newer kernels (Linux drivers/iommu/generic_pt/iommu_pt.h, `map_range` and
 * `unmap_range`): it refuses to map over a leaf, replaces empty tables by large leaves, stops an unmap at the first hole,
 * frees every table that the unmapped range covers, and lets a dynamic top grow.
 */
import { ENTRIES_PER_TABLE, PAGES_PER_ENTRY, READ_WRITE, tableIndex } from '../formats/pageTableFormat.ts';
import { EADDRINUSE, EINVAL, ERANGE } from './tableErrors.ts';
import { largestLeaf, levelOfLeaf, PageTable } from './tableOperations.ts';
import type { UnmapCleaning } from './tableWrites.ts';

const PAGE_BYTES = 4096;
/** An entry names memory by 52 bits of address. */
const PHYSICAL_PAGES = 2 ** 40;
const LAST_INDEX = ENTRIES_PER_TABLE - 1;

export class GenericPageTable extends PageTable {
  /** Where walkers do not look into caches: what an unmap cleans. */
  unmapCleaning: UnmapCleaning = 'passed';
  private unmapNext = 0;
  private replacedFirst = -1;
  private replacedEnd = -1;

  map(iovaPage: number, physPage: number, pages: number, permissions: number): number {
    this.error = 0;
    this.leafWrites = 0;
    this.tablesAllocated = 0;
    this.linesCleaned = 0;
    this.replacedFirst = -1;
    if ((permissions & READ_WRITE) === 0 || pages <= 0) {
      this.error = EINVAL;
      return 0;
    }
    if (physPage >= PHYSICAL_PAGES || (iovaPage + pages > this.pageLimit && !this.growTop(iovaPage + pages))) {
      this.error = ERANGE;
      return 0;
    }
    if (pages === 1) return this.mapOne(iovaPage, physPage, permissions);
    let done = 0;
    while (done < pages && this.error === 0) {
      const leaf = pages - done === 1 ? 1 : largestLeaf(this.format, iovaPage + done, physPage + done, pages - done);
      const level = leaf === 1 ? 0 : levelOfLeaf(leaf);
      const table = this.makeTable(iovaPage + done, level);
      if (table === -1) this.error = EADDRINUSE;
      else if (leaf === 1)
        done += this.writeSmallLeaves(table, iovaPage + done, physPage + done, pages - done, permissions);
      else if (this.clearForLeaf(table, iovaPage + done, level, leaf)) {
        const index = tableIndex(iovaPage + done, level);
        this.writeLeaf(table, index, physPage + done, level, leaf, permissions);
        if (this.writes !== null) this.cleanRun(table, index, leaf / PAGES_PER_ENTRY[level]!);
        done += leaf;
      }
    }
    if (this.writes !== null) this.endRun();
    this.countLeafWrites();
    if (this.replacedFirst !== -1) this.releaseReplaced();
    return done;
  }

  unmap(iovaPage: number, pages: number): number {
    this.leafWrites = 0;
    this.linesCleaned = 0;
    this.unmapNext = iovaPage;
    // a range that ends beyond the tables is refused as a whole (`pt_check_range`)
    if (pages > 0 && iovaPage + pages <= this.pageLimit) {
      const last = iovaPage + pages - 1;
      const recent = this.recentTable(iovaPage);
      const oneTable = tableIndex(iovaPage, 0) + pages <= ENTRIES_PER_TABLE && pages < ENTRIES_PER_TABLE;
      const wholeWay = this.writes !== null && this.unmapCleaning === 'passed';
      if (recent !== -1 && oneTable && !wholeWay) this.unmapLeaves(recent, iovaPage, last);
      else this.unmapTable(this.rootPage, this.levels - 1, iovaPage, last);
    }
    this.countLeafWrites();
    const removed = this.unmapNext - iovaPage;
    if (removed > 0) this.watcher.rangeUnmapped(iovaPage, removed);
    return removed;
  }

  /** The most frequent case by itself: one page. */
  private mapOne(iovaPage: number, physPage: number, permissions: number): number {
    const { memory, format } = this;
    const table = this.makeTable(iovaPage, 0);
    if (table === -1) {
      this.error = EADDRINUSE;
      return 0;
    }
    const word = memory.locateForWriting(table) + (iovaPage & LAST_INDEX) * 2;
    const { words } = memory;
    if (format.permissions(words[word]!, words[word + 1]!, 0) !== 0) {
      this.error = EADDRINUSE;
      return 0;
    }
    words[word + 1] = format.leafHigh(physPage, 0, 1, permissions);
    words[word] = format.leafLow(physPage, 0, 1, permissions);
    this.leafWrites = 1;
    if (this.writes !== null) this.clean(table, iovaPage & LAST_INDEX, 1);
    this.countLeafWrites();
    return 1;
  }

  /**
   * Leaves of 4 KiB up to the end of the table, or to the first page at which a larger leaf might begin. Returns the pages
   * done.
   */
  private writeSmallLeaves(
    table: number,
    iovaPage: number,
    physPage: number,
    pages: number,
    permissions: number,
  ): number {
    const { memory, format } = this;
    const first = tableIndex(iovaPage, 0);
    // `&` takes a number modulo 2^32, which the second size divides: exact, and much faster than `%`
    const larger = format.leafSizes[1] ?? ENTRIES_PER_TABLE;
    const untilLarger = larger - (iovaPage & (larger - 1));
    const count = Math.min(pages, ENTRIES_PER_TABLE - first, untilLarger);
    const base = memory.locateForWriting(table) + first * 2;
    const { words } = memory;
    for (let done = 0; done < count; done += 1) {
      const word = base + done * 2;
      if (format.permissions(words[word]!, words[word + 1]!, 0) !== 0) {
        this.error = EADDRINUSE;
        this.leafWrites += done;
        this.clean(table, first, done);
        return done;
      }
      words[word + 1] = format.leafHigh(physPage + done, 0, 1, permissions);
      words[word] = format.leafLow(physPage + done, 0, 1, permissions);
    }
    this.leafWrites += count;
    if (this.writes !== null) this.clean(table, first, count);
    return count;
  }

  /** Makes way for a larger leaf: nothing there, or only empty tables. False: something is mapped in one of its places. */
  private clearForLeaf(table: number, iovaPage: number, level: number, pages: number): boolean {
    const first = tableIndex(iovaPage, level);
    const span = PAGES_PER_ENTRY[level]!;
    const entries = pages / span;
    for (let index = first; index < first + entries; index += 1) {
      if (!this.isPresent(table, index, level)) continue;
      if (!this.holdsTable(table, index, level) || !this.isEmpty(this.entryTarget(table, index), level - 1)) {
        this.error = EADDRINUSE;
        return false;
      }
    }
    for (let index = first; index < first + entries; index += 1) {
      if (!this.isPresent(table, index, level)) continue;
      this.detachTables(this.entryTarget(table, index), level - 1);
      this.clearEntry(table, index);
      this.clean(table, index, 1);
      this.forgetRecentTable();
      const at = iovaPage + (index - first) * span;
      if (this.replacedFirst === -1) this.replacedFirst = at;
      this.replacedEnd = at + span;
    }
    return true;
  }

  private releaseReplaced(): void {
    this.watcher.tablesReplaced(this.replacedFirst * PAGE_BYTES, this.replacedEnd * PAGE_BYTES - 1);
    this.releaseTables(this.detachedTables);
    this.detachedTables = [];
  }

  private isEmpty(table: number, level: number): boolean {
    for (let index = 0; index <= LAST_INDEX; index += 1) {
      if (!this.isPresent(table, index, level)) continue;
      if (!this.holdsTable(table, index, level)) return false;
      if (!this.isEmpty(this.entryTarget(table, index), level - 1)) return false;
    }
    return true;
  }

  private detachTables(table: number, level: number): void {
    for (let index = 0; level > 0 && index <= LAST_INDEX; index += 1) {
      if (this.isPresent(table, index, level)) this.detachTables(this.entryTarget(table, index), level - 1);
    }
    this.detachedTables.push(table);
  }

  /** `increase_top`: roots above the root until the tables reach so far. False where the format allows no more. */
  private growTop(endPage: number): boolean {
    const { format } = this;
    if (!format.dynamicTop || endPage > format.pageLimit(format.levels.at(-1)!)) return false;
    while (endPage > this.pageLimit) {
      const root = this.newTable();
      this.writeTable(root, 0, this.rootPage, this.levels);
      this.rootPage = root;
      this.levels += 1;
      this.pageLimit = format.pageLimit(this.levels);
    }
    this.watcher.topChanged(this.rootPage, this.levels);
    return true;
  }

  /** Clears the leaves of [first, last] in a table of level 0. False: a hole or the inside of a leaf ended the walk. */
  private unmapLeaves(table: number, first: number, last: number): boolean {
    const before = this.unmapNext;
    const whole = this.clearLeaves(table, first, last);
    if (this.writes !== null) this.clean(table, tableIndex(first, 0), this.unmapNext - before);
    return whole;
  }

  private clearLeaves(table: number, first: number, last: number): boolean {
    const { memory, format } = this;
    this.rememberTable(first, table);
    const base = memory.locateForWriting(table);
    const { words } = memory;
    let at = first;
    for (let index = tableIndex(first, 0); at <= last && index <= LAST_INDEX;) {
      const word = base + index * 2;
      const low = words[word]!;
      const high = words[word + 1]!;
      if (format.permissions(low, high, 0) === 0) return false;
      const pages = format.leafPages(low, high, 0);
      if (pages !== 1 && at % pages !== 0) return false;
      for (let entry = 0; entry < pages; entry += 1) {
        words[word + entry * 2] = 0;
        words[word + entry * 2 + 1] = 0;
      }
      this.leafWrites += pages;
      at += pages;
      index += pages;
      this.unmapNext = at;
    }
    return true;
  }

  /** The same for a table of any level. */
  private unmapTable(table: number, level: number, first: number, last: number): boolean {
    if (level === 0) return this.unmapLeaves(table, first, last);
    const { memory, format } = this;
    const span = PAGES_PER_ENTRY[level]!;
    const firstIndex = tableIndex(first, level);
    let index = firstIndex;
    let at = first;
    let whole = true;
    while (at <= last && index <= LAST_INDEX) {
      const low = memory.readWord(table, index * 2);
      const high = memory.readWord(table, index * 2 + 1);
      whole = format.permissions(low, high, level) !== 0;
      if (!whole) break;
      const base = at - (at % span);
      if (format.isLeaf(low, level)) {
        const pages = format.leafPages(low, high, level);
        whole = at % pages === 0;
        if (!whole) break;
        const entries = pages / span;
        for (let entry = 0; entry < entries; entry += 1) this.clearEntry(table, index + entry);
        if (this.unmapCleaning === 'cleared') this.clean(table, index, entries);
        this.leafWrites += entries;
        index += entries;
        at += pages;
        this.unmapNext = at;
        continue;
      }
      const end = base + span - 1;
      const child = format.target(low, high, level);
      whole = this.unmapTable(child, level - 1, at, Math.min(last, end));
      if (!whole) break;
      if (at === base && last >= end) {
        this.clearEntry(table, index);
        if (this.unmapCleaning === 'cleared') this.clean(table, index, 1);
        this.detachedTables.push(child);
        this.forgetRecentTable();
      }
      at = base + span;
      index += 1;
    }
    if (this.unmapCleaning === 'passed') this.clean(table, firstIndex, index - firstIndex);
    return whole;
  }
}
