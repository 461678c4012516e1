/**
 * Cache lines that are mapped for writing by a device (Linux kernel/dma/debug.c: `active_cacheline_insert`,
 * `active_cacheline_inc_overlap`): two such mappings of one line overwrite each other's data where caches are not coherent.
 * As in the kernel, the first line of a mapping stands for the whole of it.
 */
import { DMA_TO_DEVICE } from '../attributes.ts';
import type { MappingEntry } from './mappingBook.ts';

/** `L1_CACHE_SHIFT` of x86. */
const CACHE_LINE_BYTES = 64;
/** `ACTIVE_CACHELINE_MAX_OVERLAP`: what three tag bits of a radix tree count to. */
export const MAX_OVERLAP = 7;

export class CacheLines {
  /** Mappings beyond the first, of each active line. */
  private readonly overlaps = new Map<number, number>();

  /** How many other mappings the line has; the mapping is counted from now on. */
  insert(entry: Pick<MappingEntry, 'phys' | 'direction'>): number {
    if (entry.direction === DMA_TO_DEVICE) return 0;
    const line = lineOf(entry.phys);
    const others = this.overlaps.get(line);
    const now = others === undefined ? 0 : others + 1;
    this.overlaps.set(line, Math.min(now, MAX_OVERLAP + 1));
    return now;
  }

  remove(entry: Pick<MappingEntry, 'phys' | 'direction'>): void {
    if (entry.direction === DMA_TO_DEVICE) return;
    const line = lineOf(entry.phys);
    const others = this.overlaps.get(line);
    if (others === undefined) return;
    if (others === 0) this.overlaps.delete(line);
    else this.overlaps.set(line, others - 1);
  }
}

export function lineOf(phys: number): number {
  return Math.floor(phys / CACHE_LINE_BYTES);
}
