/**
 * The page table of a process, as far as others can see it: for each page of addresses a physical page and whether it may be
 * written, in regions of 2 MiB that may be one huge entry (Linux arch/x86 pte and pmd; `is_migration_entry`). A region that is
 * huge can be split into 512 entries that mean the same.
 * Leaves out: the bits in memory and the CPU's walk and TLB, which no device sees; levels above; 1 GiB entries.
 */
import { HUGE_PAGES } from './userPages.ts';

/** Flags of an entry; 0: there is none. */
export const PTE_PRESENT = 1;
export const PTE_WRITE = 2;
export const PTE_DIRTY = 4;
/** Not present: the page is on its way to another frame. The entry still names the old one. */
export const PTE_MIGRATION = 8;
/** Not present: the page lies in the swap area, and the entry names its slot. */
export const PTE_SWAP = 16;

class Region {
  readonly pages = new Float64Array(HUGE_PAGES);
  readonly flags = new Uint8Array(HUGE_PAGES);
  /** One entry for all: `pages[0]` and `flags[0]` hold it. */
  huge = false;
  used = 0;
}

export class CpuPageTable {
  private readonly regions = new Map<number, Region>();

  /** Entries, a huge one counted as 512. */
  get size(): number {
    let size = 0;
    for (const region of this.regions.values()) size += region.used;
    return size;
  }

  flagsOf(address: number): number {
    const region = this.regions.get(Math.floor(address / HUGE_PAGES));
    if (region === undefined) return 0;
    return region.flags[region.huge ? 0 : address % HUGE_PAGES]!;
  }

  /** Only meaningful where `flagsOf` is not 0. */
  pageOf(address: number): number {
    const region = this.regions.get(Math.floor(address / HUGE_PAGES));
    if (region === undefined) return -1;
    const index = address % HUGE_PAGES;
    return region.huge ? region.pages[0]! + index : region.pages[index]!;
  }

  isHuge(address: number): boolean {
    return this.regions.get(Math.floor(address / HUGE_PAGES))?.huge ?? false;
  }

  /** Whether a 2 MiB region has no entry at all (`pmd_none`). */
  isEmptyRegion(address: number): boolean {
    return !this.regions.has(Math.floor(address / HUGE_PAGES));
  }

  /** A small entry; a huge one around it is split first. */
  set(address: number, page: number, flags: number): void {
    const key = Math.floor(address / HUGE_PAGES);
    let region = this.regions.get(key);
    if (region === undefined) {
      region = new Region();
      this.regions.set(key, region);
    }
    if (region.huge) split(region);
    const index = address % HUGE_PAGES;
    if (region.flags[index] === 0) region.used += 1;
    region.pages[index] = page;
    region.flags[index] = flags;
  }

  /** `address` and `page` are multiples of 512; replaces whatever the region held. */
  setHuge(address: number, page: number, flags: number): void {
    const key = address / HUGE_PAGES;
    const region = this.regions.get(key) ?? new Region();
    region.huge = true;
    region.used = HUGE_PAGES;
    region.pages[0] = page;
    region.flags[0] = flags;
    this.regions.set(key, region);
  }

  clear(address: number): void {
    const key = Math.floor(address / HUGE_PAGES);
    const region = this.regions.get(key);
    if (region === undefined) return;
    if (region.huge) split(region);
    const index = address % HUGE_PAGES;
    if (region.flags[index] === 0) return;
    region.flags[index] = 0;
    region.used -= 1;
    if (region.used === 0) this.regions.delete(key);
  }

  /** Changes the flags of an entry in place; of a huge one only when it lies within [start, end), else it is split. */
  protect(address: number, keep: number, start: number, end: number): void {
    const region = this.regions.get(Math.floor(address / HUGE_PAGES));
    if (region === undefined) return;
    if (region.huge) {
      const first = address - (address % HUGE_PAGES);
      if (first >= start && first + HUGE_PAGES <= end) {
        region.flags[0]! &= keep;
        return;
      }
      split(region);
    }
    region.flags[address % HUGE_PAGES]! &= keep;
  }

  /** The first address at or above `address` and below `end` that has an entry, or `end`. */
  next(address: number, end: number): number {
    let at = address;
    while (at < end) {
      const region = this.regions.get(Math.floor(at / HUGE_PAGES));
      if (region === undefined) at = (Math.floor(at / HUGE_PAGES) + 1) * HUGE_PAGES;
      else if (region.huge || region.flags[at % HUGE_PAGES] !== 0) return at;
      else at += 1;
    }
    return end;
  }
}

function split(region: Region): void {
  const page = region.pages[0]!;
  for (let index = 0; index < HUGE_PAGES; index += 1) region.pages[index] = page + index;
  region.flags.fill(region.flags[0]!);
  region.huge = false;
}
