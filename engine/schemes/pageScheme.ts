/**
 * The page-indexed half of a mapping scheme: a region of which nothing is pinned has its place reserved once, and its pages are mapped and
 * unmapped one by one or batch by batch as faults and invalidations come (on-demand paging; Linux mm/hmm.c `hmm_dma_map_alloc`,
 * `hmm_dma_map_pfn`, `hmm_dma_unmap_pfn`, `hmm_dma_map_free` is one of them). `hmm_range_fault` fills the list of pages, the scheme notes in
 * it what it mapped and how, and the driver writes the addresses into the adapter's table.
 * Leaves out: entries larger than a page.
 */
import type { HmmPfnList } from '../memory/hmmPfn.ts';
import type { Cpu } from '../time/cpu.ts';
import type { SchemeName } from './scheme.ts';

/** A piece of a region, in entries. */
export interface EntryRange {
  first: number;
  /** One past the last entry. */
  end: number;
}

export interface PageScheme {
  readonly name: SchemeName;
  /** Requests and answers of `hmm_range_fault`, with the bits of the mapping in them. Empty before `reserve`. */
  readonly pfns: HmmPfnList;
  /** Pages that have an address for the device. */
  readonly mapped: number;
  /** Memory that is held for the region beyond its pages and the adapter's table. */
  readonly bookkeepingBytes: number;
  /** Why the last call was refused, for people; empty: it was not. */
  readonly refusal: string;
  /** A place for so many pages: 0 or a negative errno, after which nothing is held. */
  reserve(cpu: Cpu, entries: number): number;
  /**
   * Maps what is valid of [first, first + count); what was mapped before keeps its address. Addresses for the device go to `addresses` from
   * its start, and DMA_MAPPING_ERROR where the process has no page. 0 or a negative errno; what is mapped then, its invalidation unmaps.
   */
  mapPages(cpu: Cpu, first: number, count: number, addresses: Float64Array): number;
  /** Widens a piece to all entries that lose their address with it: the device must have let go of all of them. */
  widen(range: EntryRange): void;
  /** Unmaps a piece and all that goes with it; its bits go from the list, pages and permissions stay. Returns the pages unmapped. */
  unmapPages(cpu: Cpu, first: number, end: number): number;
  /** Gives the place back; every page must be unmapped. */
  release(cpu: Cpu): void;
}
