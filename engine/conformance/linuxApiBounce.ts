/**
 * Where the recorded machine's pool of bounce buffers lay. The address of the first buffer in a recording is an input: it says
 * where the search had come to; on several CPUs the first of each, for each has an area of its own. Where the pool's segments of 256 KiB begin is one too, and shows only when a buffer does not
 * fit the rest of a segment, so every page that they might begin at is a candidate, and the one that explains most is taken.
 * All later addresses follow (Linux kernel/dma/swiotlb.c, `swiotlb_search_pool_area`).
 * Leaves out: where the pool ends, which a recording shows only by going all the way round.
 */
import { swiotlbAreas } from '../dma/swiotlb/swiotlb.ts';
import { IO_TLB_SEGSIZE, IO_TLB_SIZE } from '../dma/swiotlb/swiotlbPool.ts';
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
  readonly areas: number;
  /** The slot of each area at which its next search begins; none where the recording never bounces. */
  readonly startIndex: readonly number[];
}

/** Candidates in the order in which they are to be tried; more than one only where the recording bounces. */
export function bouncePools(system: ApiSystem, records: readonly ApiRecord[]): readonly BouncePool[] {
  const areas = swiotlbAreas(system.cpus, system.swiotlbSlots);
  const areaSlots = system.swiotlbSlots / areas;
  /** Of each area: its first buffer's slot, counted from address 0 as if the areas before it were not there. */
  const slots = firstBounces(records, areas).map((address, area) =>
    address === null ? null : Math.floor(address / IO_TLB_SIZE) - area * areaSlots,
  );
  const known = slots.filter((slot) => slot !== null);
  if (known.length === 0) return [{ firstPage: unusedPlace(system), areas, startIndex: [] }];
  const page = Math.floor(Math.min(...known) / SLOTS_PER_PAGE);
  const candidates = Math.max(Math.min(SEGMENT_PAGES, page), 1);
  return Array.from({ length: candidates }, (_, pages) => {
    const firstPage = Math.max(page - pages, 0);
    const startIndex = slots.map((slot) => (slot === null ? 0 : slot - firstPage * SLOTS_PER_PAGE));
    return { firstPage, areas, startIndex: startIndex.map((index) => (index < areaSlots ? index : 0)) };
  });
}

/** Pages that the pool may take, whichever candidate is the right one. */
export function bouncePages(
  system: ApiSystem,
  pools: readonly BouncePool[],
): { readonly first: number; readonly end: number } {
  const starts = pools.map((pool) => pool.firstPage);
  return { first: Math.min(...starts), end: Math.max(...starts) + Math.ceil(system.swiotlbSlots / SLOTS_PER_PAGE) };
}

/** Of each area the physical address of the first buffer that was found in it. */
function firstBounces(records: readonly ApiRecord[], areas: number): (number | null)[] {
  const first = new Array<number | null>(areas).fill(null);
  let cpu = 0;
  for (const { word, names, events, fields } of records) {
    if (word === 'cpu') cpu = wholeNumber(names[0] ?? '') ?? 0;
    const area = cpu % areas;
    const at = events?.findIndex((event) => event.name === 'bounce') ?? -1;
    if (events === null || at < 0 || first[area] !== null) continue;
    const mapped = events.slice(at).find((event) => event.name === 'map');
    const address = mapped === undefined ? directAddress(fields, events[at]?.values[0]) : number(mapped.values[1]);
    if (address !== null && address < FOUR_GIB) first[area] = address;
  }
  return first;
}

/** Without translation the mapping's address is the buffer's; of a list, that of the entry which was bounced. */
function directAddress(fields: ApiRecord['fields'], bounced: ApiValue | undefined): number | null {
  const { dma, in: entries, out } = fields;
  if (!isList(out)) return number(dma);
  const index = isList(entries) ? entries.findIndex((entry) => isList(entry) && entry[0] === bounced) : 0;
  const segment = out[index];
  return isList(segment) ? number(segment[0]) : null;
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
