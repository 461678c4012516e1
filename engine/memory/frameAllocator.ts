/**
 * Who owns which frame of a memory node. Frames for page tables, queues and buffers are handed out from the top down, since
 * recordings of small machines own low addresses; a freed frame is the next to be given. Pages that a recording names are
 * claimed where they are; memory for devices that reach no further is claimed from the bottom up, and given back to there.
 * Leaves out: Linux's buddy allocator; contiguity is what the caller asks for.
 */
import { LabError } from '../time/labError.ts';
import type { PhysicalMemory } from './physicalMemory.ts';
import { PAGE_SIZE } from './addresses.ts';

export class FrameAllocator {
  private readonly memory: PhysicalMemory;
  private readonly name: string;
  private readonly firstPage: number;
  /** One past the last page. */
  readonly endPage: number;
  /** Pages from here up have been handed out from the top. */
  private boundary: number;
  private readonly freed: number[] = [];
  /** Claimed ranges [first, end), sorted, disjoint, all below the boundary. */
  private readonly claimed: { first: number; end: number }[] = [];

  /** `name`: of the node, for errors. */
  constructor(memory: PhysicalMemory, firstPage: number, pages: number, name = 'memory') {
    this.memory = memory;
    this.name = name;
    this.firstPage = firstPage;
    this.endPage = firstPage + pages;
    this.boundary = this.endPage;
  }

  /** Pages that nobody owns: given back, or never handed out nor claimed. */
  get freePages(): number {
    const claimed = this.claimed.reduce((sum, { first, end }) => sum + end - first, 0);
    return this.freed.length + this.boundary - this.firstPage - claimed;
  }

  /** One zeroed page. */
  allocatePage(): number {
    return this.freed.pop() ?? this.allocateContiguous(1);
  }

  /** `pages` neighbouring zeroed pages whose first page is a multiple of `alignPages`; returns the first. */
  allocateContiguous(pages: number, alignPages = 1): number {
    const lowest = this.claimed.at(-1)?.end ?? this.firstPage;
    const first = Math.floor((this.boundary - pages) / alignPages) * alignPages;
    if (first < lowest) {
      throw new LabError(
        this.name,
        `the machine is out of memory: ${megabytes(pages)} more were needed.`,
        'Give the machine more memory, or make the workload smaller.',
      );
    }
    for (let page = this.boundary - 1; page >= first + pages; page -= 1) this.freed.push(page);
    this.boundary = first;
    return first;
  }

  /**
   * `pages` neighbouring zeroed pages below `endPage`, as low as they are free: for devices that reach no further. The first
   * page, or -1 when there are none.
   */
  allocateBelow(pages: number, alignPages: number, endPage: number): number {
    const highest = Math.min(endPage, this.boundary);
    let first = Math.ceil(this.firstPage / alignPages) * alignPages;
    for (const range of this.claimed) {
      if (first + pages <= range.first) break;
      if (first < range.end) first = Math.ceil(range.end / alignPages) * alignPages;
    }
    if (first + pages > highest) return -1;
    this.claim(first, pages);
    return first;
  }

  /** Takes a page back; its bytes are gone. */
  freePage(page: number): void {
    this.memory.releasePage(page);
    // what was handed out from the bottom stays there, for those that reach no further
    if (page < this.boundary) this.unclaim(page);
    else this.freed.push(page);
  }

  /** Takes pages at a given place, as a recording names them. Claiming a page twice is allowed: buffers are used again. */
  claim(page: number, pages: number): void {
    const end = page + pages;
    if (page < this.firstPage || end > this.boundary) {
      throw new LabError(
        this.name,
        `physical address 0x${(page * PAGE_SIZE).toString(16)} of the recording lies outside the machine's free memory.`,
        `Give the machine more memory than ${megabytes(end)}.`,
      );
    }
    const { claimed } = this;
    let low = 0;
    let high = claimed.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (claimed[middle]!.end < page) low = middle + 1;
      else high = middle;
    }
    let last = low;
    let first = page;
    let stop = end;
    while (last < claimed.length && claimed[last]!.first <= end) {
      first = Math.min(first, claimed[last]!.first);
      stop = Math.max(stop, claimed[last]!.end);
      last += 1;
    }
    claimed.splice(low, last - low, { first, end: stop });
  }

  private unclaim(page: number): void {
    const { claimed } = this;
    const at = claimed.findIndex(({ first, end }) => page >= first && page < end);
    if (at === -1) return;
    const { first, end } = claimed[at]!;
    const rest = [
      { first, end: page },
      { first: page + 1, end },
    ].filter((range) => range.first < range.end);
    claimed.splice(at, 1, ...rest);
  }
}

function megabytes(pages: number): string {
  return `${String(Math.ceil((pages * PAGE_SIZE) / 2 ** 20))} MiB`;
}
