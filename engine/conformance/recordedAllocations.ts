/**
 * The IOVA allocations in a recorded list of calls: what was asked for, how often the tree was searched, and what came out.
 * Leaves out: which number came out of which cache, which is the past's.
 */
import type { FtraceRecord } from '../formats/ftrace.ts';

/** One allocation of a request, as far as the recording decides it: what came from the cache and what from the tree. */
export interface RecordedAllocation {
  readonly pages: number;
  readonly slow: boolean;
  readonly limitPfn: number;
}

export interface Allocation extends RecordedAllocation {
  readonly first: FtraceRecord;
  readonly flushRcache: boolean;
  readonly treePages: readonly number[];
  /** Of each search of the tree. */
  readonly treeLimits: readonly number[];
  readonly pfn: number;
  readonly line: number;
}

/** The allocations in a list: `alloc_fast`, `alloc_slow` for every search of the tree, `alloc_fast_ret`. */
export function allocationsOf(records: readonly FtraceRecord[]): Allocation[] {
  const found: Allocation[] = [];
  for (const [index, record] of records.entries()) {
    const event = record.event;
    if (event.name !== 'alloc_fast') continue;
    const treePages: number[] = [];
    const treeLimits: number[] = [];
    for (const inner of records.slice(index + 1)) {
      if (inner.event.name === 'alloc_slow') {
        treePages.push(inner.event.pages);
        treeLimits.push(inner.event.limitPfn);
      } else if (inner.event.name === 'alloc_fast_ret') {
        found.push({
          first: record,
          pages: event.pages,
          limitPfn: event.limitPfn,
          flushRcache: event.flushRcache,
          treePages,
          treeLimits,
          slow: treePages.length > 0,
          pfn: inner.event.pfn,
          line: inner.line,
        });
        break;
      } else break;
    }
  }
  return found;
}
