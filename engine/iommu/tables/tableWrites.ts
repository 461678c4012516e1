/**
 * What becomes of the kernel's writes to its page tables before a walker reads them. On most machines walkers look into the CPUs'
 * caches, and there is nothing to do. Where they do not (VT-d ECAP.C = 0, ECAP.SMPWC = 0 in scalable mode; SMMU IDR0.COHACC = 0), the
 * kernel cleans the cache lines of every entry and every table that it has written, before it lets the hardware look: `clflush` on
 * x86, `dma_sync_single_for_device` on Arm. What it forgets, walkers do not see (writeBackTables.ts).
 * Leaves out: root, context and stream tables, which are written and cleaned in one.
 */
import type { PhysicalMemory } from '../../memory/physicalMemory.ts';

export interface TableWrites {
  /** The tables as the kernel reads and writes them. */
  readonly view: PhysicalMemory;
  /** A page has become a table; the kernel has zeroed it. Returns the cache lines that were cleaned. */
  tableAllocated(page: number): number;
  /** Entries of a table have been written, or may have been. Returns the cache lines that were cleaned. */
  entriesWritten(page: number, firstEntry: number, entries: number): number;
  /** A page is no table any more. */
  tableFreed(page: number): void;
}

/**
 * What an unmap cleans: `passed`: of every table on its way the entries that it went through, changed or not (generic_pt/iommu_pt.h
 * `__unmap_range`); `cleared`: the entries that it cleared (io-pgtable-arm.c `__arm_lpae_clear_pte`, since it takes several).
 */
export type UnmapCleaning = 'passed' | 'cleared';
