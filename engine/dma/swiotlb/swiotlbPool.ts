/**
 * The slots of the bounce-buffer pool: which are free, and where a buffer may lie (Linux kernel/dma/swiotlb.c,
 * `swiotlb_search_pool_area`, `swiotlb_release_slots`). The pool is cut into areas, one for each CPU, with a search position
 * of its own; slots are 2 KiB, and a buffer lies within one segment of 128 slots. For each slot `list` counts the free slots
 * from it to the end of its segment.
 * Leaves out: locks, and pools that are added while the system runs.
 */

const IO_TLB_SHIFT = 11;
export const IO_TLB_SIZE = 1 << IO_TLB_SHIFT;
export const IO_TLB_SEGSIZE = 128;

/** No slot. */
export const NO_SLOT = -1;

/** What a buffer asks of its place. Addresses are bytes. */
export interface SlotRequest {
  readonly slots: number;
  /** Bits of the address that must be 0; at least those of a slot. */
  readonly allocAlignMask: number;
  /** Bits above a slot that must be those of the original address. */
  readonly minAlignMask: number;
  readonly original: number;
  readonly segBoundaryMask: number;
}

interface Area {
  readonly firstSlot: number;
  /** Where the next search begins, relative to the area. */
  index: number;
  used: number;
}

export class SwiotlbPool {
  readonly start: number;
  readonly slots: number;
  /** `io_tlb_used` and `io_tlb_used_hiwater`. */
  used = 0;
  usedHighWater = 0;
  private readonly areas: readonly Area[];
  private readonly areaSlots: number;
  private readonly list: Uint8Array;

  /**
   * `start`: address of the first slot. `slots`: a multiple of 128 for each area. `startIndex`: where area 0 begins its search,
   * or each area.
   */
  constructor(start: number, slots: number, areas: number, startIndex: number | readonly number[]) {
    this.start = start;
    this.slots = slots;
    this.areaSlots = slots / areas;
    const startIndexes = typeof startIndex === 'number' ? [startIndex] : startIndex;
    this.areas = Array.from({ length: areas }, (_, index) => ({
      firstSlot: index * this.areaSlots,
      index: startIndexes[index] ?? 0,
      used: 0,
    }));
    this.list = Uint8Array.from({ length: slots }, (_, slot) =>
      Math.min(IO_TLB_SEGSIZE - (slot % IO_TLB_SEGSIZE), slots - slot),
    );
  }

  /** `swiotlb_find_slots`: begins in the area of this CPU; NO_SLOT when no area has room. */
  allocate(cpuId: number, request: SlotRequest): number {
    const { areas } = this;
    for (let tried = 0; tried < areas.length; tried += 1) {
      const slot = this.searchArea(areas[(cpuId + tried) % areas.length]!, request);
      if (slot !== NO_SLOT) return slot;
    }
    return NO_SLOT;
  }

  /** `swiotlb_release_slots`: joins the slots with the free ones on both sides, within their segment. */
  release(first: number, slots: number): void {
    const { list } = this;
    const behind = first + slots;
    let count = behind % IO_TLB_SEGSIZE === 0 || behind >= this.slots ? 0 : list[behind]!;
    for (let slot = behind - 1; slot >= first; slot -= 1) {
      count += 1;
      list[slot] = count;
    }
    this.recount(first - 1, count);
    this.areas[Math.floor(first / this.areaSlots)]!.used -= slots;
    this.used -= slots;
  }

  private searchArea(area: Area, request: SlotRequest): number {
    const { slots, allocAlignMask, minAlignMask, original } = request;
    const { areaSlots } = this;
    if (slots > areaSlots - area.used) return NO_SLOT;
    const base = bits(this.start, request.segBoundaryMask);
    const stride = Math.floor(Math.max(allocAlignMask, minAlignMask) / IO_TLB_SIZE) + 1;
    const wanted = bits(original, minAlignMask);
    let { index } = area;
    for (let checked = 0; checked < areaSlots;) {
      const slot = area.firstSlot + index;
      const address = base + slot * IO_TLB_SIZE;
      // no address of 0 is a buffer's: the kernel takes it for a request without an original
      const matches = original === 0 || bits(address, minAlignMask) === wanted;
      const aligned = matches && bits(address, allocAlignMask) === 0;
      if (aligned && this.list[slot]! >= slots && !crossesBoundary(address, slots, request.segBoundaryMask)) {
        this.take(slot, slots);
        area.index = (index + slots) % areaSlots;
        area.used += slots;
        this.used += slots;
        this.usedHighWater = Math.max(this.usedHighWater, this.used);
        return slot;
      }
      const step = aligned ? stride : 1;
      index = this.wrap(index + step);
      checked += step;
    }
    return NO_SLOT;
  }

  private take(first: number, slots: number): void {
    this.list.fill(0, first, first + slots);
    this.recount(first - 1, 0);
  }

  /** The free slots right before a place, up to the start of their segment: `count` free ones follow them. */
  private recount(from: number, count: number): void {
    const { list } = this;
    let free = count;
    for (let slot = from; slot >= 0 && slot % IO_TLB_SEGSIZE !== IO_TLB_SEGSIZE - 1 && list[slot]! > 0; slot -= 1) {
      free += 1;
      list[slot] = free;
    }
  }

  /** `wrap_area_index`: a step beyond the end leads to the beginning, whatever its length. */
  private wrap(index: number): number {
    return index >= this.areaSlots ? 0 : index;
  }
}

/** The bits of a byte address that a mask names; exact beyond 32 bits. */
export function bits(address: number, mask: number): number {
  if (mask <= 0x7fff_ffff) return (address & mask) >>> 0;
  if (mask >= Number.MAX_SAFE_INTEGER) return address;
  return Number(BigInt(address) & BigInt(mask));
}

/** `iommu_is_span_boundary`. */
function crossesBoundary(address: number, slots: number, segBoundaryMask: number): boolean {
  if (segBoundaryMask >= Number.MAX_SAFE_INTEGER) return false;
  const boundarySlots = Math.floor(segBoundaryMask / IO_TLB_SIZE) + 1;
  return (Math.floor(address / IO_TLB_SIZE) % boundarySlots) + slots > boundarySlots;
}
