/**
 * One line of text for every event of a DMA mapping, the same for an event that a real kernel recorded and for one that the
 * emulator produced: two events agree when their lines are equal. IOVAs are replaced by a range's name and the position
 * inside it, because the recorded boot had a past that decides which numbers are free. The wording is ftrace's.
 * Leaves out: the domain id, which is history too, and pointers.
 */
import { PAGE_SIZE } from '../memory/addresses.ts';

/** A range of IOVAs while it is allocated. */
export interface IovaRange {
  /** Who allocated it, such as `the request at line 14`. */
  readonly owner: string;
  /** The how-manieth of its owner, from 0. */
  readonly index: number;
  readonly pfn: number;
  readonly pages: number;
}

function hex(value: number): string {
  return `0x${value.toString(16)}`;
}

/** Attribute names as tracepoints print them (Linux include/trace/events/dma.h), in order of their bits. */
const ATTRIBUTE_NAMES: readonly (readonly [number, string])[] = [
  [1 << 1, 'WEAK_ORDERING'],
  [1 << 2, 'WRITE_COMBINE'],
  [1 << 4, 'NO_KERNEL_MAPPING'],
  [1 << 5, 'SKIP_CPU_SYNC'],
  [1 << 6, 'FORCE_CONTIGUOUS'],
  [1 << 7, 'ALLOC_SINGLE_PAGES'],
  [1 << 8, 'NO_WARN'],
  [1 << 9, 'PRIVILEGED'],
  [1 << 10, 'MMIO'],
];

export function attributeNames(bits: number): string {
  return ATTRIBUTE_NAMES.filter(([bit]) => (bits & bit) !== 0)
    .map(([, name]) => name)
    .join('|');
}

export function directionName(direction: number): string {
  return ['BIDIRECTIONAL', 'TO_DEVICE', 'FROM_DEVICE', 'NONE'][direction] ?? String(direction);
}

/** Names addresses by the ranges of the request whose list is being written. */
export class RangeNames {
  readonly #own: readonly IovaRange[];

  constructor(own: readonly IovaRange[]) {
    this.#own = own;
  }

  /** A DMA address: behind an IOMMU a place in a range, in passthrough the physical address itself. */
  address(address: number): string {
    const pfn = Math.floor(address / PAGE_SIZE);
    // The latest allocation wins: a range may have been given back and taken again within one list.
    const range = this.#own.findLast((own) => pfn >= own.pfn && pfn < own.pfn + own.pages);
    return range === undefined ? hex(address) : `range ${range.index}+${hex(address - range.pfn * PAGE_SIZE)}`;
  }

  /** The address of coherent memory: behind an IOMMU a place in a range; in passthrough the allocator's choice. */
  coherent(address: number): string {
    const place = this.address(address);
    return place.startsWith('range') ? place : 'of the pool';
  }

  range(range: IovaRange | undefined, pfn: number): string {
    if (range === undefined) return `pfn ${hex(pfn)}`;
    return this.#own.includes(range) ? `range ${range.index}` : `range ${range.index} of ${range.owner}`;
  }
}

export interface FlushText {
  readonly wholeDomain: boolean;
  readonly start: number;
  /** Last byte. */
  readonly end: number;
  readonly address: number;
  readonly mask: number;
  /** Printed up to 6.17 only. */
  readonly pages: number | null;
}

/** The lines. Every function is called with what a tracepoint prints, whichever side it comes from. */
export const lines = {
  allocFast(
    pages: number,
    limitPfn: number,
    flushRcache: boolean,
    treePages: readonly number[],
    range: string,
  ): string {
    const path = treePages.length === 0 ? 'from the cache' : `from the tree, ${treePages.join(' and ')} pages`;
    return `alloc_fast size=${pages} limit_pfn=${hex(limitPfn)} flush_rcache=${Number(flushRcache)} ${path}: ${range}`;
  },
  freeFast(range: string, pages: number): string {
    return `free_fast ${range} size=${pages}`;
  },
  map(place: string, phys: number | null, size: number): string {
    return `map iova=${place} paddr=${phys === null ? 'of the pool' : hex(phys)} size=${size}`;
  },
  unmap(place: string, size: number, unmapped: number): string {
    return `unmap iova=${place} size=${size} unmapped_size=${unmapped}`;
  },
  flush(flush: FlushText, names: RangeNames): string {
    if (flush.wholeDomain)
      return `cache_tag_flush_range whole domain addr ${hex(flush.address)} mask ${hex(flush.mask)}`;
    const pages = flush.pages === null ? '' : ` pages ${hex(flush.pages)}`;
    const size = hex(flush.end - flush.start + 1);
    return `cache_tag_flush_range [${names.address(flush.start)}, +${size}] addr ${names.address(flush.address)}${pages} mask ${hex(flush.mask)}`;
  },
  invalidate(granularity: string, place: string, mask: number, hint: boolean): string {
    if (granularity !== 'page') return `qi_submit iotlb_inv ${granularity}`;
    return `qi_submit iotlb_inv page addr ${place} mask ${mask} hint ${Number(hint)}`;
  },
  mapOne(name: string, direction: string, place: string, size: number, phys: number, attributes: string): string {
    return `${name} dir=${direction} dma_addr=${place} size=${size} phys_addr=${hex(phys)} attrs=${attributes}`;
  },
  unmapOne(name: string, direction: string, place: string, size: number, attributes: string): string {
    return `${name} dir=${direction} dma_addr=${place} size=${size} attrs=${attributes}`;
  },
  mapSg(
    direction: string,
    entries: number,
    places: readonly string[],
    sizes: readonly number[],
    phys: readonly number[],
    attributes: string,
  ): string {
    const list = (values: readonly number[]): string => values.map(hex).join(',');
    return `dma_map_sg dir=${direction} nents=${entries} dma_addrs={${places.join(',')}} sizes={${list(sizes)}} phys_addrs={${list(phys)}} attrs=${attributes}`;
  },
  unmapSg(direction: string, phys: readonly number[], attributes: string): string {
    return `dma_unmap_sg dir=${direction} phys_addrs={${phys.map(hex).join(',')}} attrs=${attributes}`;
  },
  coherent(name: string, place: string, size: number): string {
    return `${name} dma_addr=${place} size=${size}`;
  },
  tryAlloc(phys: number, size: number, allocated: boolean, place: string, stateSize: number): string {
    const state = allocated ? `addr=${place} ssize=${hex(stateSize)}` : 'addr=0';
    return `dma_iova_try_alloc phys=${hex(phys)} size=${size} ret=${Number(allocated)} ${state}`;
  },
  link(
    place: string,
    stateSize: number,
    phys: number,
    offset: number,
    size: number,
    direction: string,
    result: number,
  ): string {
    return `dma_iova_link addr=${place} ssize=${hex(stateSize)} phys=${hex(phys)} off=${offset} size=${size} dir=${direction} ret=${result}`;
  },
  sync(place: string, offset: number, size: number, result: number): string {
    return `dma_iova_sync addr=${place} off=${offset} size=${size} ret=${result}`;
  },
  unlink(place: string, offset: number, size: number): string {
    return `dma_iova_unlink addr=${place} off=${offset} size=${size}`;
  },
  destroy(place: string, stateSize: number, mapped: number): string {
    return `dma_iova_destroy addr=${place} ssize=${hex(stateSize)} mapped=${mapped}`;
  },
  free(place: string, size: number): string {
    return `dma_iova_free addr=${place} ssize=${hex(size)}`;
  },
};
