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
  private readonly active = new Map<number, MappingEntry[]>();

  /** The other mappings of the line, oldest first; this one is among them from now on. */
  insert(entry: MappingEntry): readonly MappingEntry[] {
    if (entry.direction === DMA_TO_DEVICE) return [];
    const line = lineOf(entry.phys);
    const others = this.active.get(line);
    if (others === undefined) {
      this.active.set(line, [entry]);
      return [];
    }
    const before = [...others];
    others.push(entry);
    return before;
  }

  remove(entry: MappingEntry): void {
    if (entry.direction === DMA_TO_DEVICE) return;
    const line = lineOf(entry.phys);
    const mappings = this.active.get(line) ?? [];
    const index = mappings.indexOf(entry);
    if (index >= 0) mappings.splice(index, 1);
    if (mappings.length === 0) this.active.delete(line);
  }
}

function lineOf(phys: number): number {
  return Math.floor(phys / CACHE_LINE_BYTES);
}
