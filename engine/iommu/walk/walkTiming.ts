/**
 * How long walks take: each waits for one of the walkers, all of which may be at work, and for the way to memory; then its reads follow one
 * another, each once it is known where its table lies. What a walk is comes from walker.ts, which has made it at once.
 * Leaves out: reads of one walk side by side.
 */
import type { MemoryPort } from '../../memory/memoryPort.ts';
import type { TableReadTiming } from '../../memory/memoryTiming.ts';
import { picoseconds, type Picoseconds } from '../../time/picoseconds.ts';
import type { PagingStructureCache } from '../caches/pagingStructureCache.ts';
import type { Walker } from './walker.ts';

/** In picoseconds. */
export interface WalkCosts {
  /** One read of a page-table, root or context entry. */
  readonly tableRead: Picoseconds;
  /** Arbitration, queueing and fill of one walk. */
  readonly walkOverhead: Picoseconds;
}

export class WalkTiming {
  /** When each walker is done with its walk. */
  readonly walkerFreeAt: Float64Array;
  /** Null: every read of a table takes the same. */
  readonly tableReadTiming: TableReadTiming | null;
  private readonly costs: WalkCosts;
  private readonly pagingCache: PagingStructureCache;
  private readonly memoryPort: MemoryPort | null;

  constructor(
    costs: WalkCosts,
    walkers: number,
    pagingCache: PagingStructureCache,
    memoryPort: MemoryPort | null,
    tableReadTiming: TableReadTiming | null,
  ) {
    this.costs = costs;
    this.walkerFreeAt = new Float64Array(walkers);
    this.pagingCache = pagingCache;
    this.memoryPort = memoryPort;
    this.tableReadTiming = tableReadTiming;
  }

  /** Until when the walk takes that was just made, with these paging-structure caches; what they were filled with is known from its reads on. */
  endOf(walker: Walker, at: number): number {
    const { costs, walkerFreeAt, tableReadTiming, pagingCache } = this;
    let free = 0;
    for (let other = 1; other < walkerFreeAt.length; other += 1) {
      if (walkerFreeAt[other]! < walkerFreeAt[free]!) free = other;
    }
    let start = Math.max(at, walkerFreeAt[free]!);
    if (this.memoryPort !== null) start = this.memoryPort.walk(picoseconds(start));
    let end = start + costs.walkOverhead;
    for (let read = 0; read < walker.reads; read += 1) {
      end = pagingCache.readCanStart(read, end);
      if (tableReadTiming === null) end += costs.tableRead;
      else end = tableReadTiming.tableRead(walker.readTables[read]!, walker.readIndexes[read]! * 2, end);
      pagingCache.readEnds(read, end);
    }
    walkerFreeAt[free] = end;
    return end;
  }
}
