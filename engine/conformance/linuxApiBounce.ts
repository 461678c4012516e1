/**
 * Where the recorded machine's pool of bounce buffers lay. The address of the first buffer in a recording is an input: it says
 * where the search had come to. Where the pool's segments of 256 KiB begin is one too, and shows only when a buffer does not
 * fit the rest of a segment, so every page that they might begin at is a candidate, and the one that explains most is taken.
 * All later addresses follow (Linux kernel/dma/swiotlb.c, `swiotlb_search_pool_area`).
 * Leaves out: where the pool ends, which a recording shows only by going all the way round.
 */
import { IO_TLB_SEGSIZE, IO_TLB_SIZE } from '../dma/swiotlbPool.ts';
import { PAGE_SIZE } from '../memory/addresses.ts';
import { wholeNumber } from './linuxApiObjects.ts';
import type { ApiRecord } from './linuxApiRecord.ts';
import type { ApiSystem } from './linuxApiSystem.ts';
import { type ApiValue, isList } from './linuxApiValue.ts';

const SEGMENT_PAGES = (IO_TLB_SEGSIZE * IO_TLB_SIZE) / PAGE_SIZE;
const SLOTS_PER_PAGE = PAGE_SIZE / IO_TLB_SIZE;
const FOUR_GIB = 2 ** 32;

export interface BouncePool {
  readonly firstPage: number;
  /** The slot at which the next search begins. */
  readonly startIndex: number;
}

/** Candidates in the order in which they are to be tried; more than one only where the recording bounces. */
export function bouncePools(system: ApiSystem, records: readonly ApiRecord[]): readonly BouncePool[] {
  const first = firstBounce(records);
  if (first === null) return [{ firstPage: unusedPlace(system), startIndex: 0 }];
  const slot = Math.floor((first % PAGE_SIZE) / IO_TLB_SIZE);
  const page = Math.floor(first / PAGE_SIZE);
  const before = Math.min(SEGMENT_PAGES, page);
  return Array.from({ length: before }, (_, pages) => ({
    firstPage: page - pages,
    startIndex: pages * SLOTS_PER_PAGE + slot,
  }));
}

/** Pages that the pool may take, whichever candidate is the right one. */
export function bouncePages(
  system: ApiSystem,
  pools: readonly BouncePool[],
): { readonly first: number; readonly end: number } {
  const starts = pools.map((pool) => pool.firstPage);
  return { first: Math.min(...starts), end: Math.max(...starts) + Math.ceil(system.swiotlbSlots / SLOTS_PER_PAGE) };
}

/** Physical address of the first buffer that was found. */
function firstBounce(records: readonly ApiRecord[]): number | null {
  for (const { events, fields } of records) {
    const at = events?.findIndex((event) => event.name === 'bounce') ?? -1;
    if (events === null || at < 0) continue;
    const mapped = events.slice(at).find((event) => event.name === 'map');
    const address = mapped === undefined ? directAddress(fields) : number(mapped.values[1]);
    if (address !== null && address < FOUR_GIB) return address;
  }
  return null;
}

/** Without translation the mapping's address is the buffer's. */
function directAddress(fields: ApiRecord['fields']): number | null {
  const { dma, out } = fields;
  if (!isList(out)) return number(dma);
  return isList(out[0]) ? number(out[0][0]) : null;
}

function number(value: ApiValue | undefined): number | null {
  return typeof value === 'string' ? wholeNumber(value) : null;
}

/** The kernel takes the pool from the end of the RAM below 4 GiB. */
function unusedPlace(system: ApiSystem): number {
  const low = system.iomem.ram.findLast((region) => region.end < FOUR_GIB);
  const end = Math.floor(((low?.end ?? 0) + 1) / PAGE_SIZE);
  const pages = Math.ceil(system.swiotlbSlots / SLOTS_PER_PAGE);
  return Math.max(Math.floor((end - pages) / SEGMENT_PAGES) * SEGMENT_PAGES, 0);
}
